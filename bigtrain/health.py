"""Whether training is well: steps that were not finite, and losses that jump.

The compiled step leaves parameters and optimiser state as they were where its loss or its gradient
is not finite (`train.train_step`); here such steps are counted and named. Batch n of a run is a
pure function of (seed, n), so the number of a step names its batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

_WINDOW = 256  # Good steps that the usual loss is taken from.
_ENOUGH = 32  # Of them, before anything is called a spike.
_SCALES = 10.0  # A spike is so many robust standard deviations above the median ...
_TIMES = 3.0  # ... and so many times as far above it as any loss of the window.
_NEW_NORMAL = 20  # Spikes in a row are no spikes: the loss is what it is now.
MOST_IN_A_ROW = 20  # Steps not finite, before training goes back to its last checkpoint.


class Diverged(FloatingPointError):
  """Too many steps in a row were not finite."""


class Health:
  """Counts steps that were skipped, and knows the usual loss by median and median deviation.

  A skipped step and a spike never enter what is usual.

  Args:
    ahead: Batches that the data is ahead of the step.

  Attributes:
    in_a_row: Steps skipped since the last good one.
  """

  def __init__(self, ahead: int = 0):
    self._ahead = ahead
    self._usual: deque[float] = deque(maxlen=_WINDOW)
    self._spikes = 0  # In a row.
    self._skipped = 0
    self.in_a_row = 0

  def take_skipped(self) -> int:
    """Returns how many steps were skipped since the last call."""
    skipped, self._skipped = self._skipped, 0
    return skipped

  def see(self, step: int, losses: np.ndarray, grad_norms: np.ndarray) -> Iterator[str]:
    """Takes the losses [N] and norms [N] of steps from `step` on; yields lines for a person.

    Raises:
      Diverged: `MOST_IN_A_ROW` steps in a row were not finite.
    """
    usual = len(self._usual) >= _ENOUGH and losses.max() <= max(self._usual)
    if usual and np.isfinite(losses).all() and np.isfinite(grad_norms).all():
      self._usual.extend(losses.tolist())
      self._spikes = self.in_a_row = 0
      return
    for at, (loss, norm) in enumerate(zip(losses, grad_norms, strict=True), step):
      if not (np.isfinite(loss) and np.isfinite(norm)):
        self._skipped += 1
        self.in_a_row += 1
        name = 'gradient' if np.isfinite(loss) else 'loss'
        batch = at - 1 + self._ahead
        yield f'step {at} was skipped: its {name} is not finite (batch {batch} of the data)'
        if self.in_a_row >= MOST_IN_A_ROW:
          raise Diverged(
            f'the {name} of steps {at - self.in_a_row + 1} to {at} is not finite: lower the '
            f'learning rate, lengthen its warm-up or clip gradients; checkpoints are whole'
          )
      else:
        self.in_a_row = 0
        if self._is_spike(loss):
          median = float(np.median(self._usual))
          yield f'step {at}: the loss jumped to {loss:.4g} from about {median:.4g}'

  def _is_spike(self, loss: float) -> bool:
    usual = np.array(self._usual)
    if len(usual) >= _ENOUGH:
      median, scale = median_and_spread(usual)
      if loss > median + max(_SCALES * scale, _TIMES * (usual.max() - median)):
        self._spikes += 1
        if self._spikes < _NEW_NORMAL:
          return True
        self._usual.clear()
    self._spikes = 0
    self._usual.append(float(loss))
    return False


def median_and_spread(losses: Sequence[float] | np.ndarray) -> tuple[float, float]:
  """Returns the median, and the standard deviation that a normal's median deviation tells of."""
  median = float(np.median(losses))
  return median, 1.4826 * float(np.median(np.abs(np.asarray(losses) - median)))
