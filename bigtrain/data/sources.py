"""Sources: random access to records, in memory or behind another source.

A source has `len(source)` and `source[i] -> dict`. It may have `source.__getitems__(indices)`,
which returns either one dict of stacked arrays (fast: one call a batch) or a list of records;
`column(key)`, which returns one key of all records where that reads none of them, and otherwise
raises KeyError (one that can also read calls the first `held_column`); and `about`, a dict of facts
worth recording with a run (name, version, digest, classes ...).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bigtrain.data import records

_AT_ONCE = 256  # Records read together.


@runtime_checkable
class Source(Protocol):
  """Random access to records."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: Any, /) -> Mapping[str, Any]: ...


class Arrays:
  """Columns in memory; record i is row i of each.

  The fastest source: a batch is one indexing per column, 2 microseconds for small records. With
  worker processes (`forever(..., workers=1)`) each worker holds a copy.
  """

  def __init__(self, columns: Mapping[str, Any], about: Mapping[str, Any] | None = None):
    """Keeps the columns, numbers narrowed to at most 32 bits.

    Args:
      columns: name to array [N, ...]; text as an array (or list) of str.
      about: facts worth recording with a run.

    Raises:
      ValueError: where there is no column, or columns differ in length.
    """
    if not columns:
      raise ValueError(
        'data.arrays: got no column: name at least one, as in arrays(image=..., label=...)'
      )
    self.columns = {key: _column(key, values) for key, values in columns.items()}
    self.about = dict(about or {})
    first, length = next((key, len(values)) for key, values in self.columns.items())
    for key, values in self.columns.items():
      if len(values) != length:
        raise ValueError(
          f'data.arrays: {key!r} has {len(values)} rows and {first!r} has {length}: give every '
          'column one row a record'
        )

  def __len__(self) -> int:
    return len(next(iter(self.columns.values())))

  def __getitem__(self, index: int) -> records.Record:
    return {key: values[index] for key, values in self.columns.items()}

  def __getitems__(self, indices: np.ndarray) -> records.Columns:
    return {key: values.take(indices, axis=0) for key, values in self.columns.items()}

  def column(self, key: str) -> np.ndarray:
    """Returns one key of all records, [N, ...]; KeyError where there is none."""
    return self.columns[key]

  def select(self, indices: np.ndarray) -> 'Arrays':
    """Returns a source of the records `indices` [M], in this order, in memory of its own."""
    return Arrays(self.__getitems__(np.asarray(indices)), self.about)


def arrays(**columns: Any) -> Arrays:
  """Returns a source over arrays in memory.

  Args:
    **columns: name to array [N, ...], such as `image` [N, H, W, C] and `label` [N].

  Raises:
    ValueError: where there is no column, or columns differ in length.
  """
  return Arrays(columns)


class Subset:
  """Some records of another source, read when asked for."""

  def __init__(self, source: Source, indices: np.ndarray, about: Mapping[str, Any] | None = None):
    """Keeps the numbers of the records; None takes what the source says of itself."""
    self.source = source
    self.indices = np.asarray(indices, np.int64)
    self.about = dict(getattr(source, 'about', {}) if about is None else about)

  def __len__(self) -> int:
    return len(self.indices)

  def __getitem__(self, index: int) -> records.Record:
    return self.source[int(self.indices[index])]

  def __getitems__(self, indices: np.ndarray) -> Any:
    return fetch(self.source, self.indices[indices])

  def column(self, key: str) -> np.ndarray:
    """Returns one key of these records alone, [N, ...]; ValueError where there is none."""
    return column(self, key)

  def held_column(self, key: str) -> np.ndarray:
    """Returns the same, or KeyError where that would read records."""
    return held_column(self.source, key)[self.indices]


class Decoded:
  """Another source's records, each passed through a function when asked for."""

  def __init__(
    self, source: Any, decode: Callable[[Any], records.Record], about: Mapping[str, Any]
  ):
    self.source = source
    self.decode = decode
    self.about = dict(about)

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> records.Record:
    return self.decode(self.source[index])

  def __getitems__(self, indices: np.ndarray) -> list[records.Record]:
    return [self.decode(record) for record in fetch(self.source, indices.tolist())]


def select(source: Source, indices: np.ndarray) -> Any:
  """Returns a source of the records `indices` [M] of `source`, in this order."""
  if isinstance(source, Arrays):
    return source.select(indices)
  if isinstance(source, Subset):
    return Subset(source.source, source.indices[indices], source.about)
  return Subset(source, indices)


def with_report(source: Any, name: str, report: Mapping[str, Any]) -> Any:
  """Returns what `select` or `Arrays` has just made, with a report in its `about`."""
  source.about = {**source.about, name: report}
  return source


def fetch(source: Any, indices: Any) -> Any:
  """Returns the records `indices` [M]: a dict of stacked arrays, or a list of M records."""
  many = getattr(source, '__getitems__', None)
  if many is not None:
    return many(indices)
  return [source[int(index)] for index in indices]


def column(source: Source, key: str) -> np.ndarray:
  """Returns one key of all records, [N, ...].

  Reads every record where the source has no `column` of its own.

  Raises:
    ValueError: where record 0 lacks the key.
  """
  if len(source) == 0:
    raise ValueError('data: the source holds no record: check its path or filter')
  try:
    return held_column(source, key)
  except KeyError:
    first = source[0]
  if key not in first:
    raise ValueError(
      f'data: the records have no key {key!r}: use one of {", ".join(sorted(first))}'
    )
  like = {key: records.as_array(first[key])}
  columns = []
  for start in range(0, len(source), _AT_ONCE):  # Of each record no more than the key is kept.
    indices = np.arange(start, min(start + _AT_ONCE, len(source)))
    got = fetch(source, indices)
    if not isinstance(got, Mapping):
      got = records.stack([_only(record, key) for record in got], indices, like)
    columns.append(got[key])
  return np.concatenate(columns)


def held_column(source: Any, key: str) -> np.ndarray:
  """Returns one key of all records, which may be no part of a record, as the path of an image is;
  KeyError where that would read records."""
  own = getattr(source, 'held_column', None) or getattr(source, 'column', None)
  if own is None:
    raise KeyError(key)
  return own(key)


def _only(record: records.Record, key: str) -> records.Record:
  return {key: record[key]} if key in record else {}


def in_memory(source: Source) -> Arrays:
  """Reads a source whole, so that every later epoch runs at the speed of arrays.

  Raises:
    ValueError: where records differ in keys, shapes or types.
  """
  first = source[0]
  columns = stacked(
    source, np.arange(len(source)), {k: records.as_array(v) for k, v in first.items()}
  )
  return Arrays(columns, getattr(source, 'about', None))


def stacked(source: Source, indices: np.ndarray, like: records.Record) -> records.Columns:
  """Returns the records `indices` [M] as columns [M, ...], each checked against `like` (record
  0)."""
  got = fetch(source, indices)
  return dict(got) if isinstance(got, Mapping) else records.stack(got, indices, like)


def text_array(texts: Sequence[str | bytes]) -> np.ndarray:
  """Returns texts as objects [N]; NumPy's own type would give each the space of the longest."""
  array = np.empty(len(texts), object)
  array[:] = texts
  return array


def _column(key: str, values: Any) -> np.ndarray:
  if isinstance(values, list | tuple) and values and isinstance(values[0], str | bytes):
    return text_array(values)
  values = np.asarray(values)
  if values.ndim == 0:
    raise ValueError(f'data.arrays: {key!r} is a single value: give an array with one row a record')
  if values.dtype.kind in 'US':
    return values.astype(object)
  try:
    return records.narrow(key, values)
  except ValueError:
    return values  # Wide integers may name records, such as users; only a batch refuses them.
