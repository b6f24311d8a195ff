"""Cleaning: steps that mend or drop records, and a ledger of what each did and why.

A step is a plain function from a record (a dict of its own, whose keys it may set) to a record, or
to `Drop(reason)`. It goes by its `name` if it has one, otherwise by that of its function. Worker
processes can receive functions at the top of a module, `functools.partial` of them, and frozen
dataclasses. Records and ledger are the same for any number of workers, and ledgers of shards add.
"""

import collections
import dataclasses
import functools
import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, process
from multiprocessing import reduction
from typing import Any

import numpy as np

from bigtrain.data import records, sources

_EXAMPLES, _SHOWN = 3, 80  # Examples of each reason, and characters of one.
_CHUNK, _SIZE = 256, 2**20  # Records, and their size, that a worker receives at once.


@dataclasses.dataclass(frozen=True)
class Drop:
  """What a step returns for a record that goes; `reason` names the rule, not the value measured."""

  reason: str


Record = Mapping[str, Any]
Step = Callable[[dict[str, Any]], Record | Drop]
Key = tuple[str, str, str]


@dataclasses.dataclass
class Ledger:
  """What became of records. `print` shows a table, `a + b` adds shards up, `==` compares.

  Attributes:
    steps: the steps' names, in order.
    totals: of all steps: records 'seen', 'kept', 'changed' (kept, but not what they were); and
      'size' that came in and 'size kept', in characters of text and bytes of arrays.
    counts: (step, outcome, reason) to records. The outcome is 'kept' (as it was), 'changed' (the
      reason is the keys that differ) or 'dropped'.
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
    rows = [('step', 'outcome', 'reason', 'records', 'example')]
    for key in self._sorted():
      number, before, after = self.examples[key][0]
      example = f'{number}: {before!r}' + (f' -> {after!r}' if key[1] == 'changed' else '')
      rows.append((*key, f'{self.counts[key]:,}', example))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ('  '.join(map(str.ljust, row, wide)).rstrip() for row in rows)
    return '\n'.join([', '.join(f'{n:,} {name}' for name, n in self.totals.items()), *lines])

  def _count(self, key: Key, number: int, before: Record, after: Record | None) -> None:
    self.counts[key] += 1
    examples = self.examples.setdefault(key, [])
    if len(examples) < _EXAMPLES:
      examples.append((number, *_shown(before, after)))

  def _sorted(self) -> list[Key]:
    return sorted(self.counts, key=lambda k: (self.steps.index(k[0]), k[1], -self.counts[k], k[2]))


class Cleaned(sources.Subset):
  """What cleaning left: records that a step changed in memory, others as the source has them."""

  def __init__(self, source: Any, kept: np.ndarray, changed: dict[int, Record], ledger: Ledger):
    self.ledger = ledger
    about = {**getattr(source, 'about', {}), 'cleaning': ledger.to_dict()}
    read = functools.partial(_read, source, changed)
    if changed and isinstance(source, sources.Arrays):  # Stays as fast as arrays are.
      rows = [read(number) for number in kept.tolist()]
      like = {key: records.as_array(value) for key, value in rows[0].items()}
      source, kept = sources.Arrays(records.stack(rows, kept, like)), np.arange(len(rows))
    elif changed:
      source = sources.Decoded(range(len(source)), read, {})
    super().__init__(source, kept, about)


def _read(source: sources.Source, changed: dict[int, Record], number: int) -> Record:
  return changed[number] if number in changed else source[number]


def clean(source: sources.Source, *steps: Step, workers: int | None = None) -> Cleaned:
  """Returns a source of the records that `steps` leave, as they leave them.

  The source has a `.ledger`, which is also in `about['cleaning']` as a dict.

  Args:
    source: random access to records.
    *steps: each from a record to a record or `Drop(reason)`, in this order; a record that is
      dropped meets no later step.
    workers: processes that run the steps, for megabytes of text; None or 0 runs them here.

  Raises:
    ValueError: where a step fails, no record is left, or workers cannot receive a step.
  """
  if len(source) == 0:
    raise ValueError('data.clean: the source holds no record: check its path or filter')
  ledger, kept, changed = Ledger(), [], {}
  items = map(source.__getitem__, range(len(source)))
  for number, _, after in _outcomes(items, steps, ledger, workers, 0):
    kept.append(number)
    if after is not None:
      changed[number] = after
  if not kept:
    step, _, reason = next(key for key, _ in ledger.counts.most_common() if key[1] == 'dropped')
    raise ValueError(
      f'data.clean: all {len(source)} records are dropped, most by {step} ({reason}): relax it'
    )
  return Cleaned(source, np.array(kept, np.int64), changed, ledger)


def clean_records(
  items: Iterable[Record],
  steps: Sequence[Step],
  *,
  ledger: Ledger | None = None,
  workers: int | None = None,
  start: int = 0,
) -> Iterator[Record]:
  """Yields the records that `steps` leave, in order and in bounded memory; the core of `clean`.

  What is done is added to `ledger`, some hundred records at a time, and `start` is the number of
  the first record, for examples and messages. A step that fails is an error here too.
  """
  ledger = Ledger() if ledger is None else ledger
  for _, before, after in _outcomes(items, steps, ledger, workers, start):
    yield before if after is None else after


def _outcomes(
  items: Iterable[Record], steps: Sequence[Step], ledger: Ledger, workers: int | None, start: int
) -> Iterator[tuple[int, Record, Record | None]]:
  """Yields (number, record before, record after or None if equal) of the records that stay."""
  if isinstance(workers, bool) or (workers or 0) < 0:
    raise ValueError(f'data.clean: workers counts processes, got {workers}: use 0 for none')
  named = _named(steps)
  ledger.update(Ledger(tuple(named)))
  work, chunks = functools.partial(_clean_chunk, named), _chunks(items, start)
  done = _in_processes(work, chunks, workers, named) if workers else ((c, work(*c)) for c in chunks)
  for (first, chunk), (stay, part) in done:
    ledger.update(part)
    yield from ((number, chunk[number - first], after) for number, after in stay.items())


def _in_processes(work: Callable, chunks: Iterator, workers: int, steps: dict) -> Iterator[tuple]:
  for name, step in steps.items():
    try:
      reduction.ForkingPickler.dumps(step)
    except Exception as error:
      raise ValueError(
        f'data.clean: step {name!r} cannot be sent to worker processes: define it at the top of a '
        'module, or leave workers out'
      ) from error
  pool = ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'))
  waiting = collections.deque()
  try:
    for chunk in chunks:
      waiting.append((chunk, pool.submit(work, *chunk)))
      if len(waiting) > 2 * workers:
        first, future = waiting.popleft()
        yield first, future.result()
    yield from ((chunk, future.result()) for chunk, future in waiting)
  except process.BrokenProcessPool as error:
    raise ValueError(
      'data.clean: a worker process died, for want of memory or of a guard in the main program: '
      "put what it does under `if __name__ == '__main__':`, or leave workers out"
    ) from error
  finally:
    pool.shutdown(cancel_futures=True)


def _clean_chunk(steps: dict[str, Step], start: int, chunk: Sequence[Record]) -> tuple:
  """Returns the records that stay by number, None for one that is what it was, and the ledger."""
  ledger, stay = Ledger(tuple(steps)), {}
  for number, original in enumerate(chunk, start):
    record: Any = original
    for name, step in steps.items():
      try:
        got = step(dict(record))
      except Exception as error:
        raise ValueError(
          f'data.clean: step {name!r} fails on record {number} ({type(error).__name__}: '
          f'{" ".join(str(error).split())}): mend the step, or let it return data.Drop(reason)'
        ) from error
      if isinstance(got, Drop):
        ledger._count((name, 'dropped', got.reason), number, record, None)
        record = None
        break
      if not isinstance(got, Mapping):
        raise ValueError(
          f'data.clean: step {name!r} returns {type(got).__name__} for record {number}: return the '
          'record, or data.Drop(reason)'
        )
      keys = _differing(record, got)
      ledger._count((name, 'changed' if keys else 'kept', ', '.join(keys)), number, record, got)
      record = got if keys else record
    ledger.totals.update({'seen': 1, 'size': _size(original), 'size kept': _size(record or {})})
    if record is not None:
      stay[number] = record if _differing(original, record) else None
      ledger.totals.update({'kept': 1, 'changed': int(stay[number] is not None)})
  return stay, ledger


def _named(steps: Sequence[Step]) -> dict[str, Step]:
  """Returns the steps by name, with its place behind a name that comes again."""
  named: dict[str, Step] = {}
  for step in steps:
    inner = step.func if isinstance(step, functools.partial) else step
    name = getattr(step, 'name', None) or getattr(inner, '__name__', type(step).__name__).strip('_')
    named[f'{name} ({len(named) + 1})' if name in named else name] = step
  return named


def _chunks(items: Iterable[Record], start: int) -> Iterator[tuple[int, list[Record]]]:
  chunk, size = [], 0
  for item in items:
    chunk.append(item)
    size += _size(item)
    if len(chunk) >= _CHUNK or size >= _SIZE:
      yield start, chunk
      start, chunk, size = start + len(chunk), [], 0
  if chunk:
    yield start, chunk


def _size(record: Record) -> int:
  values = record.values()
  return sum(len(v) if isinstance(v, str | bytes) else getattr(v, 'nbytes', 8) for v in values)


def _differing(before: Record, after: Record) -> list[str]:
  missing = object()
  pairs = ((key, before.get(key, missing), after.get(key, missing)) for key in {**before, **after})
  return sorted(key for key, old, new in pairs if not _equal(old, new))


def _equal(a: Any, b: Any) -> bool:
  if a is b or not isinstance(a, np.ndarray):
    return a is b or (type(a) is type(b) and bool(a == b))
  return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)


def _shown(before: Record, after: Record | None) -> tuple[str, str]:
  """Returns the first lines that differ, or the start of the longest text and nothing."""
  keys = [] if after is None else _differing(before, after)
  if not keys:
    texts = (value for value in before.values() if isinstance(value, str))
    return max(texts, key=len, default=repr(before))[:_SHOWN], ''
  old, new = (str(record.get(keys[0], '')).split('\n') for record in (before, after or {}))
  lines = itertools.zip_longest(old, new, fillvalue='')
  old, new = next((pair for pair in lines if pair[0] != pair[1]), ('', ''))
  return old[:_SHOWN], new[:_SHOWN]
