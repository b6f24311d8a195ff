"""How far a measured number may be from the truth.

Two sources of chance, and an interval for each: which examples happened to be drawn (the bootstrap,
over items or over clusters of items) and which seed the model was trained with (Student's t, over
seeds). Neither covers the other.

What is resampled are sums: every metric here is a function of sums over items, so 2,000 resamples
are one product of matrices. Letters: N items, K columns, R resamples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

_EXACT = 20_000  # Items; beyond, sums of resamples are drawn from their normal distribution.
_NORMAL = 1.959964  # Standard errors to either side that hold 95 %.
_BLOCK = 4_000_000  # Draws at a time: 32 MB.


def resampled_sums(
  columns_NK: np.ndarray,
  *,
  resamples: int = 2_000,
  seed: int = 0,
  cluster: np.ndarray | None = None,
) -> np.ndarray:
  """Returns the sums of columns over resamples of the items (Efron 1979), float64 [R, K].

  Args:
    columns_NK: Numbers of each item; one row is drawn as a whole.
    resamples: R.
    seed: Of the drawing; the same seed gives the same resamples, whatever the columns hold.
    cluster: What items share, such as their document, [N]: clusters are drawn instead of items.
      Items of one source resemble each other, and count for less than as many strangers.

  Raises:
    ValueError: `cluster` is not of length N.

  Beyond 20,000 items (or clusters) the sums are drawn from the normal distribution that they
  approach, with the covariance of the columns.
  """
  columns_NK = np.asarray(columns_NK, np.float64)
  if cluster is not None:
    if len(cluster) != len(columns_NK):
      raise ValueError(f'cluster must name one of {len(columns_NK)} items, got {len(cluster)}')
    number_N = np.unique(np.asarray(cluster), return_inverse=True)[1]
    summed = [np.bincount(number_N, column_N) for column_N in columns_NK.T]
    columns_NK = np.stack(summed, axis=1)
  size = len(columns_NK)
  rng = np.random.default_rng(seed)
  if size > _EXACT:
    centred_NK = columns_NK - columns_NK.mean(axis=0)
    covariance_KK = centred_NK.T @ centred_NK  # That of a sum of N draws.
    values, vectors = np.linalg.eigh(covariance_KK)
    normal_RK = rng.standard_normal((resamples, columns_NK.shape[1]))
    spread_RK = (normal_RK * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return columns_NK.sum(axis=0) + spread_RK
  columns_NK = columns_NK[np.lexsort(columns_NK.T)]  # So that the order of items doesn't matter.
  parts = []
  rows = max(1, _BLOCK // max(size, 1))
  for begin in range(0, resamples, rows):
    count = min(rows, resamples - begin)
    drawn = rng.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
    times = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
    parts.append(times @ columns_NK)
  return np.concatenate(parts)


def percentiles(values_R: np.ndarray, level: float = 0.95) -> tuple[float, float]:
  """Returns the interval that holds the middle share of values; NaN where one isn't finite."""
  values_R = np.asarray(values_R, np.float64)
  if not len(values_R) or not np.isfinite(values_R).all():
    return float('nan'), float('nan')
  low, high = np.quantile(values_R, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)


def bootstrap_interval(
  values: np.ndarray,
  *,
  weight: np.ndarray | None = None,
  cluster: np.ndarray | None = None,
  level: float = 0.95,
  resamples: int = 2_000,
  seed: int = 0,
) -> tuple[float, float]:
  """Returns the percentile bootstrap interval of a mean over examples (Efron 1979).

  Args:
    values: One number an example, [N].
    weight: Of each example; None weighs all alike.
    cluster: As for `resampled_sums`.
    level: Share of the resampled means inside.
    resamples: How often N examples are drawn with replacement.
    seed: Of the drawing; the same seed gives the same interval.

  Returns:
    Lower and upper end. Both NaN for fewer than 2 values or where one isn't finite. Values that are
    all equal give an interval of no width: nothing was learned about how they vary, and the truth
    may well lie outside.
  """
  values = np.asarray(values, np.float64)
  if len(values) < 2 or not np.isfinite(values).all():
    return float('nan'), float('nan')
  weight = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
  sums_RK = resampled_sums(
    np.stack([values * weight, weight], axis=1), resamples=resamples, seed=seed, cluster=cluster
  )
  with np.errstate(invalid='ignore', divide='ignore'):
    return percentiles(sums_RK[:, 0] / sums_RK[:, 1], level)


@dataclasses.dataclass(frozen=True)
class Difference:
  """Of two systems on the same items.

  Attributes:
    value: Mean of b minus mean of a.
    low: Of the interval of the difference.
    high: Of the same.
    p: Two-sided: how often chance alone would part them as far; at least 1 / (R + 1).
  """

  value: float
  low: float
  high: float
  p: float


def paired_bootstrap(
  a: np.ndarray,
  b: np.ndarray,
  *,
  cluster: np.ndarray | None = None,
  level: float = 0.95,
  resamples: int = 2_000,
  seed: int = 0,
) -> Difference:
  """Returns the difference of two systems over the same items, with its interval (Koehn 2004).

  Both are judged on the same draws: what makes an item hard is hard for both, and cancels.

  Args:
    a: One number an item, of the first system, [N].
    b: Of the second, in the same order.
    cluster: As for `resampled_sums`.
    level: Share of resampled differences inside.
    resamples: R.
    seed: Of the drawing.

  Raises:
    ValueError: a and b aren't as many, or fewer than 2.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
    raise ValueError(
      f'paired_bootstrap: a and b must hold a number for each of the same items (at least 2), '
      f'got shapes {a.shape} and {b.shape}'
    )
  columns = np.stack([b - a, np.ones(len(a))], axis=1)
  sums_RK = resampled_sums(columns, resamples=resamples, seed=seed, cluster=cluster)
  means_R = sums_RK[:, 0] / sums_RK[:, 1]
  value = float(np.mean(b - a))
  low, high = percentiles(means_R, level)
  beyond = min(np.sum(means_R <= 0), np.sum(means_R >= 0))
  return Difference(value, low, high, float(min(1.0, 2 * (beyond + 1) / (len(means_R) + 1))))


def t_interval(values: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
  """Returns Student's interval of a mean over seeds; both ends NaN for fewer than 2 seeds.

  The bootstrap is too narrow over so few values; this one assumes that seeds vary normally.

  Args:
    values: One number a seed.
    level: How often the interval is to hold the true mean.
  """
  values = np.asarray(values, np.float64)
  if len(values) < 2 or not np.isfinite(values).all():
    return float('nan'), float('nan')
  from scipy import stats

  half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
  return float(values.mean() - half), float(values.mean() + half)


def normal_interval(value: float, error: float) -> tuple[float, float]:
  """Returns the interval of 95 % of a number in [0, 1] with a standard error; NaN without one."""
  half = _NORMAL * error
  if not half >= 0:
    return float('nan'), float('nan')
  return float(max(0.0, value - half)), float(min(1.0, value + half))


def wilson_interval(share: float, size: float) -> tuple[float, float]:
  """Returns the interval of 95 % of a share of `size` examples (Wilson 1927); NaN of none.

  It stays inside 0 and 1, and has a width where all examples are alike.
  """
  if not size > 0:
    return float('nan'), float('nan')
  z2 = _NORMAL**2 / size
  centre = (share + z2 / 2) / (1 + z2)
  half = (z2 * share * (1 - share) + z2**2 / 4) ** 0.5 / (1 + z2)
  return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def fold_interval(values: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
  """Returns the interval of a mean over the K folds of a cross-validation; NaN for fewer than 2.

  Folds share most of what they were trained on, so that their spread says too little: Nadeau and
  Bengio (2003) add the ratio of held-out to training records, 1 / (K - 1), to the 1 / K of
  Student's interval.
  """
  low, high = t_interval(values, level=level)
  middle, count = (low + high) / 2, len(values)
  half = (high - low) / 2 * (1 + count / max(count - 1, 1)) ** 0.5
  return middle - half, middle + half


def with_intervals(
  columns_NK: np.ndarray, metrics: Callable[[Any], dict[str, Any]], **options: Any
) -> dict[str, float]:
  """Returns metrics that are functions of sums, each with its bootstrap interval.

  Args:
    columns_NK: Numbers of each item.
    metrics: From sums [K, ...] to values by name, elementwise over further axes.
    options: Of `resampled_sums`.

  Returns:
    'NAME', 'NAME_low' and 'NAME_high' of each; the interval is NaN for fewer than 2 items or where
    a resample leaves the metric undefined.
  """
  columns_NK = np.asarray(columns_NK, np.float64)
  found: dict[str, float] = {}
  with np.errstate(invalid='ignore', divide='ignore', over='ignore'):
    values = metrics(columns_NK.sum(axis=0))
    drawn = metrics(resampled_sums(columns_NK, **options).T) if len(columns_NK) > 1 else {}
  for name, value in values.items():
    low, high = percentiles(drawn[name]) if drawn else (float('nan'), float('nan'))
    found |= {name: float(value), f'{name}_low': low, f'{name}_high': high}
  return found
