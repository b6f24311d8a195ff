"""What a difference between paired runs is worth: intervals, p-values, and how many more would do.

Convention: a pair is two runs of one seed, and a difference is that of their final metric. Seeds
are few, so every interval is Student's t (a bootstrap over few seeds is too narrow).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST = 10_000  # Pairs; what would take more is not going to be decided.


@dataclasses.dataclass(frozen=True)
class Effect:
  """The mean of paired differences.

  Attributes:
    mean: The estimate.
    low: Lower end of its t interval.
    high: Upper end.
    p: Two-sided p-value of the paired t test against no difference.
    deviation: Standard deviation of the differences.
    pairs: How many there are.
  """

  mean: float
  low: float
  high: float
  p: float
  deviation: float
  pairs: int


def paired_effect(differences: Sequence[float], *, level: float = 0.95) -> Effect:
  """Returns the mean of paired differences with its t interval and p-value (Student 1908).

  Differences that are all equal give an interval of no width. Their p-value is that of the sign
  test, 2 ** (1 - pairs), for a metric of few values (an accuracy on few examples) differs by the
  same in a few pairs by chance; 1 where all are 0. One that isn't finite makes everything NaN, with
  a p-value of 1.

  Args:
    differences: One number a pair, at least 2.
    level: Of the interval.

  Raises:
    ValueError: Fewer than 2 pairs.
  """
  from scipy import stats

  values = np.asarray(differences, np.float64)
  if len(values) < 2:
    raise ValueError(f'an interval takes at least 2 pairs, got {len(values)}')
  if not np.isfinite(values).all():
    return Effect(math.nan, math.nan, math.nan, 1.0, math.nan, len(values))
  mean, deviation = float(values.mean()), float(values.std(ddof=1))
  error = deviation / math.sqrt(len(values))
  half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
  if error == 0:
    p = 1.0 if mean == 0 else 2.0 ** (1 - len(values))
  else:
    p = float(2 * stats.t.sf(abs(mean) / error, len(values) - 1))
  return Effect(mean, mean - half, mean + half, p, deviation, len(values))


def holm(p_values: Sequence[float]) -> list[float]:
  """Returns p-values corrected for their number (Holm 1979), in the order given.

  To call significant what stays below alpha errs in any of them with a chance of at most alpha,
  however they depend on each other.
  """
  corrected = [0.0] * len(p_values)
  most = 0.0
  for rank, index in enumerate(np.argsort(p_values, kind='stable')):
    most = max(most, min(1.0, (len(p_values) - rank) * p_values[index]))
    corrected[index] = most
  return corrected


def pairs_needed(
  effect: float, deviation: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
  """Returns how many pairs a two-sided paired t test needs; None for more than 10,000.

  Args:
    effect: The true mean difference.
    deviation: Standard deviation of the differences.
    alpha: Significance level of the test.
    power: The chance of finding the effect.
  """
  from scipy import stats

  if deviation == 0 and effect != 0:
    return 2
  if effect == 0 or not math.isfinite(effect) or not math.isfinite(deviation):
    return None

  def enough(pairs: int) -> bool:
    critical = stats.t.ppf(1 - alpha / 2, pairs - 1)
    shift = abs(effect) / deviation * math.sqrt(pairs)
    return bool(stats.nct.sf(critical, pairs - 1, shift) >= power)

  low, high = 2, 2
  while not enough(high):
    low, high = high, 2 * high
    if high > 2 * _MOST:
      return None
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if enough(middle) else (middle, high)
  return high if high <= _MOST else None


def smallest_effect(
  deviation: float, pairs: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
  """Returns the effect that so many pairs find with that chance; arguments as `pairs_needed`."""
  from scipy import optimize, stats

  critical = stats.t.ppf(1 - alpha / 2, pairs - 1)

  def missing(shift: float) -> float:
    return float(stats.nct.sf(critical, pairs - 1, shift)) - power

  solution: Any = optimize.root_scalar(missing, bracket=(0.0, 10 * critical + 10))
  return float(solution.root) * deviation / math.sqrt(pairs)
