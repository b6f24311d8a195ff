"""Resident memory over many steps with evaluations and checkpoints: it must not grow.

  python -m benchmarks.soak.growth                 # 10,000 steps after 2,500 others
  python -m benchmarks.soak.growth --steps=2000

Memory is read after each tenth of the steps. Growth is that from the second tenth, when everything
has happened some times, to the last.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import itertools
import pathlib
import tempfile

from benchmarks.soak.subject import experiment
from bigtrain.program import Program
from bigtrain.train import fit


def memory() -> tuple[float, float]:
  """Megabytes of this process in memory: all, and without what is only mapped from files.

  The system drops pages of files as it likes, so that growth shows in the second figure alone.
  """
  gc.collect()
  lines = pathlib.Path('/proc/self/status').read_text().splitlines()
  found = dict(line.split(':', 1) for line in lines)
  resident, anonymous = (int(found[name].split()[0]) / 1024 for name in ('VmRSS', 'RssAnon'))
  return resident, anonymous


def main() -> None:
  """Prints the memory after each tenth, and the growth."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--steps', type=int, default=12_500, help='in all')
  steps = flags.parse_args().steps
  built = experiment(steps=steps, every=steps // 20)
  change, found, seen = built.data.map, [], itertools.count(1)

  def noting(batch, draws):
    number = next(seen)
    if number % (steps // 10) == 0:
      found.append(memory())
      print(
        'batch {:,}: {:,.1f} MB, {:,.1f} of them no files'.format(number, *found[-1]), flush=True
      )
    return change(batch, draws) if change else batch

  built = dataclasses.replace(built, data=dataclasses.replace(built.data, map=noting))
  with tempfile.TemporaryDirectory() as folder:
    fit(Program(built), folder, save_every=steps // 20, progress=False)
  growth = (found[-1][1] - found[1][1]) / found[1][0]
  print(f'{growth:+.2%} from step {steps // 5:,} to {steps:,}, 20 evaluations, 20 checkpoints')


if __name__ == '__main__':
  main()
