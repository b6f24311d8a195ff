"""Recorded outputs beside the records that they belong to, as a teacher's for distillation."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigtrain.data import records, sources


class Predicted:
  """Records with a row of each recorded array; made by `with_predictions`.

  Files are mapped into memory by each process for itself: what is sent to a worker is their path.
  """

  def __init__(self, source: sources.Source, recorded: Mapping[str, Any], about: dict[str, Any]):
    self.source, self.about = source, about
    self._recorded = dict(recorded)  # Key to array, or to the path of a file.
    self._arrays: dict[str, np.ndarray] | None = None

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> records.Record:
    own = {key: np.array(values[index]) for key, values in self._opened().items()}
    return {**self.source[index], **own}

  def __getitems__(self, indices: np.ndarray) -> Any:
    indices = np.asarray(indices)
    own = {key: np.asarray(values[indices]) for key, values in self._opened().items()}
    got = sources.fetch(self.source, indices)
    if isinstance(got, Mapping):
      return {**got, **own}
    return [{**record, **{k: v[row] for k, v in own.items()}} for row, record in enumerate(got)]

  def held_column(self, key: str) -> np.ndarray:
    """Returns one key of all records, or KeyError where that would read records."""
    own = self._opened()
    return np.asarray(own[key]) if key in own else sources.held_column(self.source, key)

  def column(self, key: str) -> np.ndarray:
    """Returns one key of all records, [N, ...]; ValueError where there is none."""
    return sources.column(self, key)

  def __getstate__(self) -> dict[str, Any]:
    return {**self.__dict__, '_arrays': None}

  def _opened(self) -> dict[str, np.ndarray]:
    if self._arrays is None:
      self._arrays = {key: _array(key, value) for key, value in self._recorded.items()}
    return self._arrays


def with_predictions(source: sources.Source, **recorded: Any) -> Predicted:
  """Returns a source whose records carry recorded outputs, such as the logits of a teacher.

  Row i belongs to record i of this source: record the outputs over the very source (in order, as
  `once` reads it), and split or select afterwards.

  Args:
    source: random access to records.
    **recorded: name to an array [N, ...], or to the path of a .npy file that holds one, which is
      mapped into memory and read where needed.

  Raises:
    FileNotFoundError: where a file is missing.
    ValueError: where nothing is given, a name is taken by the records, an array has not one row a
      record, or a file holds no array of numbers.
  """
  place = 'data.with_predictions'
  if not recorded or not len(source):
    raise ValueError(f'{place}: got no array or no record: give both, as in logits=array')
  first = source[0]
  shown = {}
  for key, value in recorded.items():
    if key in first:
      raise ValueError(f'{place}: the records have a key {key!r} already: choose another name')
    values = _array(key, value)
    if values.ndim == 0 or len(values) != len(source):
      raise ValueError(
        f'{place}: {key!r} has shape {values.shape} for {len(source)} records: record one row for '
        'each, over the same source'
      )
    shown[key] = f'{values.dtype}{list(values.shape)}'
  about = {**getattr(source, 'about', {}), 'predictions': shown}
  return Predicted(source, recorded, about)


def _array(key: str, value: Any) -> np.ndarray:
  if not isinstance(value, str | os.PathLike):
    return np.asarray(value)
  try:
    values = np.load(value, mmap_mode='r')
  except FileNotFoundError:
    raise FileNotFoundError(f'data.with_predictions: {key!r}: no file {value}') from None
  except (OSError, ValueError, EOFError) as error:
    line = str(error).split('\n')[0]
    raise ValueError(
      f'data.with_predictions: {key!r}: {value} is no array of numbers ({line}): use np.save'
    ) from None
  if not isinstance(values, np.ndarray):
    raise ValueError(f'data.with_predictions: {key!r}: {value} holds several arrays: use np.save')
  return values
