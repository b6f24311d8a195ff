"""The ledger of cleaning: what became of records, by step and reason; and how records differ."""

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bigtrain.data import records

_EXAMPLES, _SHOWN = 3, 80  # Examples of each reason, and characters of one.

Record = Mapping[str, Any]
Key = tuple[str, str, str]


@dataclasses.dataclass
class Ledger:
  """What became of records. `print` shows a table, `a + b` adds shards up, `==` compares.

  Attributes:
    steps: the steps' names, in order.
    totals: of all steps: records 'seen', 'kept', 'changed' (kept, but not what they were); and
      'size' that came in and 'size kept', in characters of text and bytes of arrays.
    counts: (step, outcome, reason) to records. The outcome is 'kept' (as it was), 'changed' (the
      reason is the keys that differ) or 'dropped'. Where unreadable records are dropped, the first
      step is 'read'.
    examples: as `counts`, to the first (number of the record, text before, text after).
  """

  steps: tuple[str, ...] = ()
  totals: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
  counts: collections.Counter[Key] = dataclasses.field(default_factory=collections.Counter)
  examples: dict[Key, list[tuple]] = dataclasses.field(default_factory=dict)

  def __add__(self, other: 'Ledger') -> 'Ledger':
    total = Ledger.from_dict(self.to_dict())
    total.update(other)
    return total

  def update(self, other: 'Ledger') -> None:
    """Adds another ledger to this one; ValueError where the steps differ."""
    if self.steps and other.steps and self.steps != other.steps:
      raise ValueError(
        f'data.Ledger: cannot add steps {other.steps} to {self.steps}: clean all shards by the same'
      )
    self.steps = self.steps or other.steps
    self.totals.update(other.totals)
    self.counts.update(other.counts)
    for key, more in other.examples.items():
      self.examples[key] = sorted(self.examples.get(key, []) + more)[:_EXAMPLES]

  def to_dict(self) -> dict[str, Any]:
    """Returns the ledger as what JSON can hold."""
    rows = [[*k, self.counts[k], [list(e) for e in self.examples[k]]] for k in self._sorted()]
    return {'steps': list(self.steps), 'totals': dict(self.totals), 'rows': rows}

  @classmethod
  def from_dict(cls, plain: Mapping[str, Any]) -> 'Ledger':
    """Returns the ledger that `to_dict` made `plain` of; KeyError where it lacks a part."""
    ledger = cls(tuple(plain['steps']), collections.Counter(plain['totals']))
    for *key, count, examples in plain['rows']:
      ledger.counts[tuple(key)] = count
      ledger.examples[tuple(key)] = [tuple(example) for example in examples]
    return ledger

  def __str__(self) -> str:
    rows = [('step', 'outcome', 'reason', 'records', 'share', 'example')]
    for key in self._sorted():
      number, before, after = self.examples[key][0]
      example = f'{number}: {before!r}' + (f' -> {after!r}' if key[1] == 'changed' else '')
      rows.append((*key, f'{self.counts[key]:,}', self.share(self.counts[key]), example))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ('  '.join(map(str.ljust, row, wide)).rstrip() for row in rows)
    return '\n'.join([', '.join(f'{n:,} {name}' for name, n in self.totals.items()), *lines])

  def share(self, count: int) -> str:
    """Returns a number of records as a share of all that were seen, such as '12.5 %'."""
    return f'{100 * count / max(1, self.totals["seen"]):.3g} %'

  def count(self, key: Key, number: int, before: Record | str, after: Record | None) -> None:
    """Counts one record, and keeps it as an example where few are kept so far."""
    self.counts[key] += 1
    examples = self.examples.setdefault(key, [])
    if len(examples) < _EXAMPLES:
      examples.append((number, *_shown(before, after)))

  def _sorted(self) -> list[Key]:
    return sorted(self.counts, key=lambda k: (self.steps.index(k[0]), k[1], -self.counts[k], k[2]))


def size(record: Record) -> int:
  """Returns the characters of its texts and the bytes of its arrays."""
  values = record.values()
  return sum(len(v) if isinstance(v, str | bytes) else getattr(v, 'nbytes', 8) for v in values)


def differing(before: Record, after: Record) -> list[str]:
  """Returns the keys whose values differ, sorted."""
  missing = object()
  pairs = ((key, before.get(key, missing), after.get(key, missing)) for key in {**before, **after})
  return sorted(key for key, old, new in pairs if not _equal(old, new))


def digest(parts: Iterable[bytes | Record]) -> str:
  """Returns 16 hexadecimal digits over bytes and the content of records, to the bit."""
  total = hashlib.blake2b(digest_size=8)
  for part in parts:
    for key, value in sorted(part.items()) if isinstance(part, Mapping) else [('', part)]:
      value = records.as_array(value)
      text = value.dtype == object
      raw = repr(value.tolist()).encode('utf-8', 'surrogatepass') if text else value.tobytes()
      total.update(f'{key} {value.dtype.str} {value.shape} {len(raw)}:'.encode() + raw)
  return total.hexdigest()


def _equal(a: Any, b: Any) -> bool:
  if a is b or not isinstance(a, np.ndarray):
    return a is b or (type(a) is type(b) and bool(a == b))
  return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)


def _shown(before: Record | str, after: Record | None) -> tuple[str, str]:
  """Returns the first lines that differ, or the start of the longest text and nothing."""
  if isinstance(before, str):
    return before, ''
  keys = [] if after is None else differing(before, after)
  if not keys:
    texts = (value for value in before.values() if isinstance(value, str))
    return max(texts, key=len, default=repr(before))[:_SHOWN], ''
  old, new = (str(record.get(keys[0], '')).split('\n') for record in (before, after or {}))
  lines = itertools.zip_longest(old, new, fillvalue='')
  old, new = next((pair for pair in lines if pair[0] != pair[1]), ('', ''))
  return old[:_SHOWN], new[:_SHOWN]
