"""Cross-validation: k folds, and a split by time; what both share with `splits` is said there.

Folds are for data too small to spare one held-out part, and for predictions of every record by a
model that has not seen it. Where a model is to predict the future, a random split tells it the
answer: split by time.
"""

from typing import Any

import numpy as np

from bigtrain.data import sources, splits


def split_by_time(
  source: sources.Source, held_out: float = 0.1, test: float = 0.0, *, key: str = 'time'
) -> tuple[Any, ...]:
  """Splits so that training data is older than held-out data, and that older than test data.

  Records of one time land in one part: a border moves to the nearest change of time. Records may
  come in any order, and `split_by_document` sees to it that no person or place is on both sides.

  Args:
    source: records that hold `key`.
    held_out: share of the records, in (0, 1).
    test: share of the records, in [0, 1).
    key: the time, a number or a `datetime64`. Seconds since 1970 should be integers: sources keep
      floats in 32 bits, which makes one time of two minutes.

  Returns:
    Sources (train, held_out, test), or (train, held_out) where `test` is 0; records keep their
    order.

  Raises:
    ValueError: for an empty part, shares that leave no training data, a missing `key`, or one that
      is no time.
  """
  shares = splits.checked_shares('split_by_time', held_out, test)
  times = sources.column(source, key)
  if times.ndim != 1 or times.dtype.kind not in 'iufM':
    raise ValueError(
      f'data.split_by_time: {key!r} is {times.dtype}{list(times.shape[1:])}, not one time a '
      'record: make it a number or a datetime64 (texts need not sort as their times do)'
    )
  if (unknown := np.isnat(times) if times.dtype.kind == 'M' else np.isnan(times)).any():
    raise ValueError(
      f'data.split_by_time: {unknown.sum()} records have no {key!r}, first record '
      f'{unknown.argmax()}: drop them'
    )
  values, first = np.unique(np.sort(times), return_index=True)
  begins = np.array(splits.begins_of(len(times), shares))
  edges = np.append(first, len(times))
  nearest = np.abs(edges - begins[:, None]).argmin(1)
  part = np.searchsorted(nearest, np.searchsorted(values, times), side='right')
  return splits.parted('split_by_time', source, part, shares)


def folds(
  source: sources.Source,
  count: int = 5,
  *,
  seed: int = 0,
  stratify: str | None = None,
  group: str | None = None,
) -> list[tuple[sources.Subset, sources.Subset]]:
  """Splits `count` times, so that every record is held out once (k-fold cross-validation).

  The parts read from the source, and hold numbers of records alone, in `.indices`: 8 bytes each.

  Args:
    source: random access to records.
    count: folds, at least 2.
    seed: of the choice.
    stratify: a class, an integer or a text, of which each fold has its share: to within one record,
      or with `group` as nearly as whole groups allow.
    group: the key of what must not be on both sides, such as a patient or a document.

  Returns:
    (train, held_out) of each fold; records keep their order. Held-out parts differ by at most one
    record in size, or with `group` by at most the largest group where nothing is stratified.

  Raises:
    ValueError: for fewer than 2 folds, fewer records or groups than folds, a missing key, or a
      `stratify` or `group` that is not one value a record.
  """
  number = _fold_numbers(source, count, seed, stratify, group)
  # Not `select`: of arrays it would copy each part, `count` times the memory of the source in all.
  parts = [np.flatnonzero(number == fold) for fold in range(count)]
  every = np.arange(len(source))
  return [
    (sources.Subset(source, np.delete(every, part)), sources.Subset(source, part)) for part in parts
  ]


def _fold_numbers(
  source: sources.Source, count: int, seed: int, stratify: str | None, group: str | None
) -> np.ndarray:
  """Returns the fold that holds each record out, int64 [N] in [0, count)."""
  if count < 2:
    raise ValueError(f'data.folds: count must be at least 2, got {count}: 5 and 10 are usual')
  splits.check_records('folds', source)
  classes = _coded(source, stratify) if stratify else np.zeros(len(source), np.int64)
  groups = _coded(source, group) if group else np.arange(len(source))
  if (units := groups.max() + 1) < count:
    raise ValueError(
      f'data.folds: {units} {"groups" if group else "records"} cannot fill {count} folds: lower '
      'count, or bring more data'
    )
  rng = np.random.Generator(np.random.Philox(key=[seed % 2**64, 0]))
  shuffle = rng.permutation(len(source))
  number = np.empty(len(source), np.int64)
  if group is None:  # Dealt out like cards, one class after the other.
    number[shuffle[np.argsort(classes[shuffle], kind='stable')]] = np.arange(len(source)) % count
    return number
  # Groups that hold much of a class go first, each to the fold that has least of its classes, in
  # shares of all. The records count like one more class: else rare ones would gather in one fold.
  weight_C = 1.0 / np.bincount(classes) ** 2
  held_KC, size_K = np.zeros((count, len(weight_C))), np.zeros(count)
  by_group = np.split(
    shuffle[np.argsort(groups[shuffle], kind='stable')], np.cumsum(np.bincount(groups))[:-1]
  )
  order = rng.permutation(units)
  weights = [weight_C[classes[rows]].sum() for rows in by_group]
  for rows in (by_group[i] for i in sorted(order, key=lambda i: -weights[i])):
    own = classes[rows]
    filled_K = held_KC[:, own] @ weight_C[own] + size_K * len(rows) / len(source) ** 2
    fold = filled_K.argmin()
    np.add.at(held_KC[fold], own, 1)
    size_K[fold] += len(rows)
    number[rows] = fold
  return number


def _coded(source: sources.Source, key: str) -> np.ndarray:
  values = sources.column(source, key)
  if values.ndim != 1 or values.dtype.kind not in 'biuO':
    raise ValueError(
      f'data.folds: {key!r} is {values.dtype}{list(values.shape[1:])}, not one integer or text a '
      'record: name another key, or None'
    )
  return np.unique(values, return_inverse=True)[1]
