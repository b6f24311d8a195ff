"""Records as bytes, and the schema that they share.

A record is: the length of the header as four bytes (little-endian); the header, a JSON list of
[key, kind, shape, sizes], one entry a value; the values' bytes, one after the other. The kind is
NumPy's name of a type of numbers, little-endian and in C order, with no sizes; or 'text' (UTF-8) or
'bytes', where sizes has the bytes of each element. Reading runs nothing that a record says.
"""

import functools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigtrain.data import records, sources

Schema = dict[str, dict[str, Any]]  # Key to its 'kind' and 'shape'.

_NUMBERS = frozenset(
  {'bool', 'float16', 'float32', 'float64', 'complex64', 'complex128'}
  | {f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)}
)


def encoded(index: int, record: records.Record, schema: Schema) -> bytes:
  """Returns record `index` as bytes, and takes its shapes into the schema.

  Raises:
    ValueError: for a value that is no array of numbers or texts, or that does not fit the schema.
  """
  header, parts, own = [], [], {}
  for key, value in record.items():
    try:
      kind, shape, sizes, cells = _value(value)
    except ValueError as error:
      raise _wrong(index, key, error) from None
    own[key] = {'kind': kind, 'shape': shape}
    header.append([key, kind, shape, sizes])
    parts += cells
  take_in(index, own, schema)
  head = json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode()
  return b''.join([len(head).to_bytes(4, 'little'), head, *parts])


def take_in(index: int, own: Mapping[str, Mapping[str, Any]], schema: Schema) -> None:
  """Takes the schema of record `index`, or of several from there on, into that of those before."""
  if schema and (odd := sorted(own.keys() ^ schema.keys())):
    verb = 'lacks' if odd[0] in schema else 'adds'
    raise ValueError(
      f'data.write_records: record {index} {verb} the key {odd[0]!r}: give every record the same '
      'keys'
    )
  for key, entry in own.items():
    kind, shape = entry['kind'], entry['shape']
    before = schema.setdefault(key, {'kind': kind, 'shape': shape})
    if before['kind'] != kind or len(before['shape']) != len(shape):
      words = f'{kind}{shape}, in the records before {before["kind"]}{before["shape"]}'
      raise _wrong(index, key, words)
    # None marks an axis whose length differs between records.
    both = zip(before['shape'], shape, strict=True)
    schema[key] = {'kind': kind, 'shape': [old if old == new else None for old, new in both]}


def _wrong(index: int, key: str, words: object) -> ValueError:
  return ValueError(
    f'data.write_records: record {index} has in {key!r} {words}: convert or drop it'
  )


def _value(value: Any) -> tuple[str, list[int], list[int], list[bytes]]:
  """Returns (kind, shape, sizes of the elements where they differ, bytes)."""
  array = records.as_array(value)
  kind, shape = array.dtype.name, list(array.shape)
  if kind in _NUMBERS:
    return kind, shape, [], [array.astype(array.dtype.newbyteorder('<'), copy=False).tobytes()]
  cells = array.astype(object).ravel().tolist()
  kind, own = ('bytes', bytes) if cells and isinstance(cells[0], bytes) else ('text', str)
  if not all(isinstance(cell, own) for cell in cells):
    raise ValueError(f'{array.dtype}, neither numbers of a fixed size nor texts')
  cells = [cell.encode() for cell in cells] if kind == 'text' else cells
  return kind, shape, [len(cell) for cell in cells], cells


def decoded(raw: bytes) -> records.Record:
  """Returns the record that `encoded` made bytes; ValueError where they are damaged."""
  try:
    return _decoded(raw)
  except (TypeError, IndexError, OverflowError, RecursionError) as error:
    raise ValueError(f'the header of a record makes no sense ({error})') from None


def _decoded(raw: bytes) -> records.Record:
  place = 4 + int.from_bytes(raw[:4], 'little')
  record = {}
  for key, kind, shape, sizes in _header(raw[4:place]):
    if kind in _NUMBERS:
      dtype, count = np.dtype(kind).newbyteorder('<'), math.prod(shape)
      # A copy: it lies at a whole address, and can be written to.
      record[key] = np.frombuffer(raw, dtype, count, place).reshape(shape).copy()[()]
      place += count * dtype.itemsize
      continue
    cells = []
    for size in sizes:
      cell, place = raw[place : place + size], place + size
      cells.append(cell if kind == 'bytes' else cell.decode())
    record[key] = sources.text_array(cells).reshape(shape) if shape else cells[0]
  if place != len(raw):
    raise ValueError('a record is longer or shorter than its header says')
  return record


@functools.lru_cache(4096)
def _header(raw: bytes) -> list:
  return json.loads(raw)  # Records of equal shapes share it.
