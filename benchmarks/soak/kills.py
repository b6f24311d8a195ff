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
import shutil
import subprocess
import tempfile
import time

import numpy as np

from benchmarks.soak import runs

STEPS, EVERY = 600, 50  # Of a run; between checkpoints.


def wait(
  process: subprocess.Popen[bytes], workdir: pathlib.Path, draws: np.random.Generator
) -> str:
  """Waits for a random moment of a run, and says which; it may have ended before.

  A number of checkpoints is drawn, and a delay after they are there: moments by the clock alone
  would fall behind the end of a run on a machine that has just become idle.
  """
  steps, delay = EVERY * int(draws.integers(0, STEPS // EVERY)), draws.uniform(0, 1)
  while process.poll() is None and newest(workdir) < steps:
    time.sleep(0.01)
  # Before the first checkpoint come the start, compilation and the first steps: some seconds.
  delay *= 12 if steps == 0 else 1
  time.sleep(delay)
  return (
    f'{delay:.2f} s after step {steps} was saved' if steps else f'{delay:.1f} s after its start'
  )


def newest(workdir: pathlib.Path) -> int:
  """The newest step whose folder has its last name."""
  names = (path.name for path in (workdir / 'checkpoints').glob('*'))
  return max((int(name) for name in names if name.isdigit()), default=0)


def main() -> None:
  """Prints a line a run, and the count."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--count', type=int, default=20, help='of kills')
  count = flags.parse_args().count
  draws = np.random.default_rng(0)
  equal = number = 0
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    alone = {}
    for workers in (0, 2):
      runs.finish(runs.start(root / f'alone-{workers}', workers=workers, save_every=EVERY))
      alone[workers] = runs.digest(root / f'alone-{workers}')
    while number < count:
      workers, workdir = 2 * (number % 2), root / f'{number}'
      shutil.rmtree(workdir, ignore_errors=True)
      process = runs.start(workdir, workers=workers, save_every=EVERY)
      said = wait(process, workdir, draws)
      if process.poll() is not None:  # It ended before: another moment.
        runs.finish(process)
        continue
      process.kill()
      process.communicate()
      runs.finish(runs.start(workdir, workers=workers, save_every=EVERY))
      same = runs.digest(workdir) == alone[workers]
      equal, number = equal + same, number + 1
      print(
        f'{number}: {workers} workers, killed {said}: {"equal" if same else "DIFFERENT"}',
        flush=True,
      )
  agree = alone[0] == alone[2]
  print(f'{equal} of {count} equal; 0 and 2 workers {"agree" if agree else "DIFFER"}')


if __name__ == '__main__':
  main()
