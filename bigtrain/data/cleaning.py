"""Cleaning: steps that mend or drop records, and a ledger of what each did and why.

A step is a plain function from a record (a dict of its own, whose keys it may set) to a record, or
to `Drop(reason)`. It goes by its `name` if it has one, otherwise by that of its function. Worker
processes can receive functions at the top of a module, `functools.partial` of them, and frozen
dataclasses. Records and ledger are the same for any number of workers, and ledgers of shards add.
"""

import collections
import dataclasses
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, process
from multiprocessing import reduction
from typing import Any, Literal

import numpy as np

from bigtrain.data import ledgers, records, sources
from bigtrain.data.ledgers import Ledger, Record

_CHUNK, _SIZE = 256, 2**20  # Records, and their size, that a worker receives at once.


@dataclasses.dataclass(frozen=True)
class Drop:
  """What a step returns for a record that goes; `reason` names the rule, not the value measured."""

  reason: str


@dataclasses.dataclass(frozen=True)
class Unreadable:
  """What stands for a record that could not be read, and why: the error, on one line."""

  why: str


Step = Callable[[dict[str, Any]], Record | Drop]


class Cleaned(sources.Subset):
  """What cleaning left: records that a step changed in memory, others as the source has them.

  Attributes:
    ledger: what the steps did.
    unreadable: number of each record that could not be read, to the error.
  """

  def __init__(
    self,
    source: Any,
    kept: np.ndarray,
    changed: dict[int, Record],
    ledger: Ledger,
    unreadable: Mapping[int, str],
  ):
    self.ledger, self.unreadable = ledger, dict(unreadable)
    about = about_cleaned(source, ledger)
    if 'digest' in getattr(source, 'about', {}) and (changed or len(kept) < len(source)):
      before = str(source.about['digest']).encode()
      about['digest'] = ledgers.digest([before, kept.astype('<i8').tobytes(), *changed.values()])
    read = functools.partial(_read, source, changed)
    if changed and isinstance(source, sources.Arrays):  # Stays as fast as arrays are.
      rows = [read(number) for number in kept.tolist()]
      like = {key: records.as_array(value) for key, value in rows[0].items()}
      source, kept = sources.Arrays(records.stack(rows, kept, like)), np.arange(len(rows))
    elif changed:
      source = sources.Decoded(range(len(source)), read, {})
    super().__init__(source, kept, about)


def about_cleaned(source: Any, ledger: Ledger) -> dict[str, Any]:
  """Returns what a source says of itself once it is cleaned, without a digest if that changes."""
  about = {**getattr(source, 'about', {}), 'cleaning': ledger.to_dict()}
  kept = ledger.totals['kept']
  about.update({key: kept for key in ('documents', 'records') if isinstance(about.get(key), int)})
  if ledger.totals['changed'] or kept < len(source):
    for stale in ('bytes', 'digest'):
      about.pop(stale, None)
  return about


def _read(source: sources.Source, changed: dict[int, Record], number: int) -> Record:
  return changed[number] if number in changed else source[number]


def clean(
  source: sources.Source,
  *steps: Step,
  workers: int | None = None,
  unreadable: Literal['error', 'drop'] = 'error',
) -> Cleaned:
  """Returns a source of the records that `steps` leave, as they leave them.

  The source has a `.ledger`, which is also in `about['cleaning']` as a dict. 'documents', 'records'
  and 'digest' in `about` become those of what is left; 'bytes' of text goes where that changes (the
  ledger has the size that was kept).

  Args:
    source: random access to records.
    *steps: each from a record to a record or `Drop(reason)`, in this order; a record that is
      dropped meets no later step.
    workers: processes that run the steps, for megabytes of text; None or 0 runs them here.
    unreadable: what a record does that raises an error when it is read: 'error' stops, 'drop'
      counts it as dropped by the step 'read', with the error as the example, and in `.unreadable`.

  Raises:
    ValueError: where a record cannot be read, a step fails, no record is left, or workers cannot
      receive a step.
  """
  if unreadable not in ('error', 'drop'):
    raise ValueError(f'data.clean: unreadable must be error or drop, got {unreadable!r}')
  if len(source) == 0:
    raise ValueError('data.clean: the source holds no record: check its path or filter')
  drop = unreadable == 'drop'
  ledger, kept, changed, failed = Ledger(), [], {}, {}
  items = (read(source, number, drop) for number in range(len(source)))
  for number, before, after in _outcomes(items, steps, ledger, workers, 0, drop):
    if isinstance(before, Unreadable):
      failed[number] = before.why
      continue
    kept.append(number)
    if after is not None:
      changed[number] = after
  if not kept:
    step, _, reason = next(key for key, _ in ledger.counts.most_common() if key[1] == 'dropped')
    raise ValueError(
      f'data.clean: all {len(source)} records are dropped, most by {step} ({reason}): relax it'
      if step != 'read'
      else f'data.clean: all {len(source)} records are dropped, most since they cannot be read, as '
      f'{next(iter(failed.values()))}: repair the data'
    )
  return Cleaned(source, np.array(kept, np.int64), changed, ledger, failed)


def read(source: sources.Source, number: int, drop: bool) -> Record | Unreadable:
  """Returns a record, or why there is none; ValueError for that unless `drop`."""
  try:
    return source[number]
  except Exception as error:  # Whatever a decoder raises.
    why = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
    if drop:
      return Unreadable(why)
    raise ValueError(
      f"data.clean: record {number} cannot be read ({why}): repair it, or pass unreadable='drop'"
    ) from error


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
  for _, before, after in _outcomes(items, steps, ledger, workers, start, False):
    yield before if after is None else after


def _outcomes(
  items: Iterable[Any],
  steps: Sequence[Step],
  ledger: Ledger,
  workers: int | None,
  start: int,
  reading: bool,
) -> Iterator[tuple[int, Any, Record | None]]:
  """Yields (number, record before, record after or None if equal) of the records that stay, and
  (number, `Unreadable`, None) of those that could not be read."""
  if isinstance(workers, bool) or (workers or 0) < 0:
    raise ValueError(f'data.clean: workers counts processes, got {workers}: use 0 for none')
  named = named_steps(steps, reading)
  ledger.update(Ledger(tuple(named)))
  work, chunks = functools.partial(clean_chunk, named), _chunks(items, start)
  done = _in_processes(work, chunks, workers, named) if workers else ((c, work(*c)) for c in chunks)
  for (first, chunk), (stay, part) in done:
    ledger.update(part)
    for number, item in enumerate(chunk, first):
      if number in stay or isinstance(item, Unreadable):
        yield number, item, stay.get(number)


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


def clean_chunk(
  steps: dict[str, Step], start: int, chunk: Sequence[Any]
) -> tuple[dict[int, Record | None], Ledger]:
  """Returns the records that stay by number, None for one that is what it was, and the ledger.

  Args:
    steps: as `named_steps` returns them.
    start: the number of the first record.
    chunk: records, or `Unreadable`.
  """
  ledger, stay = Ledger(tuple(steps)), {}
  for number, original in enumerate(chunk, start):
    ledger.totals.update({'seen': 1, 'size': 0, 'size kept': 0})
    if isinstance(original, Unreadable):
      ledger.count(('read', 'dropped', 'unreadable'), number, original.why, None)
      continue
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
        ledger.count((name, 'dropped', got.reason), number, record, None)
        record = None
        break
      if not isinstance(got, Mapping):
        raise ValueError(
          f'data.clean: step {name!r} returns {type(got).__name__} for record {number}: return the '
          'record, or data.Drop(reason)'
        )
      keys = ledgers.differing(record, got)
      ledger.count((name, 'changed' if keys else 'kept', ', '.join(keys)), number, record, got)
      record = got if keys else record
    ledger.totals.update({'size': ledgers.size(original), 'size kept': ledgers.size(record or {})})
    if record is not None:
      stay[number] = record if ledgers.differing(original, record) else None
      ledger.totals.update({'kept': 1, 'changed': int(stay[number] is not None)})
  return stay, ledger


def named_steps(steps: Sequence[Step], reading: bool = False) -> dict[str, Step]:
  """Returns the steps by name, with its place behind a name that comes again.

  The first is 'read' where `reading` may drop records.
  """
  named: dict[str, Step] = {'read': _as_read} if reading else {}
  for step in steps:
    inner = step.func if isinstance(step, functools.partial) else step
    name = getattr(step, 'name', None) or getattr(inner, '__name__', type(step).__name__).strip('_')
    named[f'{name} ({len(named) + 1})' if name in named else name] = step
  return named


def _as_read(record: Record) -> Record:
  return record


def _chunks(items: Iterable[Any], start: int) -> Iterator[tuple[int, list[Any]]]:
  chunk, size = [], 0
  for item in items:
    chunk.append(item)
    size += ledgers.size(item) if isinstance(item, Mapping) else 0
    if len(chunk) >= _CHUNK or size >= _SIZE:
      yield start, chunk
      start, chunk, size = start + len(chunk), [], 0
  if chunk:
    yield start, chunk
