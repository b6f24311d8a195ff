"""Where data is looked for, and where what was computed from it is kept.

Data: $BIGTRAIN_DATA first, then where its package puts it. Computed things (trained tokenisers,
encoded texts): $BIGTRAIN_CACHE, else ~/.cache/bigtrain, under names that hold a digest of what they
were computed from, so that a stale one is never read.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence


def find(name: str, paths: Sequence[str], places: Sequence[str], cure: str) -> pathlib.Path:
  """Returns the first file that exists.

  Args:
    name: what is looked for, for the message.
    paths: paths relative to a place, in order of preference.
    places: folders after $BIGTRAIN_DATA.
    cure: the one command that brings the file.

  Raises:
    FileNotFoundError: where there is none.
  """
  own = os.environ.get('BIGTRAIN_DATA')
  folders = [own] if own else []
  for folder in (*folders, *places):
    for path in paths:
      if (found := pathlib.Path(folder).expanduser() / path).is_file():
        return found
  looked = ' and '.join([f'$BIGTRAIN_DATA ({own or "not set"})', *places])
  raise FileNotFoundError(f'{name}: no {paths[0]} in {looked}: {cure}')


def digest(parts: Iterable[bytes | str]) -> str:
  """Returns 16 hexadecimal digits over the parts and their lengths."""
  total = hashlib.blake2b(digest_size=8)
  for part in parts:
    part = part.encode('utf-8', 'surrogatepass') if isinstance(part, str) else part
    total.update(len(part).to_bytes(8, 'little') + part)
  return total.hexdigest()


def cache() -> pathlib.Path:
  """Returns the folder for computed things, which need not be there yet."""
  return pathlib.Path(os.environ.get('BIGTRAIN_CACHE') or '~/.cache/bigtrain').expanduser()


def cached(name: str, make: Callable[[], bytes]) -> bytes:
  """Returns the bytes kept under `name`, or makes and keeps them.

  `name` must hold a digest of all that `make` depends on. A checksum guards the content; a torn or
  altered file is made again. Where the folder cannot be written, nothing is kept.
  """
  path = cache() / name
  try:
    kept = path.read_bytes()
    if hashlib.blake2b(kept[16:], digest_size=16).digest() == kept[:16]:
      return kept[16:]
  except OSError:
    pass
  content = make()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed: processes that start together must not read each other's halves.
    part = path.with_name(f'{name}.{os.getpid()}.part')
    try:
      part.write_bytes(hashlib.blake2b(content, digest_size=16).digest() + content)
      part.replace(path)
    finally:
      part.unlink(missing_ok=True)
  except OSError:
    pass
  return content
