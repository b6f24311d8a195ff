"""bigtrain's side of the race with nanoGPT's recipe."""

from __future__ import annotations

import importlib
import tempfile
import time
from typing import Any

from benchmarks.blocks import Loop


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
    self.loop = Loop(self.recipe)
    self.parameters = 0

  def steps(self, count: int) -> float:
    seconds = self.loop.steps(count)
    self.parameters = self.loop.parameters
    return seconds

  def race(self) -> dict[str, float]:
    begin = time.perf_counter()
    from bigtrain.program import Program
    from bigtrain.train import fit

    class Watched(Program):
      def start(self) -> Any:
        state = super().start()
        self.compiled = time.perf_counter()
        return state

    with tempfile.TemporaryDirectory() as workdir:
      program = Watched(self.fastest)
      self.parameters = program.parameters
      run = fit(program, workdir, progress=False)
    seconds = time.perf_counter() - begin
    loss = run.results['held_out']['loss']
    return {'ready': program.compiled - begin, 'seconds': seconds, 'steps': run.step, 'loss': loss}

  def close(self) -> None:
    self.loop.close()
