"""Starting, killing and comparing runs of `subject.py`, each a process of its own."""

from __future__ import annotations

import hashlib
import pathlib
import subprocess
import sys

import numpy as np
import orbax.checkpoint as ocp
from jax import tree_util


def start(workdir: pathlib.Path, **flags: object) -> subprocess.Popen[bytes]:
  """Starts or continues a run, as a person would."""
  words = [f'--{name}={value}' for name, value in {'workdir': workdir, **flags}.items()]
  return subprocess.Popen(
    [sys.executable, '-m', 'benchmarks.soak.subject', *words],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
  )


def finish(process: subprocess.Popen[bytes]) -> None:
  """Waits for a run.

  Raises:
    RuntimeError: It failed, with what it said.
  """
  _, said = process.communicate()
  if process.returncode:
    raise RuntimeError(f'a run ended with {process.returncode}: {said.decode()[-2000:]}')


def digest(workdir: pathlib.Path) -> str:
  """Returns the SHA-256 of the newest checkpoint's arrays and position in the data."""
  folder = max((workdir / 'checkpoints').glob('[0-9]*'), key=lambda path: int(path.name))
  with ocp.PyTreeCheckpointer() as reader:
    state = reader.restore(folder / 'state')
  found = hashlib.sha256((folder / 'data' / 'metadata').read_bytes())
  for path, leaf in tree_util.tree_leaves_with_path(state):
    array = np.asarray(leaf)
    found.update(f'{tree_util.keystr(path)} {array.shape} {array.dtype}'.encode())
    found.update(array.tobytes())
  return found.hexdigest()
