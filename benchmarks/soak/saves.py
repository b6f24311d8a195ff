"""Kills a run while it saves, again and again: the newest committed step must always load.

python -m benchmarks.soak.saves            # 50 kills
python -m benchmarks.soak.saves --count=5
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import numpy as np

from benchmarks.soak import runs
from benchmarks.soak.kills import newest
from benchmarks.soak.subject import experiment
from bigtrain.iteration import Checkpoints
from bigtrain.program import Program

KNOBS = {'steps': 100_000, 'width': 256, 'every': 100_000}


def saving(workdir: pathlib.Path) -> bool:
  """Whether a save is under way: Orbax writes it beside its place."""
  return any((workdir / 'checkpoints').glob('*.orbax-checkpoint-tmp*'))


def main() -> None:
  """Prints a line a kill, and the count."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--count', type=int, default=50, help='of kills')
  count = flags.parse_args().count
  draws = np.random.default_rng(0)
  program = Program(experiment(**KNOBS))
  loaded = during = last = 0
  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder)
    for number in range(count):
      process = runs.start(workdir, **KNOBS, save_every=3)
      while process.poll() is None and not (saving(workdir) and newest(workdir) > last):
        time.sleep(0.001)
      time.sleep(draws.uniform(0, 0.3))
      process.kill()
      process.communicate()
      torn = saving(workdir)
      during += torn
      checkpoints = Checkpoints(folder)
      found = checkpoints.newest(program.shapes)
      checkpoints.close()
      sound = found is not None and found[0] >= last and int(found[1].step) == found[0]
      loaded += sound
      last = found[0] if found else last
      print(f'{number + 1}: step {last}{", in mid-save" * torn}: {"loads" if sound else "LOST"}')
  print(f'{loaded} of {count} load; {during} kills left half a save')


if __name__ == '__main__':
  main()
