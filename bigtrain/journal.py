"""The journal of a run: what happened at which step, kept in a file and told to trackers.

The file is `metrics.jsonl` in the workdir: one object a line, 'step', 'seconds', then metrics such
as 'train/loss' or 'held_out/accuracy'. Only the first host writes. A resumed run drops the lines
after the step that it resumes from, so that each step stands in the journal once.

Writing happens on a thread of its own: the training loop never waits for a disk.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

from etils import epath

from bigtrain.goodput import Goodput
from bigtrain.json_lines import entries
from bigtrain.trackers import Trackers

_FILE = 'metrics.jsonl'
_WINDOW = 1 << 16  # Bytes of the end that are read at first.


class Journal:
  """Writes metrics by step; reads the last evaluations back.

  Args:
    workdir: None, or where the run is kept; with None nothing is written.
    step: Where the run (re)starts; later lines of an earlier attempt are dropped.
    trackers: Who else is told, by names of `trackers.KINDS`.
  """

  def __init__(
    self, workdir: str | None, step: int = 0, trackers: Sequence[str] = ('tensorboard',)
  ):
    self._folder = epath.Path(workdir) if workdir else None
    self._thread = ThreadPoolExecutor(1, 'journal')
    self._pending: list[Future] = []
    self._start = time.monotonic()
    self._trackers: Trackers | None = None
    self.rewind(step)
    if workdir:
      self._trackers = Trackers(trackers, workdir, step)

  def rewind(self, step: int) -> None:
    """Drops what was entered after a step, from which training goes on."""
    while self._pending:
      self._pending.pop(0).result()
    self.last: dict[str, tuple[int, float]] = {}
    self._step = step
    if self._trackers:
      self._trackers.tell('rewind', step)
    if self._folder is not None:
      self._folder.mkdir(parents=True, exist_ok=True)
      self._remember([*_first(self._folder / _FILE), *_cut(self._folder / _FILE, step)])

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Adds one line; returns at once. A failure to write surfaces at the next call."""
    row = {'step': step, 'seconds': round(time.monotonic() - self._start, 3), **metrics}
    self._remember([row])
    self._step = step
    self._raise_failures()
    if self._trackers:
      self._trackers.tell('scalars', step, dict(metrics))
    if self._folder is not None:
      self._pending.append(self._thread.submit(self._append, row))

  def results(self, name: str, step: int) -> dict[str, float] | None:
    """The metrics of evaluation `name` at `step`, without its prefix; None if there are none."""
    found = {
      key.removeprefix(f'{name}/'): value
      for key, (at, value) in self.last.items()
      if at == step and key.startswith(f'{name}/')
    }
    return found or None

  def column(self, key: str) -> list[float]:
    """The values of a metric in the file, in the order of their steps."""
    path = self._folder / _FILE if self._folder is not None else None
    if path is None or not path.exists():
      return []
    named = f'"{key}"'.encode()  # Most lines have it not, and need no parsing.
    lines = b'\n'.join(line for line in path.read_bytes().splitlines() if named in line)
    return [row[key] for row in entries(lines) if key in row]

  def close(self) -> None:
    """Writes what is pending."""
    self._thread.shutdown(wait=True)
    if self._trackers and self._folder is not None:
      if (self._folder / 'checkpoints').is_dir():
        self._trackers.tell('checkpoint', self._step, str(self._folder / 'checkpoints'))
      self._trackers.close()
    self._raise_failures()

  def _append(self, row: dict[str, Any]) -> None:
    assert self._folder is not None
    with (self._folder / _FILE).open('a') as file:
      file.write(json.dumps(row) + '\n')

  def _raise_failures(self) -> None:
    while self._pending and self._pending[0].done():
      self._pending.pop(0).result()

  def _remember(self, rows: list[dict[str, Any]]) -> None:
    for row in rows:
      self.last.update(
        {k: (row['step'], v) for k, v in row.items() if k not in ('step', 'seconds')}
      )


def _first(path: epath.Path) -> list[dict[str, Any]]:
  """Returns the lines of step 0: what was evaluated before training."""
  if not path.exists():
    return []
  with path.open('rb') as file:
    return [row for row in entries(file.read(_WINDOW)) if row['step'] == 0]


def _cut(path: epath.Path, step: int) -> list[dict[str, Any]]:
  """Drops the lines after a step and returns those of it; reads the end alone, as far as it must.

  The last line of a killed run may be half a line, which goes too.
  """
  size = path.stat().length if path.exists() else 0
  if not size:
    return []
  window = _WINDOW
  while True:
    begin = max(0, size - window)
    with path.open('rb') as file:
      file.seek(begin)
      lines = file.read().splitlines(keepends=True)
    if begin:
      begin += len(lines.pop(0))  # Cut, or by chance whole.
    rows = [next(entries(x), None) if x.endswith(b'\n') else None for x in lines]
    if not begin or (rows and rows[0] is not None and rows[0]['step'] < step):
      break
    window *= 8
  count = next((i for i, r in enumerate(rows) if r is None or r['step'] > step), len(rows))
  if count < len(rows):
    end = begin + sum(map(len, lines[:count]))
    if '://' in str(path):  # A remote file cannot be cut.
      path.write_bytes(path.read_bytes()[:end])
    else:
      os.truncate(path, end)
  return [row for row in rows[:count] if row and row['step'] == step]


class Meter:
  """Speed since the last reading: examples/s, share of time waiting for data, MFU.

  Args:
    batch: Examples a step, over all hosts.
    flops: Of one step over all devices.
    peak: FLOP/s of all devices together; None where it is unknown.
    goodput: Told of waiting and evaluation, and read with the rest; None keeps none.

  Attributes:
    loading: Seconds of a step that this host read and placed data, as of the last reading.
  """

  loading = 0.0

  def __init__(
    self,
    batch: int,
    flops: float = 0.0,
    peak: float | None = None,
    goodput: Goodput | None = None,
  ):
    self._batch, self._flops, self._peak = batch, flops, peak
    self._goodput = goodput
    self._reset()

  def _reset(self) -> None:
    self._start, self._steps, self._wait = time.monotonic(), 0, 0.0
    self._loading = 0.0

  def add(self, steps: int) -> None:
    """Counts steps."""
    self._steps += steps

  def wait(self, seconds: float) -> None:
    """Counts time for which the device had to wait for data."""
    self._wait += seconds
    if self._goodput:
      self._goodput.spent('data', seconds)

  def loaded(self, seconds: float) -> None:
    """Counts time in which data was read and placed, whether the device had work or not."""
    self._loading += seconds

  @contextmanager
  def paused(self) -> Iterator[None]:
    """Time spent inside, evaluation, is not training time."""
    before = time.monotonic()
    with self._goodput.spending('evaluation') if self._goodput else nullcontext():
      yield
    self._start += time.monotonic() - before

  def read(self) -> tuple[float, dict[str, float]]:
    """Returns the seconds of a step and the figures since the last reading, and starts anew."""
    seconds = max(time.monotonic() - self._start, 1e-9)
    step = seconds / max(self._steps, 1)
    self.loading = self._loading / max(self._steps, 1)
    figures = {'examples_per_second': self._batch / step, 'data_wait': self._wait / seconds}
    if self._peak and self._flops:
      figures['mfu'] = self._flops / step / self._peak
    if self._goodput:
      figures['goodput'] = self._goodput.share()
    self._reset()
    return step, figures


def table(results: Mapping[str, Mapping[str, float]]) -> str:
  """Returns a plain table of results: a row a metric, a column an evaluation."""
  names = list(results)
  metrics = list(dict.fromkeys(key for name in names for key in results[name]))
  ends = {key + end for key in metrics for end in ('_low', '_high')}
  metrics = [
    key for key in metrics if key not in ends
  ]  # Ends of intervals stand with their metric.

  def cell(values: Mapping[str, float], key: str) -> str:
    if key not in values:
      return ''
    low, high = (values.get(key + end, float('nan')) for end in ('_low', '_high'))
    return f'{values[key]:.4f}' + (f' ({low:.4f} to {high:.4f})' if low == low else '')

  lines = [['metric', *names], *([k, *(cell(results[n], k) for n in names)] for k in metrics)]
  widths = [
    max(10 * (i > 0), *map(len, column)) for i, column in enumerate(zip(*lines, strict=True))
  ]
  return '\n'.join(
    '  '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
  )
