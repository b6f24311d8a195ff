"""What grows with use must not cost more: long journals, many checkpoints, sources and records.

  python -m benchmarks.soak.load                 # 2 GB of records below the temporary folder
  python -m benchmarks.soak.load --scale=0.01

Each line is a case with its start (opening, in seconds), its step (one write, look or batch, in
milliseconds), both of processor time, so that other work on the machine counts for nothing, and by
how much the memory of the process grew, without what is mapped from files.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.soak.growth import memory
from bigtrain import data
from bigtrain.iteration import Checkpoints
from bigtrain.journal import Journal

_STEPS = 20  # Timed, of which the median counts.


def measure(name: str, start: Callable[[], Any], step: Callable[[Any], Any]) -> None:
  """Prints what it takes to start something and to take a step with it."""
  _, before = memory()
  begun = time.process_time()
  made = start()
  started = time.process_time() - begun
  spent = []
  for _ in range(_STEPS):
    begun = time.process_time()
    step(made)
    spent.append(time.process_time() - begun)
  _, after = memory()
  step_ms = 1e3 * float(np.median(spent))
  print(
    f'{name}: start {started:.3f} s, step {step_ms:.3f} ms, {after - before:+.1f} MB', flush=True
  )


def journal(root: pathlib.Path, lines: int) -> None:
  """A run that goes on after many lines."""
  with (root / 'metrics.jsonl').open('w') as file:
    for step in range(1, lines + 1):
      file.write(json.dumps({'step': step, 'seconds': step / 10, 'train/loss': 1 / step}) + '\n')
  measure(
    f'a journal of {lines:,} lines',
    lambda: Journal(str(root), lines, trackers=()),
    lambda made: made.write(lines + 1, {'train/loss': 1.0}),
  )


def checkpoints(root: pathlib.Path, count: int) -> None:
  """A workdir with the folders of many checkpoints, as a run that keeps all leaves it."""
  for step in range(1, count + 1):
    for item in ('state', 'data'):
      (root / 'checkpoints' / str(step) / item).mkdir(parents=True)
    (root / 'checkpoints' / str(step) / '_CHECKPOINT_METADATA').write_text('{}')

  def look(made: Checkpoints) -> None:
    if len(made.steps()) != count:
      raise RuntimeError(f'{count} checkpoints were written, {len(made.steps())} are seen')

  (root / 'empty' / 'checkpoints').mkdir(parents=True)
  Checkpoints(str(root / 'empty')).steps()  # What is imported belongs to no case.

  def start() -> Checkpoints:
    look(made := Checkpoints(str(root)))
    return made

  measure(f'{count:,} checkpoints', start, look)


def sources(count: int) -> None:
  """Many sources mixed."""
  rng = np.random.default_rng(0)
  parts = {str(i): data.arrays(x=rng.normal(size=(100 + i, 64))) for i in range(count)}

  def start() -> Any:
    batches = data.forever(data.mix(parts, weights=dict.fromkeys(parts, 1.0)), 256, workers=0)
    return batches.iterator()

  measure(f'{count:,} sources mixed', start, next)


def records(root: pathlib.Path, size: int) -> None:
  """Records in shards, read at random."""
  rows = np.random.default_rng(0).integers(0, 256, (max(1, size // 2**16), 2**16), dtype=np.uint8)
  written = data.write_records(data.arrays(x=rows), root / 'set', shards=8)
  del rows
  bytes_written = sum(shard['bytes'] for shard in written['shards'])
  measure(
    f'{bytes_written / 1e9:.2f} GB of records',
    lambda: data.forever(data.read_records(root / 'set'), 32, workers=0).iterator(),
    next,
  )


def main() -> None:
  """Prints a line a case."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--scale', type=float, default=1.0, help='of every size')
  scale = flags.parse_args().scale
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    journal(root, round(1_000_000 * scale))
    checkpoints(root, round(1_000 * scale))
    sources(max(2, round(200 * scale)))
    records(root, round(2e9 * scale))


if __name__ == '__main__':
  main()
