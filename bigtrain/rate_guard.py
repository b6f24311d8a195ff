"""Names a learning rate as too high while the loss is still a number.

The sign is that what was learned is lost again, for longer than a spike lasts: a loss that climbs
is seen by the median of many steps, one that explodes by a few steps in a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from bigtrain.health import median_and_spread

_BLOCK = 16  # Steps that a median is taken over.
_FIRST = 8  # Steps that tell where the loss begins.
_FEW = 5  # Steps in a row that an explosion lasts at least.
_TIMES = 3.0  # The very first loss, which an explosion passes.
_LOST = 0.5  # Of what was learned, for a climb.
_SCALES = 3.0  # Robust standard deviations of the loss, ten of a block's median.


class RateGuard:
  """Sees every loss of a run, and speaks once for each time that it goes wrong.

  Args:
    fresh: Whether the run begins with its first step: then the first losses are those of a model
      that knows nothing, and a loss well above them means harm.
  """

  def __init__(self, fresh: bool):
    self._fresh = fresh
    self._block: list[float] = []
    self._last: deque[float] = deque(maxlen=_FEW)
    self._start = 0.0  # The very first loss.
    self._first: float | None = None  # The median of the first few.
    self._best, self._spread = np.inf, 0.0  # The lowest median, and the spread around it.
    self._quiet = False  # It has spoken, and nothing better came since.

  def see(self, step: int, losses: Sequence[float], rate: float | None = None) -> str | None:
    """Takes finite losses of steps up to `step`, and returns a line for a person, or None.

    Args:
      step: The last of them.
      losses: One a step.
      rate: The learning rate there, if it is stated.
    """
    said = None
    for loss in losses:
      if not self._last:
        self._start = loss
      self._last.append(loss)
      self._block.append(loss)
      if self._first is None and len(self._block) == _FIRST:
        self._first, self._spread = median_and_spread(self._block)
        self._best = self._first
      level = self._explosion()
      if len(self._block) == _BLOCK:
        level = self._climb() or level
      if level is not None and not self._quiet:
        self._quiet = True
        at = '' if rate is None else f', {rate:.3g},'
        said = (
          f'step {step}: the loss went up to {level:.4g} and stays there, after '
          f'{min(self._start, self._best):.4g}: the learning rate{at} is too high, or the data '
          'have changed. Lower it, or lengthen its warm-up'
        )
    return said

  def _explosion(self) -> float | None:
    """Returns the least of the last few losses where that is far too high."""
    if self._fresh:
      usual, most = self._start, (_TIMES - 1) * abs(self._start)
    else:  # A single loss is no measure of what is usual there.
      usual, most = self._best, max(_TIMES * abs(self._best), 2 * _SCALES * self._spread)
    if self._first is not None:
      most = max(most, 2 * (self._first - self._best))
    level = min(self._last)
    return level if len(self._last) == _FEW and level > usual + most else None

  def _climb(self) -> float | None:
    """Ends a block of steps, and returns its median where that is too high."""
    median, spread = median_and_spread(self._block)
    self._block = []
    assert self._first is not None
    most = max(
      _LOST * (self._first - self._best),
      _SCALES * self._spread,
      0.25 * abs(self._first) if self._fresh else (_TIMES - 1) * abs(self._best),
    )
    high = median if median > self._best + most else None
    if median < self._best:
      self._best, self._spread, self._quiet = median, spread, False
    return high
