"""How far a measured number may be from the truth."""

from __future__ import annotations

import numpy as np


def bootstrap_interval(
  values: np.ndarray, *, level: float = 0.95, resamples: int = 1_000, seed: int = 0
) -> tuple[float, float]:
  """Returns the percentile bootstrap interval of a mean over examples (Efron 1979).

  It covers the chance of having drawn these examples, not that of having trained this model: seeds
  need an interval of their own.

  Args:
    values: One number an example, [N].
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
  rng = np.random.default_rng(seed)
  means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(resamples)]
  low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)
