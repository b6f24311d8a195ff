"""What the loop costs over the bare compiled step: data, journal and checkpoints included.

  python -m benchmarks.step_overhead

Both sides run the same program on the same machine, a block of steps each in turn; the table shows
medians. The bare side repeats the compiled step on one placed batch.
"""

from __future__ import annotations

import dataclasses
import queue
import tempfile
import threading
import time

import jax
import numpy as np

from benchmarks.nanogpt_bigtrain import Gate
from bigtrain.program import Program
from bigtrain.train import fit
from experiments import digits, shakespeare

BLOCK = 200  # Steps; a multiple of log_every, so that a dispatch ends with each block.
ROUNDS = 7
CASES = {
  'digits': lambda: digits.experiment(),
  'digits --model=mlp': lambda: digits.experiment(model='mlp'),
  'shakespeare, recipe': lambda: shakespeare.experiment(**shakespeare.NANOGPT),
}


class Loop:
  """`fit`, on a thread of its own, a block of steps at a time."""

  def __init__(self, experiment, workdir: str):
    self._orders: queue.Queue[int] = queue.Queue()
    self._done: queue.Queue[Exception | None] = queue.Queue()
    data = Gate(experiment.data, self._orders, self._done)
    endless = dataclasses.replace(experiment, data=data, evals={}, steps=10**9)
    arguments = {'args': (Program(endless), workdir), 'kwargs': {'progress': False}}
    threading.Thread(target=fit, **arguments, daemon=True).start()

  def block(self) -> float:
    """Returns milliseconds a step."""
    begin = time.perf_counter()
    self._orders.put(BLOCK)
    if error := self._done.get():
      raise error
    return (time.perf_counter() - begin) / BLOCK * 1e3


def bare(experiment):
  """Returns a function that gives milliseconds a step of the compiled step alone."""
  program = Program(experiment)
  state = program.init()
  program.compile()
  iterator = experiment.data.iterator()
  batches = program.place([next(iterator) for _ in range(program.per_dispatch)])

  def block() -> float:
    nonlocal state
    begin = time.perf_counter()
    for _ in range(BLOCK // program.per_dispatch):
      state, _ = program.run(state, batches, program.per_dispatch)
    jax.block_until_ready(state)
    return (time.perf_counter() - begin) / BLOCK * 1e3

  return block


def main() -> None:
  """Prints the table."""
  print(f'{"experiment":22} {"bare ms":>9} {"loop ms":>9} {"ratio":>7}')
  for name, make in CASES.items():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as workdir:
      loop, block = Loop(make(), workdir), bare(make())
      loop.block()  # Compiles.
      block()
      times = np.array([(block(), loop.block()) for _ in range(ROUNDS)])
      ratio = np.median(times[:, 1] / times[:, 0])
      print(f'{name:22} {np.median(times[:, 0]):9.3f} {np.median(times[:, 1]):9.3f} {ratio:7.3f}')


if __name__ == '__main__':
  main()
