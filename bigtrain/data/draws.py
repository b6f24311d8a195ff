"""Randomness for maps: the same for a row of the global batch, whoever holds the row.

A map sees only the rows of its host. Were it to draw for them alone, the numbers would depend on
how many hosts there are, and a run could not move to another machine size unchanged. So a draw is
made for the whole global batch and cut to the rows at hand; numbers are cheap, pixels are not.
"""

from typing import Any

import numpy as np


class Draws:
  """Random numbers for the rows `start` to `stop` of one global batch.

  Keyed by (seed, step) through Philox, so that any step can be drawn without the ones before it.
  The generator is made when first used: a map that draws nothing pays nothing.
  """

  def __init__(self, seed: int, step: int, batch: int, start: int = 0, stop: int | None = None):
    self._key = (seed % 2**64, step)
    self._batch = batch
    self._rows = slice(start, batch if stop is None else stop)
    self._generator: np.random.Generator | None = None

  def random(self, *shape: int) -> np.ndarray:
    """Returns float32 [rows, *shape], uniform in [0, 1)."""
    return self._draw().random((self._batch, *shape), np.float32)[self._rows]

  def normal(self, *shape: int) -> np.ndarray:
    """Returns float32 [rows, *shape] of the standard normal distribution."""
    return self._draw().standard_normal((self._batch, *shape), np.float32)[self._rows]

  def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
    """Returns int64 [rows, *shape], uniform in [low, high)."""
    return self._draw().integers(low, high, (self._batch, *shape))[self._rows]

  def _draw(self) -> Any:
    if self._generator is None:
      key = np.array(self._key, np.uint64)
      self._generator = np.random.Generator(np.random.Philox(key=key))
    return self._generator
