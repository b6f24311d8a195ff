"""Reading: from a step to the rows of a batch that one host holds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bigtrain.data import records, sources
from bigtrain.data.draws import Draws
from bigtrain.data.order import shuffled

if TYPE_CHECKING:
  from bigtrain.data.pipelines import Batches

# Positions shuffled at once: NumPy's cost per call is then spread over many small batches.
_BLOCK = 4096


class Reader:
  """From a step to the rows of one host."""

  def __init__(self, batches: 'Batches', like: Mapping[str, Any], start: int, stop: int):
    self._batches = batches
    self._like, self._kinds = like, records.kinds(like)
    self._start, self._stop = start, stop
    self._block: tuple[int, np.ndarray] = (-1, np.empty((0, 0), np.int64))
    self._name = 'a batch' if batches.map is None else 'what the map returned'

  def __call__(self, step: int) -> records.Columns:
    batches = self._batches
    indices = self._shuffled(step) if batches.endless else self._in_order(step)
    columns = sources.stacked(batches.source, indices, self._like)
    self._check(columns, indices)
    if batches.map is not None:
      rng = Draws(batches.seed, step, batches.batch, self._start, self._stop)
      columns = batches.map(columns, rng)
      if not isinstance(columns, Mapping):
        raise ValueError(f'data: a map must return a dict of arrays, got {type(columns).__name__}')
    rows = self._stop - self._start
    columns = records.check_numeric(columns, rows, self._name)
    if 'weight' in columns:
      columns['weight'] = columns['weight'].astype(np.float32, copy=False)
    if not batches.endless:
      place = np.arange(self._start, self._stop) + step * batches.batch
      real = (place < batches.size).astype(np.float32)
      own = columns.get('weight', np.ones(rows, np.float32))
      columns['weight'] = own * real.reshape(-1, *(1,) * (own.ndim - 1))
    return columns

  def _shuffled(self, step: int) -> np.ndarray:
    batch = self._batches.batch
    span = max(1, _BLOCK // batch)
    number = step // span
    block = self._block
    if block[0] != number:
      steps = np.arange(number * span, (number + 1) * span, dtype=np.uint64)
      rows = np.arange(self._start, self._stop, dtype=np.uint64)
      positions = steps[:, None] * np.uint64(batch) + rows
      own = getattr(self._batches.source, 'stream_order', None)  # A mixture's.
      if own is None:
        indices = shuffled(positions, self._batches.size, self._batches.seed)
      else:
        indices = own(positions, batch, self._batches.seed)
      block = (number, indices)
      self._block = block  # One assignment: another thread sees the old block or the new one.
    return block[1][step - number * span]

  def _in_order(self, step: int) -> np.ndarray:
    indices = np.arange(self._start, self._stop) + step * self._batches.batch
    # Padding repeats a real record: zeros could turn into NaN inside a model, and 0 * NaN is NaN.
    return np.minimum(indices, self._batches.size - 1)

  def _check(self, columns: records.Columns, indices: np.ndarray) -> None:
    if records.kinds(columns, 1) != self._kinds:
      raise ValueError(
        f'data: records {indices[0]} to {indices[-1]} are {records.shown(columns, 1)}, record 0 is '
        f'{records.shown(self._like)}: give every record the same keys, shapes and types'
      )
