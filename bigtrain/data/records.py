"""Records become batches: stacking, and the checks that make a bad record a sentence instead of a
crash later.

Convention: numbers on their way to a device are at most 32 bits wide, as JAX keeps them by default.
64-bit integers are narrowed only where every value fits, so that no label or token silently wraps
around.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Record = Mapping[str, Any]
Columns = dict[str, np.ndarray]

_NARROW = {
  np.dtype(np.int64): np.dtype(np.int32),
  np.dtype(np.uint64): np.dtype(np.uint32),
  np.dtype(np.float64): np.dtype(np.float32),
  np.dtype(np.complex128): np.dtype(np.complex64),
}


def narrow(key: str, values: np.ndarray) -> np.ndarray:
  """Returns `values` with numbers of at most 32 bits.

  Args:
    key: the name of the values, for the message.
    values: any shape.

  Raises:
    ValueError: where an integer does not fit.
  """
  target = _NARROW.get(values.dtype)
  if target is None:
    return values
  if values.dtype.kind in 'iu' and values.size:
    limits = np.iinfo(target)
    low, high = values.min(), values.max()
    if low < limits.min or high > limits.max:
      worst = low if low < limits.min else high
      raise ValueError(
        f'data: {key!r} holds {worst}, which does not fit {target}: '
        'number the values from 0, or leave the key out by a map'
      )
  return values.astype(target)


def stack(records: Sequence[Record], indices: np.ndarray, like: Record) -> Columns:
  """Stacks records into columns with a leading axis.

  Args:
    records: the records.
    indices: their numbers in the source, for the messages.
    like: the record that all others must resemble (record 0), values as NumPy arrays.

  Raises:
    ValueError: for a missing or further key, another shape, or another type.
  """
  columns: dict[str, list[np.ndarray]] = {key: [] for key in like}
  for index, record in zip(indices, records, strict=True):
    if record.keys() != like.keys():
      missing = sorted(like.keys() - record.keys())
      wrong, key = (
        ('lacks', missing[0]) if missing else ('adds', sorted(record.keys() - like.keys())[0])
      )
      raise ValueError(
        f'data: record {index} {wrong} the key {key!r} (record 0 has {_names(like)}): '
        'give every record the same keys'
      )
    for key, expected in like.items():
      value = as_array(record[key])
      if value.shape != expected.shape:
        raise ValueError(
          f'data: record {index} has {key!r} of shape {value.shape}, record 0 of shape '
          f'{expected.shape}: '
          'resize, crop or pad the records to one shape'
        )
      if value.dtype != expected.dtype:
        raise ValueError(
          f'data: record {index} has {key!r} of type {value.dtype}, record 0 of type '
          f'{expected.dtype}: '
          'convert the records to one type'
        )
      columns[key].append(value)
  return {key: np.stack(values) for key, values in columns.items()}


def as_array(value: Any) -> np.ndarray:
  """Returns a record's value as an array; text and bytes as an object, so that its length is no
  type."""
  if isinstance(value, str | bytes):
    text = np.empty((), object)
    text[()] = value
    return text
  return np.asarray(value)


def kinds(columns: Record, lead: int = 0) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """Returns each key's shape without the first `lead` axes, and type; values are arrays."""
  return {key: (value.shape[lead:], value.dtype) for key, value in columns.items()}


def shown(columns: Record, lead: int = 0) -> str:
  """Returns the same as text, such as 'image uint8[8, 8, 1], label int32[]'."""
  both = sorted(kinds(columns, lead).items())
  return ', '.join(f'{key} {dtype}{list(shape)}' for key, (shape, dtype) in both)


def check_numeric(batch: Mapping[str, np.ndarray], rows: int, place: str) -> Columns:
  """Returns the batch narrowed, or says what in it no device can hold.

  Args:
    batch: what a map returned, or the columns of the source.
    rows: the leading axis that every value must have.
    place: who made the batch, for the message.

  Raises:
    ValueError: for text, a missing leading axis, or an integer of more than 32 bits.
  """
  columns = {}
  for key, values in batch.items():
    values = np.asarray(values)
    if values.dtype.kind not in 'biufcV':
      raise ValueError(
        f'data: {place} holds {key!r} of type {values.dtype}, which no device can hold: '
        'tokenise text with data.pack, or drop the key in a map'
      )
    if values.ndim == 0 or values.shape[0] != rows:
      raise ValueError(
        f'data: {place} holds {key!r} of shape {values.shape} in a batch of {rows} rows: '
        'a map must keep the leading axis'
      )
    columns[key] = narrow(key, values)
  return columns


def _names(record: Record) -> str:
  return ', '.join(sorted(record)) or 'no keys'
