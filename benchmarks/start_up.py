"""From the start of the process to the first training step of `digits`, cold and warm.

  python -m benchmarks.start_up

Cold: with an empty compilation cache. Warm: with what the cold start left in it. The step counts
as taken when the device has finished the first dispatch, which holds ten steps of the default
model. Times are medians.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

# Runs the experiment's own command up to the first step. The clock starts with the process, before
# Python does, so it is read from the system.
COMMAND = """
import os, sys, runpy
import jax
from bigtrain.program import Program

take = Program.run

def first(*arguments):
  jax.block_until_ready(take(*arguments))
  with open('/proc/self/stat') as stat, open('/proc/uptime') as uptime:
    started = int(stat.read().rsplit(')', 1)[1].split()[19]) / os.sysconf('SC_CLK_TCK')
    print(float(uptime.read().split()[0]) - started)
  sys.stdout.flush()
  os._exit(0)

Program.run = first
sys.argv = ['digits', f'--workdir={sys.argv[1]}', '--progress=off']
runpy.run_module('experiments.digits', run_name='__main__')
"""


def seconds(cache: str) -> float:
  """Starts `digits` once in a new workdir."""
  with tempfile.TemporaryDirectory() as workdir:
    environment = {**os.environ, 'BIGTRAIN_CACHE': cache}
    done = subprocess.run(
      [sys.executable, '-c', COMMAND, workdir], env=environment, capture_output=True, text=True
    )
  if done.returncode:
    raise RuntimeError(done.stderr)
  return float(done.stdout)


def main() -> None:
  """Prints the table."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--rounds', type=int, default=5, help='starts of each kind')
  rounds = flags.parse_args().rounds
  times = []
  for _ in range(rounds):
    with tempfile.TemporaryDirectory() as cache:
      times.append((seconds(cache), seconds(cache)))
  print(f'{"cache":6} {"seconds":>8}')
  for name, value in zip(('cold', 'warm'), np.median(times, axis=0), strict=True):
    print(f'{name:6} {value:8.2f}')


if __name__ == '__main__':
  main()
