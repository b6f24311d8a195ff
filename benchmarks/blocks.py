"""Training through train.py's own loop, a block of steps at a time, to be timed in turn."""

from __future__ import annotations

import dataclasses
import queue
import tempfile
import threading
import time
from typing import Any


class Loop:
  """`fit` on a thread of its own: without end and evaluations, for as long as steps are ordered."""

  def __init__(self, experiment: Any):
    self.parameters = self.per_dispatch = 0  # Known after the first block.
    self._orders: queue.Queue[int] = queue.Queue()
    self._done: queue.Queue[Exception | None] = queue.Queue()
    data = Gate(experiment.data, self._orders, self._done)
    self._experiment = dataclasses.replace(experiment, data=data, evals={}, steps=10**9)
    self._thread = threading.Thread(target=self._train, daemon=True)

  def steps(self, count: int) -> float:
    """Takes steps and returns their seconds; those of the first call hold compilation too."""
    begin = time.perf_counter()
    if not self._thread.is_alive():
      self._thread.start()
    self._orders.put(count)
    if error := self._done.get():
      raise error
    return time.perf_counter() - begin

  def close(self) -> None:
    """Ends the loop, and waits until its checkpoints are written."""
    if self._thread.is_alive():
      self._orders.put(0)
      self._thread.join()

  def _train(self) -> None:
    from bigtrain.program import Program
    from bigtrain.train import fit

    try:
      with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as workdir:
        program = Program(self._experiment)
        self.parameters, self.per_dispatch = program.parameters, program.per_dispatch
        fit(program, workdir, progress=False)
    except Ended:
      pass
    except Exception as error:
      self._done.put(error)


class Ended(Exception):
  """No more steps are wanted."""


class Gate:
  """Batches that come only when ordered, so that a loop can be run a block of steps at a time.

  An order of 0 ends the loop by raising `Ended`.
  """

  def __init__(self, batches: Any, orders: queue.Queue, done: queue.Queue):
    self._batches, self._orders, self._done = batches, orders, done
    self._left = -1  # Nothing ordered yet.
    self._inner: Any = None

  def __getattr__(self, name: str) -> Any:
    return getattr(self._batches, name)

  def iterator(self, shard: int, shards: int) -> Gate:
    self._inner = self._batches.iterator(shard, shards)
    return self

  def get_state(self) -> dict:
    return self._inner.get_state()

  def __next__(self) -> Any:
    if self._left <= 0:
      if self._left == 0:
        import jax

        # The loop runs ahead of the device: a block has ended when that is idle.
        jax.block_until_ready([x for x in jax.live_arrays() if not x.is_deleted()])
        self._done.put(None)
      self._left = self._orders.get()
      if not self._left:
        raise Ended
    self._left -= 1
    return next(self._inner)
