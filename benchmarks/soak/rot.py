"""Damages checkpoints in four ways: each must be found, set aside, and the one before it taken.

python -m benchmarks.soak.rot            # 25 times each
python -m benchmarks.soak.rot --count=2
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.soak.subject import experiment
from bigtrain.iteration import Checkpoints
from bigtrain.program import Program
from bigtrain.train import fit


def flip(file: pathlib.Path, draws: np.random.Generator, _: list[pathlib.Path]) -> None:
  """Turns one bit over."""
  content = bytearray(file.read_bytes())
  content[draws.integers(len(content))] ^= 1 << int(draws.integers(8))
  file.write_bytes(content)


def truncate(file: pathlib.Path, draws: np.random.Generator, _: list[pathlib.Path]) -> None:
  """Keeps the first part."""
  content = file.read_bytes()
  file.write_bytes(content[: draws.integers(len(content))])


def delete(file: pathlib.Path, draws: np.random.Generator, _: list[pathlib.Path]) -> None:
  """Removes it."""
  del draws
  file.unlink()


def swap(file: pathlib.Path, draws: np.random.Generator, files: list[pathlib.Path]) -> None:
  """Changes places with another file of other content."""
  content = file.read_bytes()
  others = [other for other in files if other.read_bytes() != content]
  other = others[draws.integers(len(others))]
  file.write_bytes(other.read_bytes())
  other.write_bytes(content)


HARMS: list[Callable[..., None]] = [flip, truncate, delete, swap]


def main() -> None:
  """Prints a row a kind of harm, and the count."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--count', type=int, default=25, help='of each kind of harm')
  count = flags.parse_args().count
  draws = np.random.default_rng(0)
  program = Program(experiment(steps=20, every=20))
  total = 0
  with tempfile.TemporaryDirectory() as folder:
    whole, copy = pathlib.Path(folder, 'whole'), pathlib.Path(folder, 'copy')
    fit(program, str(whole), save_every=10, progress=False)
    for harm in HARMS:
      found = 0
      for _ in range(count):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        newest = copy / 'checkpoints' / '20'
        files = sorted(p for p in newest.rglob('*') if p.is_file() and p.stat().st_size)
        harm(files[draws.integers(len(files))], draws, files)
        checkpoints = Checkpoints(str(copy))
        taken = checkpoints.newest(program.shapes)
        checkpoints.close()
        found += taken is not None and taken[0] == 10 and (copy / 'quarantine' / '20').is_dir()
      total += found
      print(f'{harm.__name__}: found {found} of {count}')
  print(f'{total} of {count * len(HARMS)} found, set aside, and the checkpoint before it taken')


if __name__ == '__main__':
  main()
