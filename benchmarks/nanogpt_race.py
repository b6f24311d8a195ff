"""The character model of nanoGPT's CPU recipe: bigtrain against PyTorch, two tables.

  BIGTRAIN_DATA=FOLDER python -m benchmarks.nanogpt_race              (about 8 minutes on 2 cores)
  BIGTRAIN_DATA=FOLDER python -m benchmarks.nanogpt_race --only=step

FOLDER holds tinyshakespeare.txt. PyTorch is needed by nothing else: `pip install torch`.

Step: the same model, batch and optimiser on both sides, data and schedule included. Every side
stays in a process of its own and rests while another runs a block of steps; the order of the
sides turns round with each round, so that a drift of the machine hits all alike.

Race: PyTorch runs its whole published recipe; bigtrain trains until its validation loss is at the
target. The clock starts with the text in memory: building, compiling and, for bigtrain, every
evaluation on the way are inside. PyTorch's one evaluation comes after its clock has stopped.

Validation is the last tenth of the text, all of it, in consecutive windows of 64 characters.

PyTorch's threads wait by spinning and collapse when another program needs a core, so the share of
the CPU that other processes took is measured along. A comparison counts when that is under 10 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from benchmarks import nanogpt_bigtrain as bigtrain_side
from benchmarks import nanogpt_recipe as recipe

TARGET = 1.88
QUIET = 0.10  # The share of other processes up to which a comparison counts.


class Side(Protocol):
  """What a worker process can do."""

  parameters: int

  def steps(self, count: int) -> float:
    """Runs this many more steps; returns seconds."""
    ...

  def race(self) -> dict[str, float]:
    """Trains from the start.

    Returns:
      `ready` (seconds until the step was compiled, or the first one done), `seconds` (in all),
      `steps`, and `loss` over the validation windows.
    """
    ...

  def close(self) -> None:
    """Ends what still runs."""
    ...


SIDES: dict[str, Callable[[], Side]] = {
  'bigtrain': bigtrain_side.Bigtrain,
  'torch eager, 1 thread': lambda: recipe.Torch(threads=1, compile=False),
  'torch eager, 2 threads': lambda: recipe.Torch(threads=2, compile=False),
  'torch compiled, 1 thread': lambda: recipe.Torch(threads=1, compile=True),
  'torch compiled, 2 threads': lambda: recipe.Torch(threads=2, compile=True),
}
PUBLISHED = 'torch eager, 2 threads'  # nanoGPT's README says --compile=False.


def work(name: str) -> None:
  """A worker: answers each line of standard input with a line of JSON."""
  # Standard output is for the answers: whatever else a side prints goes to standard error.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  side: Side | None = None
  for line in sys.stdin:
    command, *arguments = line.split()
    try:
      side = side or SIDES[name]()
      if command == 'steps':
        answer = {'seconds': side.steps(int(arguments[0])), 'parameters': side.parameters}
      else:
        answer = {**side.race(), 'parameters': side.parameters}
    except Exception as error:
      answer = {'error': f'{type(error).__name__}: {error}'.splitlines()[0]}
    print(json.dumps(answer), file=answers, flush=True)
  if side:
    side.close()


class Worker:
  def __init__(self, name: str, module: str = 'benchmarks.nanogpt_race'):
    # Nothing compiled before may be found, or the order of the sides would decide a race.
    self.cache = tempfile.TemporaryDirectory()
    environment = {**os.environ, 'BIGTRAIN_CACHE': self.cache.name}
    command = [sys.executable, '-m', module, f'--worker={name}']
    root = pathlib.Path(__file__).resolve().parents[1]
    pipe = subprocess.PIPE
    self.name = name
    self.process = subprocess.Popen(
      command, stdin=pipe, stdout=pipe, text=True, cwd=root, env=environment
    )

  def ask(self, request: str) -> dict[str, Any]:
    """Sends one line; returns the answer and the CPU `others` took meanwhile."""
    assert self.process.stdin is not None
    assert self.process.stdout is not None
    before = Usage.now(self.process.pid)
    print(request, file=self.process.stdin, flush=True)
    answer = self.process.stdout.readline()
    if not answer:
      return {'error': f'the process ended with code {self.process.wait()}'}
    return {**json.loads(answer), 'others': before.others(Usage.now(self.process.pid))}

  def end(self) -> None:
    self.process.communicate()
    self.cache.cleanup()


class Usage(NamedTuple):
  """Clock ticks since start-up: of one process, of all, and of all cores together."""

  mine: int
  busy: int
  total: int

  @classmethod
  def now(cls, pid: int) -> Usage:
    try:
      cores = pathlib.Path('/proc/stat').read_text().splitlines()[0].split()[1:9]
      ticks = [int(field) for field in cores]
      # The name may hold spaces: fields are counted from the parenthesis that closes it. The
      # last two are those of children that have ended, such as compilers.
      fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
      return cls(sum(map(int, fields[11:15])), sum(ticks) - ticks[3] - ticks[4], sum(ticks))
    except OSError:  # Not Linux, or the process has ended.
      return cls(0, 0, 0)

  def others(self, later: Usage) -> float:
    """The share of all cores that went to other processes; nan where that is unknown."""
    total = later.total - self.total
    if total <= 0:
      return math.nan
    return max(0.0, (later.busy - self.busy - (later.mine - self.mine)) / total)


def measure_steps(rounds: int, block: int) -> None:
  workers = [Worker(name) for name in SIDES]
  answers: dict[str, list[dict]] = {}
  try:
    for worker in list(workers):
      answer = worker.ask(f'steps {block}')  # Compiles and warms up.
      if 'error' in answer:
        print(f'{worker.name}: left out ({answer["error"]})')
        workers.remove(worker)
        worker.end()
    for turn in range(rounds):
      for worker in workers[:: -1 if turn % 2 else 1]:
        time.sleep(0.3)  # The last side's threads stop spinning.
        answers.setdefault(worker.name, []).append(worker.ask(f'steps {block}'))
  finally:
    for worker in workers:
      worker.end()
  print(f'{"one step":28} {"median ms":>9} {"lowest":>7} {"highest":>7} {"to bigtrain":>16} others')
  ours = [answer['seconds'] for answer in answers.get('bigtrain', [])]
  for name, blocks in answers.items():
    times = [answer['seconds'] for answer in blocks]
    ratio = '-'
    if ours:
      ratios = [theirs / mine for theirs, mine in zip(times, ours, strict=True)]
      ratio = f'{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})'
    numbers = [1e3 * f(times) / block for f in (statistics.median, min, max)]
    others = statistics.median(answer['others'] for answer in blocks)
    print(f'{name:28} {numbers[0]:9.1f} {numbers[1]:7.1f} {numbers[2]:7.1f} {ratio:>16}', end='')
    print(f' {note(others)}')


def measure_race(orders: int) -> None:
  columns = f'{"seconds":>8} {"ready":>8} {"steps":>6} {"loss":>7} {"parameters":>10}'
  print(f'{"race":28} {columns} {"share":>6} others')
  for turn in range(orders):
    results: dict[str, dict] = {}
    for name in [PUBLISHED, 'bigtrain'][:: -1 if turn % 2 else 1]:
      worker = Worker(name)
      results[name] = worker.ask('race')
      worker.end()
    for name, result in results.items():
      if 'error' in result:
        print(f'{name}: left out ({result["error"]})')
        continue
      share = result['seconds'] / results[PUBLISHED].get('seconds', math.nan)
      print(
        f'{name:28} {result["seconds"]:8.1f} {result["ready"]:8.1f} {result["steps"]:6.0f}', end=''
      )
      print(f' {result["loss"]:7.4f} {result["parameters"]:10,d} {share:6.3f}', end='')
      missed = name == 'bigtrain' and result['loss'] > TARGET
      print(f' {note(result["others"])}{f" (target {TARGET} missed)" if missed else ""}')


def note(others: float) -> str:
  return f'{others:5.1%}' + (' (too busy to count)' if others > QUIET else '')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--only', choices=['step', 'race'])
  parser.add_argument('--rounds', type=int, default=8, help='blocks of steps for each side')
  parser.add_argument('--block', type=int, default=50, help='steps in a block')
  parser.add_argument('--orders', type=int, default=2, help='2: race again, the order turned round')
  parser.add_argument('--worker', choices=list(SIDES), help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.worker:
    return work(options.worker)
  recipe.text_file()
  if importlib.util.find_spec('torch') is None:
    print('Nothing to race against: PyTorch is not installed (`pip install torch` brings it).')
    return None
  if options.only != 'race':
    measure_steps(options.rounds, options.block)
  if options.only != 'step':
    measure_race(options.orders)


if __name__ == '__main__':
  main()
