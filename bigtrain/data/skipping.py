"""Damaged records, skipped and counted up to a stated share, and then a clear stop."""

import logging
from typing import Any

import numpy as np

from bigtrain.data import records, sources, splits


class Skipping:
  """A source in whose place of a damaged record stands an intact one of weight 0.

  Attributes:
    first: the first intact record.
    skipped: what was wrong, by number of record; of the records read so far, in this process.
  """

  def __init__(self, source: sources.Source, most: float):
    self.source, self.most = source, most
    self.about = {**getattr(source, 'about', {}), 'skipped at most': most}
    self.skipped: dict[int, str] = {}
    self._like: records.Record | None = None
    index = 0
    while (first := self._read(index)) is None:
      index += 1
    self.first = first
    self._like = {key: records.as_array(value) for key, value in first.items()}

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> records.Record:
    record = self._read(index)
    return {**(self.first if record is None else record), 'weight': np.float32(record is not None)}

  def _read(self, index: int) -> records.Record | None:
    """Returns record `index`, or None where it is damaged."""
    try:
      record = self.source[index]
      if self._like is not None:
        records.stack([record], np.array([index]), self._like)  # One of another shape is damaged.
      return record
    except IndexError:
      raise
    except Exception as error:  # Whatever a decoder raises.
      if index not in self.skipped:
        line = str(error).split('\n')[0][:300]
        self.skipped[index] = f'{type(error).__name__}: {line}'
        logging.warning('data.skip_damaged: record %d, %s', index, self.skipped[index])
      if len(self.skipped) > self.most * len(self):
        first, why = next(iter(self.skipped.items()))
        raise ValueError(
          f'data.skip_damaged: {len(self.skipped)} of {len(self)} records are damaged, more than '
          f'most={self.most}; the first was {first} ({why}): repair the data, or raise most'
        ) from None
    return None


def skip_damaged(source: sources.Source, most: float) -> Any:
  """Returns a source that passes over damaged records, for `forever` and `once`.

  A record that raises an error when it is read, or differs from the first intact one in keys,
  shapes or types, is replaced by that one with 'weight' 0, and so counts for no loss and no metric.
  The order of the others stays as it is, so resuming stays exact. Each is logged once. Records are
  read one by one: for sources that decode, not for arrays in memory.

  Args:
    source: random access to records without a 'weight' of their own.
    most: the share of the source's records that may be damaged; each process (a host, or a worker)
      counts those that it has met.

  Raises:
    ValueError: for a share outside of [0, 1), records with a 'weight', or an empty source; and,
      when a record is read, as soon as more are damaged than `most` allows.
  """
  if not 0 <= most < 1:
    raise ValueError(f'data.skip_damaged: most must lie in [0, 1), got {most}')
  splits.check_records('skip_damaged', source)
  skipping = Skipping(source, most)
  if 'weight' in skipping.first:
    raise ValueError("data.skip_damaged: the records have a 'weight' of their own: rename it")
  return skipping
