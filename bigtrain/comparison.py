"""Runs side by side: what their workdirs hold, what differs, and how sure the difference is.

Reads `record.json`, the copy of the experiment's file and `metrics.jsonl`; needs neither the
experiment nor a device. Metrics are read by columns and thinned to what a drawing can show, so that
50 runs of 100,000 lines are a matter of seconds.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from bigtrain import page, record

_POINTS = 300  # Pairs of least and greatest value that a curve keeps.


@dataclasses.dataclass(frozen=True)
class Kept:
  """What a workdir holds.

  Attributes:
    name: Of the folder.
    knobs: Of the experiment.
    source: The experiment's file; empty where there is none.
    starts: One for each start of the run, as the record has them.
    curves: (steps, values) by metric, thinned.
    last: The last value of each metric.
    seconds: That the run took, over all its starts.
  """

  name: str
  knobs: Mapping[str, Any]
  source: str
  starts: Sequence[Mapping[str, Any]]
  curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
  last: Mapping[str, float]
  seconds: float


def read_run(workdir: str) -> Kept:
  """Returns what a workdir holds.

  Raises:
    ValueError: it is no run.
  """
  folder = epath.Path(workdir)
  found = record.read(workdir)
  if found is None:
    raise ValueError(f'{workdir} holds no {record.RECORD}, so it is not a run: name another folder')
  copy = folder / found.get('file', '')
  found_columns = columns(folder / 'metrics.jsonl')
  step = found_columns.pop('step', np.zeros(0))
  seconds = found_columns.pop('seconds', np.zeros(0))
  curves, last = {}, {}
  for name, values in found_columns.items():
    known = np.isfinite(values)
    if known.any():
      curves[name] = thinned(step[known], values[known])
      last[name] = float(values[known][-1])
  # A resumed run counts its seconds from 0 again.
  spent = np.diff(seconds, prepend=0.0)
  return Kept(
    name=folder.name,
    knobs=found['knobs'],
    source=copy.read_text() if copy.is_file() else '',
    starts=found.get('starts', []),
    curves=curves,
    last=last,
    seconds=float(np.sum(np.where(spent < 0, seconds, spent))),
  )


def thinned(x: np.ndarray, y: np.ndarray, points: int = _POINTS) -> tuple[np.ndarray, np.ndarray]:
  """Returns the least and the greatest y of each stretch of x, in order: peaks stay visible."""
  if len(x) <= 2 * points:
    return x, y
  edges = np.linspace(0, len(y), points + 1).astype(int)
  chosen = [
    begin + place
    for begin, end in itertools.pairwise(edges)
    for place in sorted({int(y[begin:end].argmin()), int(y[begin:end].argmax())})
  ]
  return x[chosen], y[chosen]


def differing(runs: Sequence[Kept]) -> list[str]:
  """Returns the knobs in which runs differ, in the order of the first run."""
  names = dict.fromkeys(name for run in runs for name in run.knobs)
  return [n for n in names if len({json.dumps(run.knobs.get(n)) for run in runs}) > 1]


def significance(a: Mapping[str, float], b: Mapping[str, float], metric: str) -> float:
  """Returns p of a difference of two runs by their intervals; NaN where one has none.

  By the normal distribution, as if the runs were judged on different examples: on the same ones it
  is too cautious, and `evaluation.paired_bootstrap` is better.
  """
  errors = [
    (run.get(f'{metric}_high', math.nan) - run.get(f'{metric}_low', math.nan)) / (2 * 1.959964)
    for run in (a, b)
  ]
  spread = math.hypot(*errors)
  if not spread > 0 or metric not in a or metric not in b:
    return math.nan
  return math.erfc(abs(a[metric] - b[metric]) / spread / math.sqrt(2))


def sections(runs: Sequence[Kept]) -> dict[str, page.Html]:
  """Returns the sections of a page that shows runs side by side; the first is compared to."""
  found = {'Runs': _overview(runs), 'Metrics': _metrics(runs), 'Curves': _curves(runs)}
  if len(runs) > 1:
    found['Code'] = _code(runs)
  knobs = [(name, runs[0].knobs[name]) for name in runs[0].knobs]
  found['Knobs'] = page.table(['knob', runs[0].name], knobs)
  return found


def _overview(runs: Sequence[Kept]) -> page.Html:
  names = differing(runs)
  rows = []
  for run in runs:
    start = run.starts[-1] if run.starts else {}
    git = (start.get('git') or {}).get('bigtrain') or {}
    speed = run.curves.get('train/examples_per_second')
    rows.append([
      run.name,
      *(run.knobs.get(name, '') for name in names),
      max((float(x[-1]) for x, _ in run.curves.values()), default=0.0),
      round(run.seconds / 60, 2),
      float(np.median(speed[1])) if speed else '',
      len(run.starts),
      str(git.get('revision', ''))[:10] + (' and changes' if git.get('changed') else ''),
    ])  # fmt: skip
  head = ['run', *names, 'steps', 'minutes', 'examples/s', 'starts', 'revision']
  return page.join([page.note('Knobs stand here where they differ.'), page.table(head, rows)])


def _metrics(runs: Sequence[Kept]) -> page.Html:
  names = dict.fromkeys(name for run in runs for name in run.last if not name.startswith('train/'))
  rows = []
  for name in names:
    if name.endswith(('_low', '_high')) and name.rpartition('_')[0] in names:
      continue
    row: list[Any] = [name]
    for run in runs:
      if name not in run.last:
        row += [''] + [''] * (run is not runs[0])
        continue
      value, low, high = (run.last.get(f'{name}{end}') for end in ('', '_low', '_high'))
      between = f' ({low:.4g} to {high:.4g})' if low is not None and high is not None else ''
      row.append(f'{value:.4g}{between}')
      if run is not runs[0]:
        p = significance(runs[0].last, run.last, name)
        row.append('' if math.isnan(p) else f'{p:.2g}')
    rows.append(row)
  head = ['metric', runs[0].name, *(cell for run in runs[1:] for cell in (run.name, 'p'))]
  words = 'The last value, with its interval of 95 % where it was measured.'
  if len(runs) > 1:
    words += (
      f' p: of the difference to {runs[0].name}, from the intervals, uncorrected for how many '
      'are compared.'
    )
  return page.join([page.note(words), page.table(head, rows)])


def _curves(runs: Sequence[Kept]) -> page.Html:
  names = dict.fromkeys(name for run in runs for name in run.curves)
  drawn = {}
  for name in names:
    if not name.endswith(('_low', '_high')):
      lines = {run.name: run.curves[name] for run in runs if name in run.curves}
      if any(len(x) > 1 for x, _ in lines.values()):
        drawn[name] = page.curves(lines)
  return page.side(drawn)


def _code(runs: Sequence[Kept]) -> page.Html:
  parts = []
  for run in runs[1:]:
    lines = difflib.unified_diff(
      runs[0].source.splitlines(), run.source.splitlines(), runs[0].name, run.name, lineterm='', n=2
    )
    text = '\n'.join(lines)
    parts.append(page.tag('h3', run.name))
    parts.append(page.tag('pre', text) if text else page.note('The same file.'))
  return page.join(parts)


def columns(path: epath.Path) -> dict[str, np.ndarray]:
  """Reads the journal by columns; a metric is NaN where a line doesn't have it."""
  if not path.exists():
    return {}
  content = path.read_bytes()
  content = content[: content.rfind(b'\n') + 1]  # A killed run may end in half a line.
  if not content.strip():
    return {}
  import pyarrow
  from pyarrow import json as arrow_json

  try:
    options = arrow_json.ReadOptions(block_size=1 << 24)
    table = arrow_json.read_json(io.BytesIO(content), read_options=options)
    return {name: table[name].cast(pyarrow.float64()).to_numpy() for name in table.column_names}
  except pyarrow.ArrowInvalid:  # It doesn't read NaN, which Python writes.
    rows = [json.loads(line) for line in content.splitlines()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {n: np.array([row.get(n, math.nan) for row in rows], float) for n in names}
