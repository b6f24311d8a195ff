"""Splits: parts of a source that share no record.

Held-out data is for choosing, test data for one look at the end. Which split to use:

- stratified: a small labelled set that does not grow; each part has the classes in equal shares.
- by hash: a set that grows; a record's part hangs on its identity alone, so adding data moves no
  old record.
- by document: texts, or anything in groups; all records of one land in one part, by hash.
- by position: one text, or a series in time; the end is held out.

Every function returns (train, held_out, test), or (train, held_out) where `test` is 0.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigtrain.data import sources

_NAMES = ('train', 'held_out', 'test')


def split_stratified(
  source: sources.Source,
  held_out: float = 0.1,
  test: float = 0.1,
  *,
  key: str = 'label',
  seed: int = 0,
) -> tuple[Any, ...]:
  """Splits at random with each class in equal shares.

  Args:
    source: records that hold `key`.
    held_out: share of the records, in (0, 1).
    test: share of the records, in [0, 1).
    key: the class, an integer or a text.
    seed: of the choice.

  Returns:
    Sources (train, held_out, test), or (train, held_out) where `test` is 0; records keep their
    order.

  Raises:
    ValueError: for an empty part, shares that leave no training data, or a `key` that is no class.
  """
  shares = checked_shares('split_stratified', held_out, test)
  labels = sources.column(source, key)
  if labels.ndim != 1 or labels.dtype.kind not in 'biuO':
    raise ValueError(
      f'data.split_stratified: {key!r} is {labels.dtype}{list(labels.shape[1:])}, not one class a '
      'record: '
      'use data.split_by_hash'
    )
  rng = np.random.Generator(np.random.Philox(key=[seed % 2**64, 0]))
  _, classes = np.unique(labels, return_inverse=True)
  # Records of one class are spread evenly over [0, 1), at random among themselves, and [0, 1) is
  # cut into the parts. So each part has its share of every class to within one record, and of the
  # whole to within a rounding.
  shuffle = rng.permutation(len(labels))
  by_class = shuffle[np.argsort(classes[shuffle], kind='stable')]
  counts = np.bincount(classes)
  rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
  offset = rng.random(
    len(counts)
  )  # Otherwise a class of three always gives its first to the same part.
  place = np.empty(len(labels))
  place[by_class] = (rank + np.repeat(offset, counts)) / np.repeat(counts, counts)
  order = np.argsort(place, kind='stable')
  ends = np.round(np.cumsum(shares) * len(labels)).astype(int)
  part = np.zeros(len(labels), int)
  part[order[: ends[0]]] = 1
  part[order[ends[0] : ends[-1]]] = 2 if len(shares) == 2 else 1
  return parted('split_stratified', source, part, shares)


def split_by_hash(
  source: sources.Source,
  held_out: float = 0.1,
  test: float = 0.0,
  *,
  key: str | Sequence[str] | None = None,
  seed: int = 0,
) -> tuple[Any, ...]:
  """Splits by a hash of each record's identity, so that adding records never moves an old one.

  Records of equal identity land in one part, so a duplicate never leaks from training to test. A
  share raised later only adds to its part.

  Args:
    source: random access to records.
    held_out: expected share of the identities, in (0, 1).
    test: expected share of the identities, in [0, 1).
    key: what identifies a record, one key or several; None takes everything in it, and then reads
      all records.
    seed: another seed gives another split. A part that is split by hash again needs another one.

  Returns:
    Sources (train, held_out, test), or (train, held_out) where `test` is 0; records keep their
    order.

  Raises:
    ValueError: for an empty part, shares that leave no training data, or a missing `key`.
  """
  return _split_by_hash('split_by_hash', source, held_out, test, key, seed)


def split_by_document(
  source: sources.Source,
  held_out: float = 0.1,
  test: float = 0.0,
  *,
  key: str = 'path',
  seed: int = 0,
) -> tuple[Any, ...]:
  """Splits so that all records of a document (patient, speaker, ...) land in one part, by hash of
  its name.

  Args:
    source: records that hold `key`.
    held_out: expected share of the documents, in (0, 1).
    test: expected share of the documents, in [0, 1).
    key: the document's name.
    seed: another seed gives another split. A part that is split by hash again needs another one.

  Returns:
    Sources (train, held_out, test), or (train, held_out) where `test` is 0; records keep their
    order.

  Raises:
    ValueError: for an empty part, shares that leave no training data, or a missing `key`.
  """
  return _split_by_hash('split_by_document', source, held_out, test, key, seed)


def split_by_position(
  source: sources.Source, held_out: float = 0.1, test: float = 0.0, *, key: str = 'text'
) -> tuple[Any, ...]:
  """Splits in order: first the training data, then held-out, then test.

  Args:
    source: records; where they hold a text under `key`, the cuts are made in characters, through a
      document if need be.
    held_out: share of the characters or records, in (0, 1).
    test: share of the characters or records, in [0, 1).
    key: the text.

  Returns:
    Sources (train, held_out, test), or (train, held_out) where `test` is 0.

  Raises:
    ValueError: for an empty part, or shares that leave no training data.
  """
  shares = checked_shares('split_by_position', held_out, test)
  check_records('split_by_position', source)
  if key not in source[0]:
    begins = begins_of(len(source), shares)
    part = np.searchsorted(begins, np.arange(len(source)), side='right')
    return parted('split_by_position', source, part, shares)
  columns = {name: sources.column(source, name) for name in source[0]}
  texts = columns[key]
  ends = np.cumsum([len(text) for text in texts])
  edges = [0, *begins_of(int(ends[-1]), shares), int(ends[-1])]
  parts = []
  for name, low, high in zip(_NAMES, edges[:-1], edges[1:], strict=False):
    if low == high:
      raise ValueError(_empty('split_by_position', name, f'{ends[-1]} characters', shares))
    held = np.flatnonzero((ends > low) & (ends - [len(text) for text in texts] < high))
    cut = [
      texts[i][max(0, low - (ends[i] - len(texts[i]))) : high - (ends[i] - len(texts[i]))]
      for i in held
    ]
    part = {name: values[held] for name, values in columns.items()} | {key: cut}
    parts.append(sources.Arrays(part, getattr(source, 'about', None)))
  return tuple(parts)


def _split_by_hash(
  name: str,
  source: sources.Source,
  held_out: float,
  test: float,
  key: str | Sequence[str] | None,
  seed: int,
) -> tuple[Any, ...]:
  shares = checked_shares(name, held_out, test)
  check_records(name, source)
  keys = sorted(source[0]) if key is None else [key] if isinstance(key, str) else list(key)
  columns = [sources.column(source, each) for each in keys]
  salt = (seed % 2**64).to_bytes(8, 'little')
  place = np.array([_hash(salt, identity) for identity in zip(*columns, strict=True)])
  # Test lies at the far end from held-out: raising one share takes from train, never from the
  # other.
  part = np.where(place < shares[0], 1, 0)
  if len(shares) == 2:
    part[place >= 1 - shares[1]] = 2
  return parted(name, source, part, shares)


def _hash(salt: bytes, identity: Sequence[Any]) -> float:
  """Returns a number in [0, 1) that is the same on every machine and in every process."""
  digest = hashlib.blake2b(salt, digest_size=8)
  for value in identity:
    if isinstance(value, str):
      value = value.encode('utf-8', 'surrogatepass')
    elif isinstance(value, int | np.integer):
      value = str(int(value)).encode()  # The same number is the same identity at any width.
    elif not isinstance(value, bytes):
      value = np.asarray(value)
      value = (
        value.dtype.newbyteorder('<').str.encode()
        + value.astype(value.dtype.newbyteorder('<')).tobytes()
      )
    digest.update(len(value).to_bytes(8, 'little') + value)
  return (int.from_bytes(digest.digest(), 'little') >> 11) / 2**53


def checked_shares(name: str, held_out: float, test: float) -> tuple[float, ...]:
  """Returns the shares after the first part's; ValueError where they leave no training data."""
  for part, share, low in (
    ('held_out', held_out, 'between 0 and 1'),
    ('test', test, 'at least 0 and below 1'),
  ):
    if not 0 <= share < 1 or (part == 'held_out' and share == 0):
      raise ValueError(
        f'data.{name}: {part} is a share and must be {low}, got {share}: use 0.1 for a tenth'
      )
  if held_out + test >= 1:
    raise ValueError(
      f'data.{name}: held_out={held_out} and test={test} leave nothing to train on: let them add '
      'up to less than 1'
    )
  return (held_out, test) if test else (held_out,)


def begins_of(total: int, shares: tuple[float, ...]) -> list[int]:
  """Returns where the parts after the first begin."""
  # Rounded before truncation: 1 - 0.1 must give 900 of 1000, whatever the last bit says.
  left = [1 - sum(shares[i:]) for i in range(len(shares))]
  return [int(round(share * total, 6)) for share in left]


def parted(
  name: str, source: sources.Source, part: np.ndarray, shares: tuple[float, ...]
) -> tuple[Any, ...]:
  """Returns a source for each part, by the part's number of each record [N]; none may be empty."""
  chosen = [np.flatnonzero(part == i) for i in range(len(shares) + 1)]
  for which, indices in zip(_NAMES, chosen, strict=False):
    if len(indices) == 0:
      raise ValueError(_empty(name, which, f'{len(part)} records', shares))
  return tuple(sources.select(source, indices) for indices in chosen)


def check_records(name: str, source: sources.Source) -> None:
  """Raises ValueError for an empty source."""
  if len(source) == 0:
    raise ValueError(f'data.{name}: the source holds no record: check its path or filter')


def _empty(name: str, part: str, total: str, shares: tuple[float, ...]) -> str:
  got = ', '.join(f'{which}={share}' for which, share in zip(_NAMES[1:], shares, strict=False))
  cure = 'lower the other shares' if part == 'train' else f'raise {part}'
  if name in ('split_by_hash', 'split_by_document'):
    cure += ', give another seed where the source is itself a part by hash'
  return f'data.{name}: {part} is empty ({total}, {got}): {cure}, or bring more data'
