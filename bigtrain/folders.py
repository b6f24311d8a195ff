"""A folder that is written whole or not at all."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def replacing(folder: str, *, marker: str, overwrite: bool) -> Iterator[pathlib.Path]:
  """Gives a new folder to fill, which takes the place of `folder` once that is done.

  Args:
    folder: A local place.
    marker: A file that tells a folder made here from any other.
    overwrite: Whether a folder with the marker may be replaced; others never are.

  Raises:
    ValueError: The place is remote, or taken. Nothing was touched.
  """
  if '://' in folder:
    raise ValueError(f'--out={folder} is no local folder: write to one, and copy that')
  place = pathlib.Path(folder).expanduser()
  if place.exists() and not (place.is_dir() and not any(place.iterdir())):
    ours = (place / marker).is_file()
    if not ours:
      raise ValueError(f'--out={folder} is there, and no export made it: name a new folder')
    if not overwrite:
      raise ValueError(f'--out={folder} holds an export: name a new folder, or add --overwrite')
  place.parent.mkdir(parents=True, exist_ok=True)
  part = place.parent / f'.{place.name}.{os.getpid()}.part'
  part.mkdir()
  try:
    yield part
    old = place.parent / f'.{place.name}.{os.getpid()}.old'
    if place.exists():
      place.rename(old)
    part.rename(place)
    shutil.rmtree(old, ignore_errors=True)
  finally:
    shutil.rmtree(part, ignore_errors=True)
