"""bigtrain's side of the race with nanoGPT's recipe."""

from __future__ import annotations

import dataclasses
import importlib
import queue
import tempfile
import threading
import time
from typing import Any


class Bigtrain:
  """The `shakespeare` experiment through train.py's own loop, with default settings.

  experiments/shakespeare.py says which of its knobs make the published recipe (`NANOGPT`) and which
  train fastest to the target (`RACE`). A race ends with the schedule, so its last evaluation
  decides: nothing is stopped half-way.
  """

  def __init__(self):
    shakespeare: Any = importlib.import_module('experiments.shakespeare')

    self.recipe = shakespeare.experiment(**shakespeare.NANOGPT)
    self.fastest = shakespeare.experiment(**shakespeare.RACE)
    self.orders: queue.Queue[int] = queue.Queue()
    self.done: queue.Queue[Exception | None] = queue.Queue()
    self.loop: threading.Thread | None = None
    self.parameters = 0

  def steps(self, count: int) -> float:
    begin = time.perf_counter()
    if self.loop is None:
      self.loop = threading.Thread(target=self._train, daemon=True)
      self.loop.start()
    self.orders.put(count)
    if error := self.done.get():
      raise error
    return time.perf_counter() - begin

  def _train(self) -> None:
    try:
      # Without end and without evaluations: the loop runs for as long as it is given batches.
      data = Gate(self.recipe.data, self.orders, self.done)
      endless = dataclasses.replace(self.recipe, data=data, evals={}, steps=10**9)
      self._fit(endless)
    except Exception as error:
      self.done.put(error)

  def race(self) -> dict[str, float]:
    begin = time.perf_counter()
    run, compiled = self._fit(self.fastest)
    seconds = time.perf_counter() - begin
    loss = run.results['held_out']['loss']
    return {'ready': compiled - begin, 'seconds': seconds, 'steps': run.step, 'loss': loss}

  def _fit(self, experiment: Any) -> tuple[Any, float]:
    from bigtrain.program import Program
    from bigtrain.train import fit

    with tempfile.TemporaryDirectory() as workdir:
      program = Program(experiment)
      self.parameters = program.parameters
      program.compile()
      compiled = time.perf_counter()
      return fit(program, workdir, progress=False), compiled


class Gate:
  """Batches that come only when ordered, so that a loop can be run a block of steps at a time."""

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
    self._left -= 1
    return next(self._inner)
