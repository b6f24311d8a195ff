"""Cleaning as an Apache Beam pipeline: the same steps, records and ledger, over many machines.

Records travel as bytes. A worker holds a chunk of records, the records of a shard while it is
written, and some bytes for each chunk of the whole source. Near copies are told apart only with all
records at hand, so they are removed on one machine (`drop_duplicates`); exact copies go here.
"""

import bisect
import functools
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from bigtrain.data import cleaning, exact_copies, record_bytes, records, sources
from bigtrain.data.ledgers import Ledger
from bigtrain.data.shards import as_json, made_manifest, shard_edges, shard_name, write_shard

_PLACE = 'data.clean_with_beam'
_CHUNK = 256  # Records that are read and cleaned together.
_EXAMPLES, _SHOWN = 5, 80  # Of copies, as `drop_duplicates` reports them.

Place = tuple[int, int]  # First record of a chunk, and number among those that its cleaning left.


class _Copies(NamedTuple):
  """Exact copies: the first one and its bytes, how many, and what to show of the first few."""

  place: Place
  raw: bytes
  count: int
  shown: list[tuple[Place, str | None]]


class _Part(NamedTuple):
  """What cleaning left of a chunk: (digest, copies of one) of each record, and what it found."""

  start: int
  left: list[tuple[bytes, _Copies]]
  schema: record_bytes.Schema
  ledger: Ledger


def clean_with_beam(
  source: sources.Source,
  folder: str | os.PathLike[str],
  *steps: cleaning.Step,
  unreadable: Literal['error', 'drop'] = 'error',
  copies: Literal['keep', 'drop'] = 'keep',
  key: str | None = None,
  shards: int = 1,
  name: str = 'records',
  licence: str | None = None,
  options: Any = None,
) -> dict[str, Any]:
  """Cleans a source and writes it as shards for `read_records`, by Apache Beam.

  The shards hold the same bytes, and ledger and report are equal, as if written by

      cleaned = data.clean(source, *steps, unreadable=unreadable)
      left = data.drop_duplicates(cleaned, near=False, key=key)  # With copies='drop'.
      data.write_records(left, folder, shards=shards, ledger=cleaned.ledger.to_dict())

  Workers read the source by number: what it reads must be there for all of them. The manifest comes
  last; what a pipeline that failed leaves is no set, and may be removed.

  Args:
    source: random access to records; it is sent to the workers.
    folder: what is to be made, at any path that Beam's file systems know (gs://, hdfs:// ...).
    *steps: as for `clean`.
    unreadable: as for `clean`.
    copies: 'drop' leaves the first of each group of them.
    key: what is compared; None takes 'text' or 'image' where there is one, else the whole record.
    shards: files, with records in equal shares.
    name: how the files begin.
    licence: under which the records may be used.
    options: Beam's `PipelineOptions`, which choose the runner (Dataflow, Flink, Spark ...); None
      runs here.

  Returns:
    The manifest.

  Raises:
    ImportError: where Beam is not installed.
    ValueError: as `clean` and `write_records`; a runner may wrap it in an error of its own.
  """
  try:
    import apache_beam as beam  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise ImportError(f'{_PLACE}: needs Beam: `pip install apache-beam`') from None
  from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]

  for which, value, known in (
    ('unreadable', unreadable, ('error', 'drop')),
    ('copies', copies, ('keep', 'drop')),
  ):
    if value not in known:
      raise ValueError(f'{_PLACE}: {which} must be {" or ".join(known)}, got {value!r}')
  if not len(source):
    raise ValueError(f'{_PLACE}: the source holds no record: check its path or filter')
  shard_edges(_PLACE, len(source), shards, name)
  folder = os.fspath(folder)
  if FileSystems.match([FileSystems.join(folder, '*')])[0].metadata_list:
    raise ValueError(f'{_PLACE}: {folder} holds something already: choose another, or remove it')
  drop = unreadable == 'drop'
  clean = functools.partial(_clean, source, cleaning.named_steps(steps, drop), drop, key, _CHUNK)
  write = functools.partial(_write, folder, name, shards)
  finish = functools.partial(_finish, folder, name, licence, source)
  with beam.Pipeline(options=options) as pipeline:
    parts = (
      pipeline
      | 'Chunks' >> beam.Create(range(0, len(source), _CHUNK))
      | 'Spread' >> beam.Reshuffle()
      | 'Clean' >> beam.Map(clean)
    )
    facts = parts | 'Found' >> beam.Map(_found) | 'All found' >> beam.CombineGlobally(_joined)
    left = parts | 'Left' >> beam.FlatMap(lambda part: part.left)
    pairs = pipeline | 'No copies' >> beam.Create([None])
    if copies == 'drop':
      left = left | 'Copies' >> beam.CombinePerKey(_merged)
      pairs = left | 'Pairs' >> beam.Map(_pairs) | 'All pairs' >> beam.CombineGlobally(_added)
    chunks = left | 'Chunk of' >> beam.Map(_by_chunk) | 'By chunk' >> beam.GroupByKey()
    first = (
      chunks
      | 'Sizes' >> beam.MapTuple(lambda start, own: [(start, sum(1 for _ in own))])
      | 'All sizes' >> beam.CombineGlobally(_joined)
      | 'Ranks' >> beam.Map(functools.partial(_ranks, shards, name))
    )
    written = (
      chunks
      | 'Shard of' >> beam.FlatMap(_by_shard, beam.pvalue.AsSingleton(first))
      | 'By shard' >> beam.GroupByKey()
      | 'Write' >> beam.MapTuple(write)
    )
    views = beam.pvalue.AsList(written), *map(beam.pvalue.AsSingleton, (facts, pairs))
    one = pipeline | 'Once' >> beam.Create([key])
    _ = one | 'Manifest' >> beam.Map(finish, *views)
  with FileSystems.open(FileSystems.join(folder, 'manifest.json')) as stream:
    return json.loads(stream.read().decode('utf-8'))


def _clean(
  source: sources.Source,
  steps: dict[str, cleaning.Step],
  drop: bool,
  key: str | None,
  count: int,
  start: int,
) -> _Part:
  """Reads and cleans the chunk that begins with record `start`."""
  numbers = range(start, min(start + count, len(source)))
  chunk = [cleaning.read(source, number, drop) for number in numbers]
  stay, ledger = cleaning.clean_chunk(steps, start, chunk)
  left, schema = [], {}
  for within, (number, after) in enumerate(stay.items()):
    record: Any = chunk[number - start] if after is None else after
    if isinstance(source, sources.Arrays):  # Those narrow what they hold.
      record = {each: records.narrow(each, records.as_array(v)) for each, v in record.items()}
    raw = record_bytes.encoded(number, record, schema)
    value = exact_copies.compared(_PLACE, record, key)
    shown = value[:_SHOWN] if isinstance(value, str) else None
    place = (start, within)
    own = _Copies(place, raw, 1, [(place, shown)])
    left.append((exact_copies.content_digest(value), own))
  return _Part(start, left, schema, ledger)


def _found(part: _Part) -> list[tuple[int, int, record_bytes.Schema, Ledger]]:
  return [(part.start, len(part.left), part.schema, part.ledger)]


def _joined(lists: Iterable[list]) -> list:
  return [each for own in lists for each in own]


def _merged(copies: Iterable[_Copies]) -> _Copies:
  """Joins groups of copies of each other."""
  own = list(copies)
  first = min(own, key=lambda each: each.place)
  shown = sorted(_joined(each.shown for each in own))[: _EXAMPLES + 1]
  return _Copies(first.place, first.raw, sum(each.count for each in own), shown)


def _pairs(left: tuple[bytes, _Copies]) -> tuple[int, int, list]:
  """Returns (groups, records that repeat an earlier one, (copy, first) of a few)."""
  own = left[1]
  return int(own.count > 1), own.count - 1, [(each, own.shown[0]) for each in own.shown[1:]]


def _added(pairs: Iterable[tuple[int, int, list]]) -> tuple[int, int, list]:
  groups, repeats, shown = 0, 0, []
  for one, many, own in pairs:
    groups, repeats, shown = groups + one, repeats + many, sorted(shown + own)[:_EXAMPLES]
  return groups, repeats, shown


def _by_chunk(left: tuple[bytes, _Copies]) -> tuple[int, tuple[int, bytes]]:
  (start, within), raw, *_ = left[1]
  return start, (within, raw)


def _ranks(shards: int, name: str, sizes: list[tuple[int, int]]) -> tuple[dict[int, int], list]:
  """Returns the rank of each chunk's first record among all that are left, and the shards' edges;
  ValueError where too few are left."""
  first, total = _first(sizes)
  if not total:
    raise ValueError(f'{_PLACE}: all records are dropped: relax the steps')
  return first, shard_edges(_PLACE, total, shards, name)


def _first(sizes: Iterable[tuple[int, int]]) -> tuple[dict[int, int], int]:
  first, total = {}, 0
  for start, count in sorted(sizes):
    first[start] = total
    total += count
  return first, total


def _by_shard(
  chunk: tuple[int, Iterable[tuple[int, bytes]]], edges: tuple[dict[int, int], list]
) -> Iterator[tuple[int, tuple[int, bytes]]]:
  """Yields (shard, (rank, bytes)) of what is left of a chunk."""
  (start, own), (first, borders) = chunk, edges
  for rank, (_, raw) in enumerate(sorted(own), first[start]):
    yield bisect.bisect_right(borders, rank) - 1, (rank, raw)


def _write(
  folder: str, name: str, shards: int, shard: int, own: Iterable[tuple[int, bytes]]
) -> dict[str, Any]:
  """Writes a shard, and returns what the manifest says of it."""
  from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]

  with tempfile.TemporaryDirectory() as aside:  # ArrayRecord writes to this machine only.
    path = pathlib.Path(aside) / shard_name(name, shard, shards)
    facts = write_shard(path, (raw for _, raw in sorted(own)))
    target = FileSystems.join(folder, path.name)
    with open(path, 'rb') as stream, FileSystems.create(target) as sink:
      shutil.copyfileobj(stream, sink)
  return facts


def _finish(
  folder: str,
  name: str,
  licence: str | None,
  source: sources.Source,
  key: str | None,
  written: Sequence[dict[str, Any]],
  found: Sequence[tuple[int, int, record_bytes.Schema, Ledger]],
  pairs: tuple[int, int, list] | None,
) -> None:
  """Writes the manifest."""
  from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]

  schema, ledger = {}, Ledger()
  for start, _, own, part in sorted(found, key=lambda each: each[0]):
    record_bytes.take_in(start, own, schema) if own else None
    ledger.update(part)
  about = cleaning.about_cleaned(source, ledger)
  if pairs is not None:
    about['duplicates'] = _report(pairs, _first(each[:2] for each in found), key, schema)
  facts = sorted(written, key=lambda each: each['file'])
  manifest = made_manifest(name, licence, schema, about, ledger.to_dict(), facts)
  with FileSystems.create(FileSystems.join(folder, 'manifest.json')) as stream:
    stream.write(as_json(manifest).encode('utf-8'))


def _report(
  pairs: tuple[int, int, list],
  ranks: tuple[dict[int, int], int],
  key: str | None,
  keys: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns what `drop_duplicates` reports; records count among what cleaning left."""
  (groups, repeats, shown), (first, total) = pairs, ranks
  examples = []
  for ((start, within), text), ((start_of, within_of), text_of) in shown:
    example = {'record': first[start] + within, 'of': first[start_of] + within_of}
    texts = {} if text is None else {'texts': [text, text_of]}
    examples.append({**example, **texts, 'similarity': 1.0})
  return {
    'records': total, 'groups': groups, 'exact': repeats, 'near': 0, 'kept': total - repeats,
    'key': exact_copies.compared_key(_PLACE, keys, key), 'threshold': None, 'examples': examples,
  }  # fmt: skip
