"""Kills a run at a random moment, lets it go on, and compares it with one that was left alone.

  python -m benchmarks.soak.kills            # 20 runs, half with 2 processes that read
  python -m benchmarks.soak.kills --count=4

Equal means: SHA-256 of parameters, averages, optimiser state and position in the data. A batch is a
function of seed and step alone, and the position is in the checkpoint, so equal states have seen
each record as often as an uninterrupted run.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import numpy as np

from benchmarks.soak import runs


def main() -> None:
  """Prints a line a run, and the count."""
  flags = argparse.ArgumentParser()
  flags.add_argument('--count', type=int, default=20)
  count = flags.parse_args().count
  draws = np.random.default_rng(0)
  equal = 0
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    alone, seconds = {}, {}
    for workers in (0, 2):
      before = time.monotonic()
      runs.finish(runs.start(root / f'alone-{workers}', workers=workers, save_every=50))
      seconds[workers] = time.monotonic() - before
      alone[workers] = runs.digest(root / f'alone-{workers}')
    for number in range(count):
      workers = 2 * (number % 2)
      workdir = root / str(number)
      moment = draws.uniform(0.2, 1.0) * seconds[workers]
      process = runs.start(workdir, workers=workers, save_every=50)
      time.sleep(moment)
      process.kill()
      process.communicate()
      kept = sorted(
        int(p.name) for p in (workdir / 'checkpoints').glob('[0-9]*') if p.name.isdigit()
      )
      runs.finish(runs.start(workdir, workers=workers, save_every=50))
      same = runs.digest(workdir) == alone[workers]
      equal += same
      print(
        f'{number + 1}: {workers} workers, killed after {moment:.1f} s with checkpoints {kept}: '
        f'{"equal" if same else "DIFFERENT"}',
        flush=True,
      )
  workers_agree = alone[0] == alone[2]
  print(f'{equal} of {count} equal; 0 and 2 workers {"agree" if workers_agree else "DIFFER"}')


if __name__ == '__main__':
  main()
