"""Runs side by side: what differs between them, and how sure the difference is."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigtrain import page
from bigtrain.charts import curves
from bigtrain.tuning.comparisons import holm
from bigtrain.workdirs import Kept

_SHOWN = 4  # Runs whose pictures and samples fit one page.


def differing(runs: Sequence[Kept]) -> list[str]:
  """Returns the knobs in which runs differ, in the order of the first run."""
  names = dict.fromkeys(name for run in runs for name in run.knobs)
  return [n for n in names if len({json.dumps(run.knobs.get(n)) for run in runs}) > 1]


def measured(runs: Sequence[Kept]) -> list[str]:
  """Returns the metrics of evaluations; ends of intervals stand with their metric."""
  names = dict.fromkeys(name for run in runs for name in run.last if not name.startswith('train/'))
  ends = {name + end for name in names for end in ('_low', '_high')}
  return [name for name in names if name not in ends]


def interval(run: Kept, metric: str) -> tuple[float, float] | None:
  """Returns the interval of a run's metric, None where there is none."""
  low, high = (run.last.get(metric + end, math.nan) for end in ('_low', '_high'))
  return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def shown(run: Kept, metric: str) -> str:
  """Returns a metric with its interval as text; nothing where the run doesn't have it."""
  if metric not in run.last:
    return ''
  between = interval(run, metric)
  said = '' if between is None else f' ({between[0]:.4g} to {between[1]:.4g})'
  return f'{run.last[metric]:.4g}{said}'


def significance(a: Kept, b: Kept, metric: str) -> float:
  """Returns p of a difference of two runs by their intervals; NaN where one has none.

  By the normal distribution, as if the runs were judged on different examples: on the same ones it
  is too cautious, and `evaluation.paired_bootstrap` is better.
  """
  between = [ends for run in (a, b) if metric in run.last and (ends := interval(run, metric))]
  spread = math.hypot(*((high - low) / (2 * 1.959964) for low, high in between))
  if len(between) < 2 or not spread > 0:
    return math.nan
  return math.erfc(abs(a.last[metric] - b.last[metric]) / spread / math.sqrt(2))


def sections(runs: Sequence[Kept]) -> dict[str, page.Html]:
  """Returns the sections of a page that shows runs side by side; the first is compared to."""
  found = {
    'Runs': _overview(runs),
    'Metrics': _metrics(runs),
    'Curves': _curves(runs),
    'Pictures': _parts(runs, _pictures),
    'Slices': _parts(runs, _slices),
    'Samples': _parts(runs, _samples),
    'Lineage': _parts(runs, _lineage),
    'Code': _code(runs) if len(runs) > 1 else '',
    'Knobs': page.table(['knob', runs[0].name], list(runs[0].knobs.items())),
  }
  return {name: content for name, content in found.items() if content}


def cost(run: Kept) -> dict[str, Any]:
  """Returns what a run took, by what it is called."""
  start = run.starts[-1] if run.starts else {}
  git = (start.get('git') or {}).get('bigtrain') or {}
  speed = run.curves.get('train/examples_per_second')
  return {
    'steps': int(run.step),
    'minutes': round(run.seconds / 60, 2),
    'examples/s': round(float(np.median(speed[1]))) if speed else '',
    'goodput': f'{run.last["train/goodput"]:.1%}' if 'train/goodput' in run.last else '',
    'starts': len(run.starts),
    'begun': str(run.starts[0].get('at', ''))[:16].replace('T', ' ') if run.starts else '',
    'revision': str(git.get('revision', ''))[:10] + (' and changes' if git.get('changed') else ''),
  }


def _overview(runs: Sequence[Kept]) -> page.Html:
  names = differing(runs)
  costs = [cost(run) for run in runs]
  rows = [
    [run.name, *(run.knobs.get(name, '') for name in names), *own.values()]
    for run, own in zip(runs, costs, strict=True)
  ]
  said = page.note('Knobs stand here where they differ.') if len(runs) > 1 else ''
  return page.join([said, page.table(['run', *names, *costs[0]], rows)])


def _metrics(runs: Sequence[Kept]) -> page.Html:
  names = measured(runs)
  if not names:
    return page.note('Nothing was evaluated yet.')
  first, others = runs[0], runs[1:]
  words = 'The last value, with its interval of 95 % where it was measured.'
  if not others:  # Room for a column an evaluation.
    columns = dict.fromkeys(name.rpartition('/')[0] for name in names)
    own = dict.fromkeys(name.rpartition('/')[2] for name in names)
    rows = [[name, *(shown(first, f'{of}/{name}') for of in columns)] for name in own]
    return page.join([page.note(words), page.table(['metric', *columns], rows)])
  p = {name: [significance(first, run, name) for run in others] for name in names}
  # A metric is a question of its own; the runs that are asked it are corrected for.
  for name, values in p.items():
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    for i, value in zip(known, holm([values[i] for i in known]), strict=True):
      p[name][i] = value
  rows = []
  for name in names:
    row = [name, shown(first, name)]
    for run, value in zip(others, p[name], strict=True):
      row += [shown(run, name), '' if math.isnan(value) else f'{value:.2g}']
    rows.append(row)
  words += f' p: of the difference to {first.name}, from the intervals, as if on other examples'
  words += f'; corrected for {len(others)} runs (Holm), not for the metrics.' if others[1:] else '.'
  head = ['metric', first.name, *(cell for run in others for cell in (run.name, 'p'))]
  return page.join([page.note(words), page.table(head, rows)])


def _curves(runs: Sequence[Kept]) -> page.Html:
  names = dict.fromkeys(name for run in runs for name in run.curves)
  names = sorted(names, key=lambda name: not name.endswith('/loss'))  # These first.
  ends = {name + end for name in names for end in ('_low', '_high')}
  drawn = {}
  for name in names:
    lines = {run.name: run.curves[name] for run in runs if name in run.curves}
    if name not in ends and any(len(x) > 1 for x, _ in lines.values()):
      drawn[name] = curves(lines)
  if not drawn:
    return page.note(
      'No metric was entered twice, so there is no curve: --log_every says how often training '
      'enters its loss, an evaluation\'s every= how often it is made.'
    )  # fmt: skip
  return page.side(drawn)


def _parts(runs: Sequence[Kept], view: Any) -> page.Html | str:
  """Returns what a view shows of the first runs, side by side where they are several."""
  found = {run.name: content for run in runs[:_SHOWN] if (content := page.join(view(run)))}
  if not found:
    return ''
  more = len(runs) - _SHOWN
  said = page.note(f'Of the first {_SHOWN} runs.') if more > 0 else ''
  alone = page.join(found.values()) if len(runs) == 1 else page.side(found)
  return page.join([said, alone])


def _pictures(run: Kept) -> Iterator[page.Html]:
  for name, evaluation in run.evaluations.items():
    if evaluation.pictures:
      yield page.tag('h3', f'{name}, step {evaluation.step}')
      figures = [
        page.drawing(path.read_bytes(), stem.replace('_', ' '))
        for stem, path in evaluation.pictures.items()
      ]
      yield page.tag('div', *figures, class_='pictures plots')


def _slices(run: Kept) -> Iterator[page.Html]:
  for name, evaluation in run.evaluations.items():
    slices = evaluation.slices.get('slices') or {}
    if slices:
      metric, key = evaluation.slices.get('metric', ''), evaluation.slices.get('key', '')
      yield page.tag('h3', f'{name} by {key}, step {evaluation.step}')
      yield page.note(f'The worst by {metric}: {evaluation.slices.get("worst", "")}.')
      metrics = list(dict.fromkeys(m for values in slices.values() for m in values))
      rows = [[value, *(_between(of.get(m)) for m in metrics)] for value, of in slices.items()]
      yield page.table([str(key), *metrics], rows)


def _between(values: Mapping[str, Any] | None) -> str:
  if not values or values.get('value') is None:
    return ''
  low, high = values.get('low'), values.get('high')
  return f'{values["value"]:.4g}' + ('' if low is None else f' ({low:.4g} to {high:.4g})')


def _samples(run: Kept) -> Iterator[page.Html]:
  for sample in reversed(run.samples):
    yield page.note(f'Step {sample.get("step", "")}, {sample.get("drawn", "")}')
    prompt = page.tag('span', sample.get('prompt', ''), class_='tint1')
    yield page.tag('pre', prompt, sample.get('text', ''))


def _lineage(run: Kept) -> Iterator[page.Html]:
  if run.lineage:
    yield page.tag('p', run.name, *(_ancestors(run.lineage)))
    taken = {key: value for key, value in run.lineage.items() if key != 'from' and value}
    yield page.table(['arrays', ''], [[key, _fact(value)] for key, value in taken.items()])


def _ancestors(node: Mapping[str, Any]) -> Iterator[str]:
  """Says what a run began with, what that began with, and so on."""
  parents = node.get('from') or []
  for parent in parents:
    whose = parent.get('experiment') or 'a run'
    yield f' ← {whose}, step {parent.get("step", "")} ({parent.get("workdir", "")})'
    yield from _ancestors(parent)
    yield ';' if len(parents) > 1 else ''


def _fact(value: Any) -> Any:
  if isinstance(value, Mapping):
    return page.table([], [[key, _fact(own)] for key, own in value.items()])
  if isinstance(value, list):
    words = ', '.join(map(str, value[:20]))
    return f'{len(value):,}: {words}' + (', ...' if len(value) > 20 else '')
  return value


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
