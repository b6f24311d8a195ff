"""What the loop costs over the bare compiled step: data, journal and checkpoints included.

  python -m benchmarks.step_overhead

Both sides run the same program on the same machine, a block of steps each in turn; the table shows
medians. The bare side repeats the compiled step on one placed batch.
"""

from __future__ import annotations

import argparse
import time

import jax
import numpy as np

from benchmarks.blocks import Loop
from bigtrain.program import Program
from experiments import digits, shakespeare, stdlib_lm

# With each the steps of a block: a multiple of log_every, so that a dispatch ends with each block.
CASES = {
  'digits': (200, lambda: digits.experiment()),
  'digits --model=mlp': (200, lambda: digits.experiment(model='mlp')),
  'shakespeare, recipe': (200, lambda: shakespeare.experiment(**shakespeare.NANOGPT)),
  'stdlib_lm': (50, lambda: stdlib_lm.experiment()),
}


def bare(experiment, steps):
  """Returns a function that takes a block of the compiled step alone and gives its seconds."""
  program = Program(experiment)
  state = program.init()
  program.compile()
  iterator = experiment.data.iterator()
  batches = program.place([next(iterator) for _ in range(program.per_dispatch)])

  def block() -> float:
    nonlocal state
    begin = time.perf_counter()
    for _ in range(steps // program.per_dispatch):
      state, _ = program.run(state, batches, program.per_dispatch)
    jax.block_until_ready(state)
    return time.perf_counter() - begin

  return block


def main() -> None:
  """Prints the table."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--rounds', type=int, default=7, help='blocks of each side')
  rounds = flags.parse_args().rounds
  print(f'{"experiment":22} {"bare ms":>9} {"loop ms":>9} {"ratio":>7}')
  for name, (steps, make) in CASES.items():
    loop, block = Loop(make()), bare(make(), steps)
    loop.steps(steps)  # Compiles.
    block()
    seconds = np.array([(block(), loop.steps(steps)) for _ in range(rounds)])
    ratio = np.median(seconds[:, 1] / seconds[:, 0])
    loop.close()
    step = np.median(seconds, axis=0) / steps * 1e3
    print(f'{name:22} {step[0]:9.3f} {step[1]:9.3f} {ratio:7.3f}')


if __name__ == '__main__':
  main()
