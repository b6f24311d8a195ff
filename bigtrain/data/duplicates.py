"""Duplicates within a source, and leaks from training into held-out or test data.

Exact copies have equal content: texts after Unicode NFKC with case and white space folded,
everything else bit for bit. Near copies are

- texts whose sets of word pairs (lower case, no punctuation) overlap by at least `near`, as
  intersection over union (Jaccard). MinHash signatures in bands (Broder 1997; Leskovec, Rajaraman
  and Ullman, Mining of Massive Datasets, section 3.4) name candidates, which are read again and
  counted exactly: no pair below `near` is reported, one at `near` is found in 98 of 100 cases.
- pictures that are alike by at least `near` once aligned, and stand out (see `image_hashes`).

One word in ten replaced in 200 leaves 0.65 of the word pairs (of triples 0.54, of runs of five
0.38), a tenth cut off the ends leaves 0.9; unrelated Python files share 0.005, hardly ever 0.1. A
short text inside a long one is no near copy: `drop_contaminated` finds quotations.

Memory: 0.5 kB a text, 0.2 kB a picture, and the candidates, whatever the records hold. Time grows
with the number of texts, and with the number of pictures to the power of 1.5.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigtrain.data import contamination, exact_copies, image_hashes, records, sources

_NEAR = {'text': 0.5, 'image': 0.98}
_RUN = 2  # Words in a shingle.
_PERMUTATIONS = 256
_SURE = 0.98  # That a pair at the threshold becomes a candidate.
_SLACK = 0.1  # An estimate from 256 permutations has a standard deviation of at most 0.031.
_FIRST = 64  # Members of a bucket that the others in it are compared with.
_BATCH = 256
_EXAMPLES = 5


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """Groups of records that are copies of each other.

  Attributes:
    groups: records of each group, int64, ascending; groups by their first record. A group is
      connected: a record is a copy of some other in it, not of all.
    report: 'records', 'groups', 'exact' and 'near' (records that repeat an earlier one), 'kept',
      'key', 'threshold' and 'examples'; plain numbers and texts, for JSON.
  """

  groups: tuple[np.ndarray, ...]
  report: dict[str, Any]

  @property
  def repeats(self) -> np.ndarray:
    """All records but the first of each group, int64, ascending."""
    return np.sort(np.concatenate([np.empty(0, np.int64), *(group[1:] for group in self.groups)]))


def find_duplicates(
  source: sources.Source, near: float | bool = True, *, key: str | None = None
) -> Duplicates:
  """Finds exact and near copies among the records of a source.

  Args:
    source: random access to records, of which the first tells what `key` holds.
    near: least similarity of a near copy, in (0, 1]; True takes 0.5 for texts and 0.98 for
      pictures, and finds exact copies only for anything else; False finds exact copies only.
    key: what is compared; None takes 'text' or 'image' where there is one, else the whole record.

  Returns:
    The groups and a report. The same source gives the same answer.

  Raises:
    ValueError: for an empty source, a missing key, or a `near` outside of (0, 1] or for content
      that is neither text nor picture.
  """
  return _find('data.find_duplicates', [source], near, key)


def drop_duplicates(
  source: sources.Source, near: float | bool = True, *, key: str | None = None
) -> Any:
  """Returns the source without all but the first of each group of exact or near copies.

  Arguments and errors are those of `find_duplicates`; its report is `about['duplicates']`.
  """
  found = _find('data.drop_duplicates', [source], near, key)
  left = np.delete(np.arange(len(source)), found.repeats)
  return sources.with_report(sources.select(source, left), 'duplicates', found.report)


def drop_leaks(
  train: sources.Source,
  *others: sources.Source,
  near: float | bool = True,
  key: str | None = None,
) -> Any:
  """Drops from the training data what is an exact or near copy of a record in another part.

  The other parts stay as they are: what was measured on them before remains comparable.

  Args:
    train: random access to records.
    *others: held-out, test, or any data to be evaluated on.
    near, key: as in `find_duplicates`.

  Returns:
    A source of the training records left, in order, with a report under `about['leaks']`:
    'records', 'exact' and 'near' (records dropped), 'kept', 'key', 'threshold', and 'examples' with
    'record' in train and 'of': the number of the other part, and of its record.

  Raises:
    ValueError: as `find_duplicates`; and without another part, or where nothing is left.
  """
  if not others:
    raise ValueError('data.drop_leaks: got no other part: pass the held-out or test data too')
  found = _find('data.drop_leaks', [*others, train], near, key)
  left = np.delete(np.arange(len(train)), [i for group in found.groups for i in group])
  if not len(left):
    raise ValueError(
      f'data.drop_leaks: all {len(train)} training records are copies: check that the parts differ'
    )
  return sources.with_report(sources.select(train, left), 'leaks', found.report)


class _Parts:
  """Sources end to end, of which one key is read."""

  def __init__(self, place: str, parts: Sequence[Any], key: str | None):
    self.place, self.parts = place, parts
    if any(len(part) == 0 for part in parts):
      raise ValueError(f'{place}: a source holds no record: check its path, split or filter')
    self.ends = np.cumsum([len(part) for part in parts])
    first = parts[-1][0]
    self.key = exact_copies.compared_key(place, first, key)
    value = records.as_array(None if self.key is None else first[self.key])
    self.kind = ''
    if isinstance(value.item() if value.ndim == 0 else None, str):
      self.kind = 'text'
    elif value.ndim in (2, 3) and min(value.shape[:2]) >= 8 and value.dtype.kind in 'buif':
      self.kind = 'image'

  def read(self, indices: np.ndarray, among: np.ndarray | None = None) -> list[Any]:
    """Returns what is compared of the records `indices` [M] (of those `among`)."""
    indices = indices if among is None else among[indices]
    owner = np.searchsorted(self.ends, indices, 'right')
    got: list[Any] = [None] * len(indices)
    for which in np.unique(owner):
      rows = np.flatnonzero(owner == which)
      part, inside = self.parts[which], indices[rows] - self.ends[which] + len(self.parts[which])
      values = contamination.values(self.place, part, self.key, inside)
      for row, value in zip(rows, values, strict=True):
        got[row] = value
    as_text = functools.partial(contamination.as_text, self.place, str(self.key))
    return list(map(as_text, got)) if self.kind == 'text' else got


def _find(place: str, sides: Sequence[Any], near: float | bool, key: str | None) -> Duplicates:
  """Groups one source; of several, the records of the last with those of the others they copy."""
  parts = _Parts(place, sides, key)
  threshold = _threshold(parts, near)
  total = int(parts.ends[-1])
  last = total - len(sides[-1])
  # Of one source all pairs count; of several only those of the last with another.
  side = (np.arange(total) >= last).astype(int) if last else np.full(total, -1)
  digests, prints = _read(parts, threshold is not None)
  _, first, same = np.unique(digests, return_index=True, return_inverse=True)
  first = first[same]
  exact = np.stack([first, np.arange(total)], 1)[first != np.arange(total)]
  pairs, scores = np.empty((0, 2), np.int64), np.empty(0)
  if threshold is not None:
    only = np.flatnonzero(first == np.arange(total))
    near_copies = image_hashes.copies if parts.kind == 'image' else _near_texts
    read = functools.partial(parts.read, among=only)
    pairs, scores = near_copies(read, prints[only], side[only], threshold)
    pairs = only[pairs]
  groups = _groups(np.concatenate([exact, pairs]), total, last)
  both = (groups, _groups(exact, total, last))
  all_copies, exact_copies = (sum(len(group) - (not last) for group in each) for each in both)
  shown = [(i, j, 1.0) for i, j in exact.tolist() if not last or i < last <= j][:_EXAMPLES]
  shown += zip(*pairs[:_EXAMPLES].T.tolist(), scores.tolist(), strict=False)
  report = {
    'records': len(sides[-1]), 'groups': len(groups), 'exact': exact_copies,
    'near': all_copies - exact_copies, 'kept': len(sides[-1]) - all_copies,
    'key': parts.key, 'threshold': threshold,
    'examples': [_example(parts, i, j, score) for i, j, score in shown],
  }  # fmt: skip
  return Duplicates(tuple(groups), report)


def _groups(pairs: np.ndarray, total: int, last: int) -> list[np.ndarray]:
  """Returns the connected groups of two and more; of several sources, their part in the last."""
  from scipy.sparse import coo_array, csgraph

  graph = coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(total, total))
  _, label = csgraph.connected_components(graph, directed=False)
  order = np.argsort(label, kind='stable')
  groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
  # A group with a record of another source holds, of the last, only copies of such records.
  groups = [g[g >= last] - last for g in groups if len(g) > 1 and (not last or g[0] < last)]
  return sorted((g for g in groups if len(g)), key=lambda g: g[0])


def _threshold(parts: _Parts, near: float | bool) -> float | None:
  if isinstance(near, bool):
    return _NEAR.get(parts.kind) if near else None
  if not 0 < near <= 1:
    raise ValueError(
      f'{parts.place}: near must lie in (0, 1], got {near}: use False to find exact copies only'
    )
  if not parts.kind:
    raise ValueError(
      f'{parts.place}: near={near} needs texts or pictures, not {parts.key or "whole records"}: '
      'name a key that holds some'
    )
  return float(near)


def _read(parts: _Parts, near: bool) -> tuple[np.ndarray, np.ndarray]:
  """Returns a digest of each record, and what near copies are looked up by, in one pass."""
  total = int(parts.ends[-1])
  digests, prints = np.empty(total, 'V16'), []
  for start in range(0, total, _BATCH):
    contents = parts.read(np.arange(start, min(start + _BATCH, total)))
    digests[start : start + _BATCH] = [exact_copies.content_digest(content) for content in contents]
    if near and parts.kind == 'text':
      prints.append(contamination.signatures(contents, _RUN, _PERMUTATIONS))
    elif near:
      prints.append(image_hashes.hashes(image_hashes.thumbnails(contents)))
  return digests, np.concatenate(prints) if near else np.empty(0)


def _near_texts(
  read: Callable[[np.ndarray], Sequence[str]], prints: np.ndarray, side: np.ndarray, near: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns pairs [P, 2] of texts that overlap by at least `near`, in order, and by how much."""
  # The widest bands that still let through a pair at the threshold: the fewest chance meetings.
  widths = range(1, _PERMUTATIONS // 4 + 1)
  seen = [1 - (1 - near**width) ** (_PERMUTATIONS // width) for width in widths]
  width = max((w for w, sure in zip(widths, seen, strict=True) if sure >= _SURE), default=1)
  found, count = [np.empty(0, np.int64)], len(prints)
  for start in range(0, _PERMUTATIONS - width + 1, width):
    band = np.ascontiguousarray(prints[:, start : start + width]).view(f'V{2 * width}')[:, 0]
    _, bucket, sizes = np.unique(band, return_inverse=True, return_counts=True)
    order = np.argsort(bucket, kind='stable')  # Held-out records come first in their bucket.
    begin = np.repeat(np.cumsum(sizes) - sizes, sizes)
    for rank in range(min(_FIRST, int(sizes.max()) - 1)):
      place = np.flatnonzero(np.arange(count) > begin + rank)
      for block in np.array_split(place, len(place) // 4096 + 1):
        i, j = order[begin[block] + rank], order[block]
        alike = (prints[i] == prints[j]).mean(1) >= near - _SLACK
        alike &= (side[i] != side[j]) | (side[i] < 0)
        found.append(i[alike] * count + j[alike])
  pairs = np.stack(np.divmod(np.unique(np.concatenate(found)), count), 1)

  @functools.lru_cache(4096)  # Copies come in clusters.
  def shingles(i: int) -> np.ndarray:
    return np.unique(contamination.shingles(read(np.array([i])), _RUN)[0])

  def jaccard(i: int, j: int) -> float:
    both = len(np.intersect1d(shingles(i), shingles(j), assume_unique=True))
    return both / max(1, len(shingles(i)) + len(shingles(j)) - both)

  scores = np.array([jaccard(i, j) for i, j in pairs.tolist()])
  return pairs[scores >= near], scores[scores >= near]


def _example(parts: _Parts, i: int, j: int, score: float) -> dict[str, Any]:
  begins = [0, *parts.ends.tolist()]
  which = int(np.searchsorted(parts.ends, i, 'right'))
  of = [which, i - begins[which]] if len(parts.parts) > 1 else i
  example = {'record': j - begins[-2], 'of': of}
  if parts.kind == 'text':
    example['texts'] = [text[:80] for text in parts.read(np.array([j, i]))]
  return {**example, 'similarity': round(score, 4)}
