"""SHA-256 of a checkpoint's files: a bit that flips on a disk would restore silently otherwise.

The digests lie beside what they are of, one `sha256.HOST.json` for each host that wrote: names to
digests. Each host reads its share of the files, once after the commit and once before a restore.
A checkpoint that was committed in the moment before its process was killed has none, or not all of
them; what they do not name cannot be checked, and is taken as it is.
"""

import hashlib
import json
from collections.abc import Iterator

from etils import epath

_CHUNK = 1 << 22  # Bytes in memory at a time.
_PREFIX = 'sha256.'


def seal(folder: epath.Path, host: int = 0, hosts: int = 1) -> None:
  """Writes the digests of one host's share of the files under a folder."""
  digests = {name: _digest(folder / name) for name in sorted(_names(folder))[host::hosts]}
  # Renamed into place when whole: half a file of digests would condemn a sound checkpoint.
  part = folder / f'{_PREFIX}{host}.part'
  part.write_text(json.dumps({'of': hosts, 'files': digests}))
  part.rename(folder / f'{_PREFIX}{host}.json')


def damage(folder: epath.Path, host: int = 0, hosts: int = 1) -> str | None:
  """Returns what is wrong with one host's share of a folder in a few words, None for nothing."""
  expected: dict[str, str] = {}
  for file in sorted(folder.glob(f'{_PREFIX}*.json')):
    try:
      files = json.loads(file.read_text())['files']
      # A name that leads out of the folder was not written by `seal`.
      if any(name.startswith('/') or '..' in name.split('/') for name in files):
        return f'{file.name} names files elsewhere'
      expected.update(files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
      return f'{file.name} does not parse'
  for name, digest in sorted(expected.items())[host::hosts]:
    path = folder / name
    if not path.exists() or path.is_dir():
      return f'{name} is missing'
    if _digest(path) != digest:
      return f'{name} has changed since it was saved'
  return None


def _names(folder: epath.Path, under: str = '') -> Iterator[str]:
  for path in (folder / under).iterdir():
    name = f'{under}/{path.name}' if under else path.name
    if path.is_dir():
      yield from _names(folder, name)
    elif not name.startswith(_PREFIX):
      yield name


def _digest(path: epath.Path) -> str:
  digest = hashlib.sha256()
  with path.open('rb') as file:
    while chunk := file.read(_CHUNK):
      digest.update(chunk)
  return digest.hexdigest()
