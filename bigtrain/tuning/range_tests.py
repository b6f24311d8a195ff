"""The learning rate range test (Smith 2017): a short run at a rate that rises, read as a curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

_KEPT = 0.9  # Of a neighbour's weight, by the next.
_SHARE = 0.25  # Of the rate where the loss was lowest.
_LEARNED = 3.0  # Standard deviations of the smoothed loss: so far it must fall to count.


@dataclasses.dataclass(frozen=True)
class RangeTest:
  """What a rising rate did to the loss.

  Attributes:
    rates: Of each step, rising by equal factors, [N].
    losses: Before each step's update, [N].
    smooth: The losses, smoothed over about 20 steps, [N].
    lowest: The rate where the smoothed loss was lowest.
    suggestion: A quarter of that, a first guess of a schedule's peak: a rate that a run bears for a
      moment is too high for long. None where the loss never fell by more than noise.
    exploded: The rate where the test ended, for the loss had exploded; None where it hadn't.
  """

  rates: np.ndarray
  losses: np.ndarray
  smooth: np.ndarray
  lowest: float
  suggestion: float | None
  exploded: float | None


def smoothed(losses: Sequence[float]) -> np.ndarray:
  """Returns means of losses that weigh each neighbour 0.9 times the one before, [N]."""
  steps = np.arange(len(losses))
  weights = _KEPT ** np.abs(steps[:, None] - steps)
  return weights @ np.asarray(losses, float) / weights.sum(axis=1)


def has_exploded(losses: Sequence[float]) -> bool:
  """Whether the last losses say that a higher rate will tell no more.

  They do where one isn't finite, or the smoothed loss is above the first by as much as it had
  fallen, and by half of the first at least.
  """
  if not np.isfinite(losses).all():
    return True
  smooth = smoothed(losses)
  first = smooth[0]
  return bool(smooth[-1] > first + max(first - smooth.min(), 0.5 * abs(first)))


def read_range(rates: Sequence[float], losses: Sequence[float]) -> RangeTest:
  """Reads the curve of a range test.

  Args:
    rates: Rising by equal factors, [N].
    losses: Before each update, [N]; the last may be not finite.

  Raises:
    ValueError: There are fewer than 3 finite losses.
  """
  whole = has_exploded(losses)
  finite = np.isfinite(losses)
  end = len(finite) if finite.all() else int(np.argmin(finite))
  if end < 3:
    raise ValueError(
      f'the loss is not finite after {end} steps, at a rate of {rates[max(0, end - 1)]:.3g}: lower '
      'the rate that the test begins from'
    )
  curve, known = np.asarray(rates[:end], float), np.asarray(losses[:end], float)
  smooth = smoothed(known.tolist())
  lowest = int(np.argmin(smooth))
  # The noise of a smoothed loss, from neighbouring losses, which share their trend.
  noise = np.median(np.abs(np.diff(known))) / 0.954 * np.sqrt((1 - _KEPT) / (1 + _KEPT))
  fell = smooth[0] - smooth[lowest] > _LEARNED * noise
  rate = float(curve[lowest])
  ended = float(rates[end - 1]) if whole else None
  return RangeTest(curve, known, smooth, rate, _SHARE * rate if fell else None, ended)
