"""Files by path, folder and glob, here and remote, found in one way for every source.

A path is a file, a folder (searched through and through) or a glob, in which ** stands for folders
of any depth. Paths with a scheme (gs://, s3://, https://, memory:// ...) go through fsspec, which
wants gcsfs for Google's store and s3fs for Amazon's. What a reader needs as a file on this machine
is copied to $BIGTRAIN_CACHE once.
"""

import dataclasses
import glob
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, BinaryIO

from bigtrain.data import places

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]


@dataclasses.dataclass(frozen=True)
class File:
  """One file, opened when asked for; small enough to be sent to worker processes.

  Attributes:
    path: how it is opened, and called in messages.
    name: its path relative to the folder that was searched; else as `path`.
  """

  path: str
  name: str

  def __str__(self) -> str:
    return self.path

  @property
  def stem(self) -> str:
    """Its last name without the ending."""
    return pathlib.PurePosixPath(self.path).stem

  @property
  def suffix(self) -> str:
    """The ending, lower case."""
    return pathlib.PurePosixPath(self.path).suffix.lower()

  def open(self) -> BinaryIO:
    """Opens it for reading bytes at any place."""
    if not _remote(self.path):
      return open(self.path, 'rb')
    system, inside = _system('data', self.path)
    return system.open(inside, 'rb')

  def read(self) -> bytes:
    """Returns its content."""
    with self.open() as stream:
      return stream.read()


def find(place: str, paths: Paths, endings: Sequence[str] = ()) -> list[File]:
  """Returns the files that paths, folders and globs stand for.

  Args:
    place: who asks, for messages.
    paths: a file, folder or glob, or a list of these, whose order is kept; what one stands for is
      sorted by path.
    endings: those of the files of a folder that count, lower case; all where there is none.

  Raises:
    FileNotFoundError: where a path matches no file.
    ValueError: where a scheme is unknown, or needs a package that is not there.
  """
  files: list[File] = []
  for each in [paths] if isinstance(paths, str | os.PathLike) else paths:
    path = _plain(each)
    found, folder = (_found_there if _remote(path) else _found_here)(place, path)
    if folder:
      chosen = tuple(endings) or ('',)
      found = [file for file in found if file.path.lower().endswith(chosen)]
    if not found:
      what = f'file ending in {", ".join(endings)} in' if folder and endings else 'such file:'
      raise FileNotFoundError(f'{place}: no {what} {path}: check the path')
    files += sorted(found, key=lambda file: file.path.split('/'))
  return files


def by_class(
  place: str, path: Path, endings: Sequence[str], classes: Sequence[str] | None, cure: str
) -> tuple[list[list[File]], list[str]]:
  """Returns the files of a folder that has one folder a class, and the names of the classes.

  Args:
    place: who asks, for messages.
    path: the folder; files are named relative to it.
    endings: of the files that count, lower case.
    classes: the folders to take, in this order; None takes all, sorted by name.
    cure: what to do where there is no folder inside.

  Raises:
    FileNotFoundError: where there is no such folder.
    ValueError: where a class is not there or holds no such file.
  """
  root = _plain(path).rstrip('/')
  if (names := _folders(place, root)) is None:
    raise FileNotFoundError(f'{place}: no folder {root}: check the path: it has one folder a class')
  chosen = list(names if classes is None else classes)
  if not chosen:
    raise ValueError(f'{place}: {root} has no folder inside: {cure}')
  if unknown := [name for name in chosen if name not in names]:
    raise ValueError(f'{place}: {root} has no class {unknown[0]!r}: use some of {", ".join(names)}')
  found = []
  for name in chosen:
    try:
      files = find(place, f'{root}/{name}', endings)
    except FileNotFoundError:
      raise ValueError(
        f'{place}: {root}/{name} holds no {" or ".join(endings)}: drop the folder, or leave it '
        'out of classes='
      ) from None
    found.append([File(file.path, f'{name}/{file.name}') for file in files])
  return found, chosen


def brought_here(place: str, paths: Paths, endings: Sequence[str] = ()) -> list[pathlib.Path]:
  """Returns what `find` does as files on this machine, copying those that are elsewhere.

  Copies lie in $BIGTRAIN_CACHE as they lie there, in a folder whose name changes with any file.
  """
  files = find(place, paths, endings)
  system = None
  facts: list[str] = []
  for file in files:
    if _remote(file.path):
      system, inside = _system(place, file.path)
      facts += [file.path, system.ukey(inside)]
  if not facts:
    return [pathlib.Path(file.path) for file in files]
  folder = places.cache() / f'files-{places.digest(facts)}'
  here = []
  for file in files:
    if not _remote(file.path):
      here.append(pathlib.Path(file.path))
      continue
    parts = pathlib.PurePosixPath(file.path.partition('://')[2].lstrip('/')).parts
    if '..' in parts:  # A store may call a file so; here it would lie elsewhere.
      raise ValueError(f'{place}: {file} leaves its folder: rename it')
    here.append(folder.joinpath(*parts))
    if not here[-1].exists():
      _copy(file, here[-1])
  return here


def _copy(file: File, target: pathlib.Path) -> None:
  target.parent.mkdir(parents=True, exist_ok=True)
  part = target.with_name(f'{target.name}.{os.getpid()}.part')
  try:
    with file.open() as stream, part.open('wb') as copy:
      shutil.copyfileobj(stream, copy, 2**20)
    part.replace(target)
  finally:
    part.unlink(missing_ok=True)


def _found_here(place: str, path: str) -> tuple[list[File], bool]:
  del place
  root = pathlib.Path(path)
  if root.is_dir():
    inside = [file for file in root.rglob('*') if file.is_file()]
    return [File(str(file), file.relative_to(root).as_posix()) for file in inside], True
  names = [path] if root.is_file() else glob.glob(path, recursive=True)
  return [File(name, name) for name in names if os.path.isfile(name)], False


def _found_there(place: str, path: str) -> tuple[list[File], bool]:
  system, inside = _system(place, path)
  folder = system.isdir(inside)
  if folder:
    names = system.find(inside)
  elif system.isfile(inside):
    names = [inside]
  else:
    names = [name for name in system.glob(inside) if system.isfile(name)]
  whole = [system.unstrip_protocol(name) for name in names]
  begin = len(inside.rstrip('/')) + 1
  own = [name[begin:] for name in names] if folder else whole
  return [File(*each) for each in zip(whole, own, strict=True)], folder


def _folders(place: str, root: str) -> list[str] | None:
  """Returns the names of the folders inside one, sorted, without hidden ones; None without it."""
  if _remote(root):
    system, inside = _system(place, root)
    if not system.isdir(inside):
      return None
    listed = [each for each in system.ls(inside, detail=True) if each['type'] == 'directory']
    names = [each['name'].rstrip('/').rpartition('/')[2] for each in listed]
  else:
    if not os.path.isdir(root):
      return None
    names = [each.name for each in os.scandir(root) if each.is_dir()]
  return sorted(name for name in names if not name.startswith('.'))


def _system(place: str, path: str) -> tuple[Any, str]:
  """Returns the file system of a remote path, and the path as that one calls it."""
  from fsspec.core import url_to_fs

  try:
    return url_to_fs(path)
  except (ImportError, ValueError) as error:
    raise ValueError(f'{place}: cannot reach {path} ({error}): bring the files here') from None


def _plain(path: Path) -> str:
  return path if _remote(path := os.fspath(path)) else os.path.expanduser(path)


def _remote(path: str) -> bool:
  return '://' in path
