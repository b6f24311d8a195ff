"""JSON lines: one object a line, in plain, gzip or Zstandard files, here or remote.

Every line is found, parsed and checked when the source is opened, so that a bad one is told before
training starts. Plain files stay where they are, and a record is read when asked for. Compressed
files have no random access: their text is decoded once and held in memory.
"""

import array
import dataclasses
import gzip
import hashlib
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bigtrain.data import finding, records, sources

_PLACE = 'data.json_lines'
_ENDINGS = tuple(
  f'{kind}{packed}' for kind in ('.jsonl', '.ndjson', '.json') for packed in ('', '.gz', '.zst')
)
_CHUNK = 2**20
_TYPES = {'integer': np.int64, 'number': np.float64, 'true or false': np.bool_}


@dataclasses.dataclass(eq=False)
class JsonLines:
  """Objects of JSON lines, parsed when asked for; made by `json_lines`."""

  files: list[finding.File]
  texts: list[bytes | None]  # Of each file; None where it is read when asked for.
  file: np.ndarray  # Of each record, as are its first byte and the byte after its last.
  start: np.ndarray
  stop: np.ndarray
  schema: '_Schema'
  about: dict[str, Any]

  def __len__(self) -> int:
    return len(self.start)

  def __getitem__(self, index: int) -> records.Record:
    return self.__getitems__(np.array([range(len(self))[index]]))[0]

  def __getitems__(self, indices: np.ndarray) -> list[records.Record]:
    found: dict[int, records.Record] = {}
    # A file is opened once a batch and stays open for nobody: sources go to worker processes.
    for file in np.unique(self.file[indices]):
      text, path = self.texts[file], self.files[file]
      with path.open() if text is None else io.BytesIO(text) as stream:
        for index in np.asarray(indices)[self.file[indices] == file].tolist():
          stream.seek(start := int(self.start[index]))
          try:
            found[index] = self.schema.record(_object(stream.read(int(self.stop[index]) - start)))
          except ValueError as error:
            raise ValueError(
              f'{_PLACE}: {path}, byte {start}, {error}, but was good when the source was opened: '
              'leave files alone while they are read'
            ) from None
    return [found[index] for index in np.asarray(indices).tolist()]


def json_lines(
  paths: finding.Paths,
  *,
  keys: Sequence[str] | None = None,
  defaults: Mapping[str, Any] | None = None,
  errors: Literal['raise', 'skip'] = 'raise',
  most_skipped: float = 0.01,
) -> JsonLines:
  """Returns the objects of JSON lines files; blank lines count for nothing.

  Holds in memory 20 bytes a record, and all text of compressed files (`about['bytes_in_memory']`).

  Args:
    paths: a file, a folder (searched through and through for .jsonl, .ndjson and .json, also with
      .gz or .zst), a glob, or a list of these, here or remote. Compression is seen from the first
      bytes.
    keys: what to keep of each object; None takes the keys of the first one, and refuses others.
    defaults: what stands for a key that is missing or null; without one that is an error.
    errors: 'raise' stops at the first bad line; 'skip' leaves bad lines out and counts them in
      `about['skipped']`, with the first of them in `about['first_skipped']`.
    most_skipped: share of the lines, above which skipping stops.

  Returns:
    A source of records: texts as str, numbers as int64, or as float64 where any line has a
    fraction, lists of numbers or of texts as arrays [n]; other values as they are.

  Raises:
    FileNotFoundError: where a path matches no file.
    ValueError: naming file and line, for a line that is not UTF-8 or holds no JSON object, and for
      a key that is missing, added, or changes its type; for more bad lines than may be skipped, a
      file whose compressed part is cut or damaged, or no record at all.
  """
  if errors not in ('raise', 'skip'):
    raise ValueError(f'{_PLACE}: errors must be raise or skip, got {errors!r}')
  if not 0 <= most_skipped <= 1:
    raise ValueError(f'{_PLACE}: most_skipped must lie in [0, 1], got {most_skipped}')
  found = finding.find(_PLACE, paths, _ENDINGS)
  schema = _Schema(keys, defaults or {})
  file, start, stop = array.array('i'), array.array('q'), array.array('q')
  texts: list[bytes | None] = []
  digest = hashlib.blake2b(digest_size=8)
  skipped, first_skipped = 0, ''
  for number, path in enumerate(found):
    with path.open() as stream:
      text = _decompressed(path, stream)
      texts.append(text)
      stream.seek(0)
      for line, offset, raw in _lines(stream if text is None else io.BytesIO(text)):
        try:
          schema.add(_object(raw))
        except ValueError as error:
          said = f'{path}, line {line}: {error}'
          if errors == 'raise':
            raise ValueError(
              f"{_PLACE}: {said}: repair the line, or leave bad lines out by errors='skip'"
            ) from None
          skipped, first_skipped = skipped + 1, first_skipped or said
          continue
        digest.update(len(raw).to_bytes(8, 'little') + raw)
        file.append(number)
        start.append(offset)
        stop.append(offset + len(raw))
  lines = len(start) + skipped
  if skipped > most_skipped * lines:
    raise ValueError(
      f'{_PLACE}: {skipped} of {lines} lines are bad, more than {most_skipped=} allows; the first '
      f'is {first_skipped}: repair the files, or raise most_skipped'
    )
  if not start:
    raise ValueError(f'{_PLACE}: {paths} holds no record: check the path')
  about = {
    'name': 'json_lines',
    'files': len(found),
    'digest': digest.hexdigest(),
    'bytes_in_memory': sum(len(text) for text in texts if text is not None),
    'skipped': skipped,
    'first_skipped': first_skipped,
  }
  own = np.array(file, np.int32), np.array(start, np.int64), np.array(stop, np.int64)
  return JsonLines(found, texts, *own, schema, about)


class _Schema:
  """What all records share: the keys, and of each its kind as the lines so far showed it."""

  def __init__(self, keys: Sequence[str] | None, defaults: Mapping[str, Any]):
    self._keys = tuple(keys or ())  # None yet: those of the first object.
    self._chosen = keys is not None
    self._defaults = dict(defaults)
    self._kinds: dict[str, str] = {}

  def add(self, values: dict[str, Any]) -> None:
    """Takes one object in; where it does not fit, ValueError, and nothing is taken."""
    kinds = {key: _kind(key, value) for key, value in self._kept(values).items()}
    self._kinds = {
      key: _merged(key, self._kinds.get(key, kind), kind) for key, kind in kinds.items()
    }
    self._keys = tuple(kinds)

  def record(self, values: dict[str, Any]) -> dict[str, Any]:
    """Returns an object as a record; ValueError where it does not fit."""
    result = self._kept(values)
    for key, value in result.items():
      kind = _merged(key, self._kinds[key], _kind(key, value))
      if (inner := kind.removeprefix('list of ')) in _TYPES:
        result[key] = np.asarray(value, _TYPES[inner])
      elif kind == 'list of text':
        result[key] = sources.text_array(value)
    return result

  def _kept(self, values: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if value is not None}
    flat = {**values, **self._defaults, **given}
    keys = self._keys or tuple(flat)
    for key in keys:
      if flat.get(key) is None:
        state = 'null' if key in flat else 'missing'
        raise ValueError(f'the key {key!r} is {state} (give it in defaults=, or choose by keys=)')
    if len(flat) > len(keys) and not self._chosen:
      added = next(key for key in flat if key not in keys)
      raise ValueError(f'the key {added!r} is not in the first line (choose by keys=)')
    return {key: flat[key] for key in keys}


def _merged(key: str, before: str, kind: str) -> str:
  """Returns the kind that holds both; ValueError where none does."""
  if before == kind or (kind == 'list' and before.startswith('list of ')):
    return before
  if before == 'list' and kind.startswith('list of '):  # An empty list says nothing of its values.
    return kind
  wide = kind.replace('integer', 'number')  # Some writers print 1.0 as 1.
  if before.replace('integer', 'number') == wide:
    return wide
  raise ValueError(f'the key {key!r} holds {kind}, in the lines before {before}')


def _kind(key: str, value: Any) -> str:
  """Returns what a value is, in words."""
  many = value if isinstance(value, list) else [value]
  types = {type(each) for each in many}
  bound = 2**63 if types == {int} else math.inf
  if types <= {int, float} and not all(-bound < each < bound for each in many):
    raise ValueError(f'the key {key!r} holds a number that is not finite, or beyond 64 bits')
  names = {int: 'integer', float: 'number', bool: 'true or false', str: 'text'}
  kinds = {names.get(each, 'other') for each in types}
  kinds -= {'integer'} if kinds == {'integer', 'number'} else set()
  kind = kinds.pop() if len(kinds) == 1 else 'other'
  return kind if many is not value else f'list of {kind}' if many else 'list'


def _object(raw: bytes) -> dict[str, Any]:
  """Returns the object of a line; ValueError where it holds none."""
  try:
    value = json.loads(raw.decode('utf-8-sig'))
  except UnicodeDecodeError as error:
    raise ValueError(f'is not UTF-8 at byte {error.start} of the line') from None
  except (ValueError, RecursionError) as error:
    raise ValueError(f'is no JSON ({error})') from None
  if not isinstance(value, dict) or not value:
    raise ValueError(f'holds no JSON object with keys, but {raw[:40].decode(errors="replace")!r}')
  return value


def _lines(stream: Any) -> Iterator[tuple[int, int, bytes]]:
  """Yields (line from 1, offset, content) of the lines that are not blank."""
  offset = 0
  for number, line in enumerate(stream, 1):
    if raw := line.rstrip():
      yield number, offset, raw
    offset += len(line)


def _decompressed(path: finding.File, stream: Any) -> bytes | None:
  """Returns the text of a compressed file, or None for a plain one."""
  head, parts = stream.read(4), []
  stream.seek(0)
  if head[:2] == b'\x1f\x8b':
    unpacked = gzip.GzipFile(fileobj=stream)
    pieces = iter(lambda: unpacked.read1(_CHUNK), b'')  # `read` would lose what is before a cut.
  elif head == b'\x28\xb5\x2f\xfd':
    pieces = _unzstd(path, stream)
  elif path.suffix in ('.gz', '.zst'):
    raise ValueError(f'{_PLACE}: {path} begins as no compressed file does: fetch or name it anew')
  else:
    return None
  try:
    parts.extend(pieces)
  except (EOFError, OSError, zlib.error) as error:
    lines = sum(part.count(b'\n') for part in parts)
    raise ValueError(
      f'{_PLACE}: {path} is cut or damaged after line {lines} ({error}): fetch it again'
    ) from None
  return b''.join(parts)


def _unzstd(path: finding.File, stream: Any) -> Iterator[bytes]:
  try:
    import zstandard
  except ImportError:
    raise ValueError(f'{_PLACE}: {path} needs `pip install zstandard` to be read') from None
  # Its stream reader takes a cut file for a whole one, so each frame is followed to its end here.
  decoder = None
  try:
    while chunk := stream.read(_CHUNK):
      while chunk:
        decoder = decoder or zstandard.ZstdDecompressor().decompressobj()
        yield decoder.decompress(chunk)
        chunk, decoder = (decoder.unused_data, None) if decoder.eof else (b'', decoder)
  except zstandard.ZstdError as error:
    raise OSError(str(error)) from None
  if decoder is not None:
    raise EOFError('the last frame has no end')
