"""Pipelines: a source becomes batches, in an order that is a pure function of the step.

Batch `s` of a stream depends on the source, the seed and `s` alone. So the place in a stream is one
number, resuming is exact, and a host reads its contiguous rows of the same global batch however
many hosts there are. Grain carries the iteration; it sees one element a step, a whole batch, since
its cost per element is Python's.
"""

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from bigtrain.data import records, sources
from bigtrain.data.augmentation import Map
from bigtrain.data.descriptions import check_not_described
from bigtrain.data.reading import Reader

Spec = dict[str, tuple[tuple[int, ...], np.dtype]]

_ENDLESS = 2**62  # Steps; Grain wants a length.


@dataclasses.dataclass(frozen=True)
class Batches:
  """A source as batches: a description, of which any number of iterators can be made.

  Attributes:
    source: random access to records.
    batch: examples per global batch, over all hosts.
    endless: shuffled anew at each epoch without end, or once in order.
    seed: of the order and of the map's draws.
    map: from a whole batch and its `Draws` to a batch.
    workers: processes that make batches ahead of time; 0 makes them in the calling thread.
  """

  source: sources.Source
  batch: int
  endless: bool
  seed: int = 0
  map: Map | None = None
  workers: int = 0

  def __post_init__(self):
    name = 'data.forever' if self.endless else 'data.once'
    if isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1:
      raise ValueError(f'{name}: batch must be an integer of at least 1, got {self.batch!r}')
    if self.workers < 0:
      raise ValueError(f'{name}: workers must not be negative, got {self.workers}: use 0 for none')
    if not hasattr(self.source, '__getitem__') or not hasattr(self.source, '__len__'):
      raise ValueError(
        f'{name}: a source has len(source) and source[i], got {type(self.source).__name__}: '
        'wrap arrays in data.arrays(...)'
      )
    if len(self.source) == 0:
      raise ValueError(f'{name}: the source holds no record: check its path, split or filter')

  @property
  def size(self) -> int:
    """Records in the source."""
    return len(self.source)

  def __len__(self) -> int:
    """Batches in one pass; only of `once`."""
    if self.endless:
      raise TypeError('data.forever has no length: use data.steps for durations')
    return -(-self.size // self.batch)

  @property
  def spec(self) -> Spec:
    """Name to (global shape, type) of what a batch holds, from record 0 through the map; no
    iterator moves.

    Raises:
      ValueError: where record 0 cannot become part of a batch.
    """
    batch = self._reader(0, 1, rows=1)(0)
    return {key: ((self.batch, *values.shape[1:]), values.dtype) for key, values in batch.items()}

  def __getitem__(self, step: int) -> records.Columns:
    """Returns global batch `step`; for looking at data, and for tests."""
    if step < 0 or (not self.endless and step >= len(self)):
      raise IndexError(
        f'data: batch {step} of {"an endless stream" if self.endless else len(self)}'
      )
    return self._reader(0, 1)(step)

  def __iter__(self) -> Iterator[records.Columns]:
    return self.iterator()

  def iterator(self, shard: int = 0, shards: int = 1) -> 'Position':
    """Returns an iterator over one host's rows of each batch.

    Args:
      shard: the number of this host, from 0.
      shards: hosts.

    Returns:
      A Grain `DatasetIterator` over dicts of arrays [batch / shards, ...]. Its state is the step
      and what the order hangs on; it is the same on all hosts and for any number of hosts and
      workers.

    Raises:
      ValueError: where the batch does not divide by the hosts, record 0 cannot become part of a
        batch, or the source only describes its records.
    """
    check_not_described(self.source)
    if not 0 <= shard < shards:
      raise ValueError(f'data: shard must lie in [0, {shards}), got {shard}')
    if self.batch % shards:
      lower = self.batch // shards * shards
      cure = f'{lower} or {lower + shards}' if lower else f'{shards}'
      raise ValueError(f'data: batch must divide by {shards} hosts, got {self.batch}: use {cure}')
    return Position(self._reader(shard, shards), self)

  def _reader(self, shard: int, shards: int, rows: int | None = None) -> 'Reader':
    rows = rows or self.batch // shards
    first = self.source[0]
    like = {key: records.as_array(value) for key, value in first.items()}
    return Reader(self, like, shard * rows, (shard + 1) * rows)


class Position(grain.DatasetIterator):
  """A place in a stream of batches.

  Grain's own state depends on the number of workers; a step does not, and can be entered without
  reading the steps before it.
  """

  def __init__(self, reader: 'Reader', batches: Batches):
    super().__init__()
    self._reader = reader
    self._batches = batches
    self._stop = _ENDLESS if batches.endless else len(batches)
    self._step = 0
    self._inner: Any = None

  def __next__(self) -> records.Columns:
    if self._step >= self._stop:
      raise StopIteration
    if self._inner is None:
      self._inner = self._start()
    batch = next(self._inner)
    self._step += 1
    return batch

  def get_state(self) -> dict[str, Any]:
    """Returns the step that comes next, and what the order hangs on."""
    return {'step': self._step, **self._identity()}

  def set_state(self, state: dict[str, Any]) -> None:
    """Moves to a state.

    Raises:
      ValueError: where the state is of another order of records.
    """
    for key, value in self._identity().items():
      if state.get(key) != value:
        raise ValueError(
          f'data: the checkpoint was made with {key}={state.get(key)}, the experiment now has '
          f'{key}={value}, and '
          f'records would be repeated or left out: give back the old {key}, or start in a new '
          'workdir'
        )
    self.close()
    self._closed = False
    self._step = int(state['step'])

  def start_prefetch(self) -> None:
    """Starts the workers, if any, before the first batch is asked for."""
    if self._inner is None and self._step < self._stop:
      self._inner = self._start()
    if self._inner is not None:
      self._inner.start_prefetch()

  def close(self) -> None:
    """Ends the workers."""
    if self._inner is not None:
      self._inner.close()
    self._inner = None
    self._closed = True

  def _identity(self) -> dict[str, Any]:
    own = {'records': self._batches.size, 'batch': self._batches.batch, 'seed': self._batches.seed}
    return {**own, **getattr(self._batches.source, 'stream_identity', {})}

  def _start(self) -> Any:
    steps = grain.MapDataset.range(self._step, self._stop).map(self._reader)
    # Grain's default of 16 threads is several times slower than none for a cheap batch.
    dataset = steps.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    if self._batches.workers:
      from absl import flags

      if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain refuses workers outside absl's app.run otherwise.
      options = grain.MultiprocessingOptions(
        num_workers=self._batches.workers, per_worker_buffer_size=2
      )
      dataset = dataset.mp_prefetch(options, worker_init_fn=_end_with_parent)
    return iter(dataset)


def _end_with_parent(worker: int, workers: int) -> None:
  """Ends a worker whose trainer was killed: it would wait for ever, and keep its memory."""
  del worker, workers
  parent = multiprocessing.parent_process()
  assert parent is not None

  def watch() -> None:
    parent.join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


def forever(
  source: sources.Source, batch: int, *, seed: int = 0, map: Map | None = None, workers: int = 0
) -> Batches:
  """Returns endless batches, shuffled anew at each epoch.

  Every record comes exactly once an epoch; a batch may end one epoch and begin the next.

  Args:
    source: random access to records.
    batch: examples per step, over all hosts.
    seed: of the order and of the map's draws.
    map: from a whole batch (dict of arrays [rows, ...]) and a `Draws` to a batch.
    workers: processes that make batches ahead of time. Worth it only where a batch takes longer to
      make than to send (decoding images); 0 makes them in the calling thread.

  Raises:
    ValueError: for an empty source, or a batch below 1.
  """
  return Batches(source, batch, True, seed, map, workers)


def once(
  source: sources.Source, batch: int, *, seed: int = 0, map: Map | None = None, workers: int = 0
) -> Batches:
  """Returns the batches of one pass in order, for evaluation.

  The last batch is filled up by repeating a real record. 'weight' float32 [batch] is 1 for a record
  and 0 for a repetition; a 'weight' of the records themselves is multiplied by it.

  Args:
    source: random access to records.
    batch: examples per step, over all hosts.
    seed: of the map's draws.
    map: as in `forever`.
    workers: as in `forever`.

  Raises:
    ValueError: for an empty source, or a batch below 1.
  """
  return Batches(source, batch, False, seed, map, workers)
