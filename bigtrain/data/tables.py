"""Tables: CSV and Parquet, read by Arrow and kept in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigtrain.data import sources
from bigtrain.data.finding import File, Paths, find

_PACKED = {'.gz': 'gzip', '.zst': 'zstd'}


def csv(
  paths: Paths,
  *,
  label: str | None = None,
  text: str | None = None,
  columns: Sequence[str] | None = None,
  missing: float | None = None,
  delimiter: str = ',',
) -> sources.Arrays:
  """Returns the rows of CSV files with a header line, also with .gz or .zst; see `parquet` for
  arguments, records and errors.

  `delimiter` stands between values, one character.
  """
  import pyarrow
  from pyarrow import csv as reader

  options = reader.ParseOptions(delimiter=delimiter, newlines_in_values=True)

  def read(file: File, stream: Any) -> Any:
    unpacked = pyarrow.input_stream(stream, compression=_PACKED.get(file.suffix))
    return reader.read_csv(unpacked, parse_options=options)

  files = find('data.csv', paths, [f'.csv{packed}' for packed in ('', *_PACKED)])
  return _source('data.csv', _read('data.csv', files, read, pyarrow), label, text, columns, missing)


def parquet(
  paths: Paths,
  *,
  label: str | None = None,
  text: str | None = None,
  columns: Sequence[str] | None = None,
  missing: float | None = None,
) -> sources.Arrays:
  """Returns the rows of Parquet files as records.

  Args:
    paths: a file, a folder, a glob, or a list of these, here or remote; all of one schema.
    label: the column to predict. Whole numbers stay as they are, other numbers become float32
      (regression), and texts are numbered in sorted order, which `about['classes']` records.
    text: the column that holds a text.
    columns: the columns that become features; None takes all others.
    missing: what stands for a missing number; None refuses one.

  Returns:
    A source with, as far as there are such columns: 'features' float32 [numbers], the numeric
    columns in order (`about['features']` names them); 'categories' int32 [texts], the text columns
    numbered in sorted order with the missing ones as the empty text (`about['categories']` maps
    each name to its values); 'label'; 'text'.

  Raises:
    FileNotFoundError: where a path matches no file.
    ValueError: for an unreadable file, an unknown column, a missing number, or a column that is
      neither numbers nor text.
  """
  import pyarrow
  from pyarrow import parquet as reader

  files = find('data.parquet', paths, ['.parquet'])
  return _source(
    'data.parquet',
    _read('data.parquet', files, lambda _, stream: reader.read_table(stream), pyarrow),
    label,
    text,
    columns,
    missing,
  )


def _read(place: str, files: list[File], read: Any, pyarrow: Any) -> Any:
  tables = []
  for path in files:
    try:
      with path.open() as stream:
        tables.append(read(path, stream))
    except (pyarrow.ArrowException, OSError) as error:
      line = str(error).strip().split('\n')[0][:200]
      raise ValueError(f'{place}: cannot read {path} ({line}): repair or drop it') from None
    if tables[-1].column_names != tables[0].column_names:
      raise ValueError(
        f'{place}: {path} has other columns than {files[0]}: read files of one schema'
      )
  try:
    # Files may disagree on whether a column is whole numbers: the wider type holds both.
    return pyarrow.concat_tables(tables, promote_options='permissive')
  except pyarrow.ArrowException as error:
    raise ValueError(
      f'{place}: the files differ in types ({error}): read files of one schema'
    ) from None


def _source(
  place: str,
  table: Any,
  label: str | None,
  text: str | None,
  columns: Sequence[str] | None,
  missing: float | None,
) -> sources.Arrays:
  names = table.column_names
  special = [name for name in (label, text) if name is not None]
  for name in (*special, *(columns or ())):
    if name not in names:
      raise ValueError(f'{place}: no column {name!r}: use one of {", ".join(names)}')
  if not len(table):
    raise ValueError(f'{place}: the table has no row: check the path')
  numbers, categories, about = {}, {}, {'name': place.removeprefix('data.'), 'rows': len(table)}
  for name in names if columns is None else columns:
    if name in special:
      continue
    values = _values(place, name, table, missing)
    if values.dtype == object:
      kinds, codes = np.unique(values, return_inverse=True)
      categories[name] = codes.astype(np.int32)
      about.setdefault('categories', {})[name] = tuple(kinds)
    else:
      numbers[name] = values.astype(np.float32)
  result: dict[str, np.ndarray] = {}
  if numbers:
    result['features'] = np.stack(list(numbers.values()), axis=1)
    about['features'] = tuple(numbers)
  if categories:
    result['categories'] = np.stack(list(categories.values()), axis=1)
  if label is not None:
    values = _values(place, label, table, None)
    if values.dtype == object:
      kinds, values = np.unique(values, return_inverse=True)
      about['classes'] = tuple(kinds)
    result['label'] = values.astype(np.float32 if values.dtype.kind == 'f' else np.int32)
  if text is not None:
    values = _values(place, text, table, None)
    if values.dtype != object:
      raise ValueError(
        f'{place}: column {text!r} holds {values.dtype}, not text: name the column of texts'
      )
    result['text'] = values
  return sources.Arrays(result, about)


def _values(place: str, name: str, table: Any, missing: float | None) -> np.ndarray:
  """Returns a column as numbers [N], or as str objects [N]."""
  import pyarrow.types as types

  column = table.column(name)
  kind = column.type.value_type if types.is_dictionary(column.type) else column.type
  if types.is_null(kind):  # Neither numbers nor texts, and of no use as either.
    raise ValueError(
      f'{place}: column {name!r} holds no value in any row: leave it out by columns=[...]'
    )
  if types.is_string(kind) or types.is_large_string(kind):
    return sources.text_array(['' if value is None else value for value in column.to_pylist()])
  if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
    raise ValueError(
      f'{place}: column {name!r} holds {kind}, neither numbers nor text: convert it, or leave it '
      'out by columns=[...]'
    )
  values = column.to_numpy()
  if column.null_count or (values.dtype.kind == 'f' and np.isnan(values).any()):
    values = np.array(
      [np.nan if value is None else value for value in column.to_pylist()], np.float64
    )
    gaps = np.isnan(values)
    if missing is None:
      raise ValueError(
        f'{place}: column {name!r} lacks a number in {gaps.sum()} of {len(values)} rows, first in '
        f'row {gaps.argmax()}: '
        'fill them by missing=0.0, or drop the rows'
      )
    values[gaps] = missing
  return values
