"""Where results go: a file that can be written, a folder that is whole or not there at all."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from etils import epath


def check_folder(workdir: str, flag: str = '--workdir') -> None:
  """Raises ValueError where no folder is and none can be made; nothing is touched."""
  from etils import epath

  path = epath.Path(workdir)
  above = path if path.exists() else next((p for p in path.parents if p.exists()), path)
  if '://' in workdir or (above.is_dir() and (above == path or os.access(above, os.W_OK))):
    return
  why = 'is not writable' if above.is_dir() else 'is a file'
  said = f'{above} {why}' if above != path else 'is a file, a run needs a folder'
  raise ValueError(f'{flag}={workdir}{":" * (above != path)} {said}: choose another {flag}')


def out_file(out: str, name: str) -> epath.Path:
  """Returns the place of a file that is to be written.

  Args:
    out: The place; `~` is the home folder.
    name: What such a file is called, for the message.

  Raises:
    ValueError: The place is a folder, or lies where no folder can be made. Nothing was touched.
  """
  from etils import epath

  path = epath.Path(os.path.expanduser(out))
  if path.is_dir():
    raise ValueError(f'--out={out} is a folder: name a file, such as {path / name}')
  check_folder(os.fspath(path.parent), '--out')
  return path


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
  made = [above for above in place.parents if not above.exists()]
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
    for above in made:
      with suppress(OSError):  # It holds something now.
        above.rmdir()
