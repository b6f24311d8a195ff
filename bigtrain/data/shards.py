"""Records of any source, written once as ArrayRecord shards with a manifest, and read at random.

A set is a folder: NAME-00000-of-00004.array_record ... and manifest.json, with records, bytes and
SHA-256 of each shard, the schema, the licence, where the records came from and what was done to
them. The folder gets its name when all is on the disk, so a set is whole or not there.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from bigtrain.data import finding, places, record_bytes, records, sources

_FORMAT = 'bigtrain-records-1'
_FACTS = ('file', 'records', 'bytes', 'sha256')  # Of each shard, in the manifest.
_FEW = 32  # Records that are read one by one.
_AT_ONCE = 256  # Records fetched together while writing.


@dataclasses.dataclass(eq=False)
class Shards:
  """The records of a set of shards, read when asked for; made by `read_records`."""

  files: list[pathlib.Path]
  ends: np.ndarray  # Of each shard, the number of the record after its last.
  source: Any
  about: dict[str, Any]

  def __len__(self) -> int:
    return int(self.ends[-1])

  def __getitem__(self, index: int) -> records.Record:
    return self.__getitems__(np.array([range(len(self))[index]]))[0]

  def __getitems__(self, indices: np.ndarray) -> list[records.Record]:
    wanted = np.asarray(indices).tolist()
    try:
      return [record_bytes.decoded(raw) for raw in sources.fetch(self.source, wanted)]
    except (RuntimeError, ValueError) as error:
      line = str(error).strip().split('\n')[0][:200]
      shards = np.unique(np.searchsorted(self.ends, wanted, side='right'))
      raise ValueError(
        f'data.read_records: cannot read a record of {self.files[shards[0]]} or {len(shards) - 1} '
        f'further shards ({line}): find the damaged one by verify=True, and copy or write it again'
      ) from None


def write_records(
  source: sources.Source,
  folder: str | os.PathLike[str],
  *,
  shards: int = 1,
  name: str = 'records',
  licence: str | None = None,
  ledger: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Writes a source as ArrayRecord shards, for `read_records`, and returns the manifest.

  The same records give the same bytes. A process that is killed leaves a folder beside, whose name
  ends in .part, and no set.

  Args:
    source: random access to records of one schema: numbers of any type and shape, texts, bytes,
      and arrays of texts or bytes. Lengths of axes may differ between records.
    folder: what is to be made, on this machine.
    shards: files, with records in equal shares; a few hundred megabytes each read well.
    name: how the files begin.
    licence: under which the records may be used.
    ledger: what was done to the records, such as counts of what cleaning left out; any dict.

  Raises:
    ValueError: where the folder holds something, for an empty source or more shards than records,
      and naming record and key for a value that is no array of numbers or texts, or is of another
      type or number of axes than in record 0.
  """
  if '://' in os.fspath(folder):
    raise ValueError(
      f'data.write_records: ArrayRecord is written on this machine, got {folder}: copy the folder '
      'there afterwards'
    )
  target = pathlib.Path(folder).expanduser()
  if target.exists() and (not target.is_dir() or any(target.iterdir())):
    raise ValueError(f'data.write_records: {target} is there already: choose another, or remove it')
  if not len(source):
    raise ValueError('data.write_records: the source holds no record: check its path or filter')
  edges = shard_edges('data.write_records', len(source), shards, name)
  part = target.with_name(f'{target.name}.{os.getpid()}.part')
  schema, written = {}, []
  part.mkdir(parents=True)
  try:
    for shard, (start, stop) in enumerate(itertools.pairwise(edges)):
      raws = (
        record_bytes.encoded(index, record, schema)
        for index, record in _records(source, start, stop)
      )
      written.append(write_shard(part / shard_name(name, shard, shards), raws))
    manifest = made_manifest(
      name, licence, schema, getattr(source, 'about', {}), ledger or {}, written
    )
    (part / 'manifest.json').write_text(as_json(manifest), encoding='utf-8')
    for file in part.iterdir():  # A crash of the machine must not leave a name without content.
      with open(file, 'rb') as stream:
        os.fsync(stream.fileno())
    part.rename(target)  # Replaces an empty folder, and fails where another process was quicker.
  finally:
    shutil.rmtree(part, ignore_errors=True)
  return manifest


def shard_edges(place: str, count: int, shards: int, name: str) -> list[int]:
  """Returns the first record of each shard, and the end; ValueError for odd shards or names."""
  if not 1 <= shards <= count:
    raise ValueError(f'{place}: shards must lie in [1, {count} records], got {shards}')
  if not name or name != os.path.basename(name) or name.startswith('.'):
    raise ValueError(f'{place}: name must be a plain file name, got {name!r}')
  return (np.arange(shards + 1) * count // shards).tolist()


def shard_name(name: str, shard: int, shards: int) -> str:
  """Returns the name of a shard's file."""
  return f'{name}-{shard:05d}-of-{shards:05d}.array_record'


def write_shard(path: pathlib.Path, raws: Iterable[bytes]) -> dict[str, Any]:
  """Writes records as one file, and returns what the manifest says of it."""
  from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

  count = 0
  # Only groups of one can be read at random without unpacking their neighbours.
  writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
  try:
    for raw in raws:
      writer.write(raw)
      count += 1
  finally:
    writer.close()
  return dict(zip(_FACTS, (path.name, count, path.stat().st_size, _sha(path)), strict=True))


def made_manifest(
  name: str,
  licence: str | None,
  schema: record_bytes.Schema,
  about: Mapping[str, Any],
  ledger: Mapping[str, Any],
  written: list[dict[str, Any]],
) -> dict[str, Any]:
  """Returns what a set says of itself; `written` is of each shard, in order."""
  return {
    'format': _FORMAT,
    'name': name,
    'records': sum(own['records'] for own in written),
    'licence': licence,
    'schema': schema,
    'source': _plain(about),
    'ledger': _plain(ledger),
    'libraries': {each: metadata.version(each) for each in ('array_record', 'numpy')},
    'shards': written,
  }


def as_json(manifest: Mapping[str, Any]) -> str:
  """Returns the text of manifest.json."""
  return json.dumps(manifest, indent=2, ensure_ascii=False) + '\n'


def read_records(folder: str | os.PathLike[str], *, verify: bool = False) -> Shards:
  """Returns the records that `write_records` wrote, read when asked for.

  Args:
    folder: the set; a remote one is first copied here, which reading at random needs.
    verify: compare the SHA-256 of every shard, which reads all of it.

  Returns:
    A source; to the written source's `about` it adds licence, ledger, schema, records and digest.

  Raises:
    FileNotFoundError: where the folder has no manifest, or a shard is missing.
    ValueError: naming the file, for a manifest that is damaged or does not fit its shards.
  """
  root = pathlib.Path(folder).expanduser()
  if '://' in os.fspath(folder):
    copies = {copy.name: copy for copy in finding.brought_here('data.read_records', folder)}
    root = copies.get('manifest.json', root).parent
  path = root / 'manifest.json'
  if not path.is_file():
    raise FileNotFoundError(f'data.read_records: no {path}: write the set by data.write_records')
  try:
    manifest = json.loads(path.read_text(encoding='utf-8'))
    if manifest['format'] != _FORMAT:
      raise ValueError(f'its format is {manifest["format"]!r}, not {_FORMAT!r}')
    shards = [[own[key] for key in _FACTS] for own in manifest['shards']]
    # Whatever the manifest says, a file is looked for in the folder only.
    files = [root / os.path.basename(own[0]) for own in shards]
    ends = np.cumsum([own[1] for own in shards])
    if ends[-1] != manifest['records']:
      raise ValueError(f'its shards add up to {ends[-1]} records, not {manifest["records"]}')
    about = {key: manifest[key] for key in ('name', 'licence', 'ledger', 'schema', 'records')}
    about = {**manifest['source'], **about, 'digest': places.digest(own[3] for own in shards)}
  except (ValueError, KeyError, TypeError, IndexError) as error:
    line = f'it lacks {error}' if isinstance(error, KeyError) else error
    raise ValueError(f'data.read_records: cannot read {path} ({line}): copy it again') from None
  for file, (_, count, size, sha) in zip(files, shards, strict=True):
    _check(file, count, size, sha if verify else None)
  about = {key: tuple(own) if isinstance(own, list) else own for key, own in about.items()}
  return Shards(files, ends, RawRecords(files), about)


def _check(file: pathlib.Path, count: int, size: int, sha: str | None) -> None:
  """Refuses a shard that is not what the manifest says."""
  if not file.is_file():
    raise FileNotFoundError(f'data.read_records: the shard {file} is missing: copy it again')
  if (have := file.stat().st_size) != size:
    wrong = f'has {have} bytes, {size} in the manifest'
  elif sha is not None and _sha(file) != sha:
    wrong = 'has another SHA-256 than in the manifest'
  else:
    try:
      have = len(RawRecords([file]))
    except RuntimeError:  # Its end is damaged, where the count stands.
      have = 'no'
    if have == count:
      return
    wrong = f'holds {have} records, {count} in the manifest'
  raise ValueError(f'data.read_records: the shard {file} {wrong}: copy or write it again')


class RawRecords:
  """The bytes of the records of ArrayRecord files on this machine."""

  def __init__(self, files: Sequence[str | os.PathLike[str]]):
    from array_record.python import array_record_data_source

    self._source: Any = array_record_data_source.ArrayRecordDataSource(list(map(str, files)))

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> bytes:
    return self._source[index]

  def __getitems__(self, indices: Sequence[int]) -> Sequence[bytes]:
    # The library's reading of many starts threads at each call, which takes as long as 25 records;
    # a mixture of many sources asks each for one or two.
    few = len(indices) <= _FEW
    return [self._source[i] for i in indices] if few else self._source.__getitems__(indices)


def _records(source: sources.Source, start: int, stop: int) -> Iterator[tuple[int, records.Record]]:
  for begin in range(start, stop, _AT_ONCE):
    indices = np.arange(begin, min(begin + _AT_ONCE, stop))
    got = sources.fetch(source, indices)
    for row, index in enumerate(indices.tolist()):
      columns = isinstance(got, Mapping)
      yield index, {key: values[row] for key, values in got.items()} if columns else got[row]


def _sha(path: pathlib.Path) -> str:
  with open(path, 'rb') as stream:
    return hashlib.file_digest(stream, 'sha256').hexdigest()


def _plain(value: Any) -> Any:
  """Returns a value as JSON can hold it; what it cannot becomes a text."""
  if isinstance(value, Mapping):
    return {str(key): _plain(inner) for key, inner in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(inner) for inner in value]
  if isinstance(value, np.ndarray | np.generic):
    return _plain(value.tolist())
  whole = value is None or isinstance(value, str | int)
  return value if whole or (isinstance(value, float) and math.isfinite(value)) else str(value)
