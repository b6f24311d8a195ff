"""What a study concludes from its runs, and the page and table that say so."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from bigtrain.forest import forest
from bigtrain.gates import Gate
from bigtrain.page import join, note, page, table, tag
from bigtrain.tuning.comparisons import (
  Effect,
  holm,
  paired_effect,
  pairs_needed,
  smallest_effect,
)

NULL = 'null: other seeds alone'


@dataclasses.dataclass(frozen=True)
class Study:
  """What a study found.

  Attributes:
    answer: In a sentence.
    key: The lever that mattered most; None where none did.
    ranking: Every lever, by the size of its effect in the screening.
    effects: Of the leading levers and the null arm: with the lever less without, by seed.
    tests: The same on the test split; empty where there is none.
    corrected: Holm-corrected p-value of each leading lever.
    gates: What must hold before anything means anything.
  """

  answer: str
  key: str | None
  ranking: Sequence[str]
  effects: Mapping[str, Effect]
  tests: Mapping[str, Effect]
  corrected: Mapping[str, float]
  gates: Sequence[Gate]


def conclude(
  values: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  tests: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  *,
  ranking: Sequence[str],
  gates: Sequence[Gate],
  metric: str,
  higher: bool,
  alpha: float,
) -> Study:
  """Weighs the leading levers.

  A key is claimed where the corrected p-value is below alpha and, if there is a test split, the
  effect on it has the same sign with an interval that leaves out 0. Of several the largest counts.

  Args:
    values: For each leading lever, and for NULL, the metric of every seed with it and without.
    tests: The same on the test split; may be empty.
    ranking: Every lever, the largest effect first.
    gates: For the record.
    metric: Its name.
    higher: Whether more of it is better.
    alpha: The chance of claiming a key in vain.
  """
  effects = {name: _effect(*pair, alpha) for name, pair in values.items()}
  confirming = {name: _effect(*pair, alpha) for name, pair in tests.items()}
  levers = [name for name in effects if name != NULL]
  corrected = dict(zip(levers, holm([effects[name].p for name in levers]), strict=True))
  clear = [
    name
    for name in levers
    if corrected[name] < alpha and (name not in confirming or _agree(name, effects, confirming))
  ]
  key = max(clear, key=lambda name: abs(effects[name].mean), default=None)
  pairs = max((effect.pairs for effect in effects.values()), default=0)
  if key is not None:
    effect = effects[key]
    better = (effect.mean > 0) == higher
    answer = (
      f'The key is {key!r}: it makes {metric} {"better" if better else "worse"}, '
      f'by {_span(effect)} in {pairs} pairs of seeds, corrected p = {corrected[key]:.2g}'
    )
    answer += f'; on the test split by {_span(confirming[key])}.' if key in confirming else '.'
  else:
    deviations = [effects[name].deviation for name in levers if math.isfinite(effects[name].mean)]
    seen = smallest_effect(max(deviations), pairs, alpha=alpha / len(levers)) if deviations else 0.0
    answer = (
      f'No key found: none of {len(ranking)} levers moves {metric} beyond what seeds do; in '
      f'{pairs} pairs of seeds an effect of {seen:.3g} would have been found 4 times in 5.'
    )
  null = effects.get(NULL)
  if null is not None and null.p < alpha / 5:
    answer += f' But other seeds alone move it by {_span(null)}: do not rely on this.'
  return Study(answer, key, ranking, effects, confirming, corrected, gates)


def _effect(on: Sequence[float], off: Sequence[float], alpha: float) -> Effect:
  return paired_effect([a - b for a, b in zip(on, off, strict=True)], level=1 - alpha)


def _agree(name: str, effects: Mapping[str, Effect], tests: Mapping[str, Effect]) -> bool:
  test = tests[name]
  return (test.low > 0 and effects[name].mean > 0) or (test.high < 0 and effects[name].mean < 0)


def _span(effect: Effect) -> str:
  return f'{effect.mean:+.3g} ({effect.low:+.3g} to {effect.high:+.3g})'


def rows(study: Study, costs: Mapping[str, float], alpha: float) -> list[list[str]]:
  """Returns a row of the table for each lever that was compared on fresh seeds."""
  result = []
  for name, effect in study.effects.items():
    needed = pairs_needed(effect.mean, effect.deviation, alpha=alpha / max(1, len(study.corrected)))
    decided = study.corrected.get(name, 1.0) < alpha
    more = (
      'decided' if decided else 'no number' if needed is None else max(1, needed - effect.pairs)
    )
    test = study.tests.get(name)
    result.append([
      name, f'{effect.mean:+.4g}', f'{effect.low:+.4g} to {effect.high:+.4g}',
      f'{study.corrected[name]:.2g}' if name in study.corrected else f'{effect.p:.2g} (alone)',
      _span(test) if test else '', f'{costs.get(name, 1.0):.2f}', str(more),
    ])  # fmt: skip
  return result


HEAD = ('lever', 'effect', 'interval', 'corrected p', 'on test', 'cost', 'seeds more to decide')


def lines(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
  """Returns a table as text."""
  widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for row in (head, *body)
  )


def write_report(
  study: Study,
  file: str,
  *,
  title: str,
  metric: str,
  alpha: float,
  costs: Mapping[str, float],
  screening: Sequence[Sequence[Any]],
  said: Sequence[str] = (),
) -> None:
  """Writes the page: the answer, the picture, the tables and the gates."""
  sections = {
    'Answer': tag('p', study.answer),
    'Comparison': join([
      forest(study.effects, metric),
      table(HEAD, rows(study, costs, alpha)),
      note(f'Effect: {metric} with the lever less without it, paired by seed, on seeds that the '
           f'screening has not seen, with t intervals at {1 - alpha:.0%}. p: paired t test, '
           f'corrected for {len(study.corrected)} levers (Holm). Cost: operations of a run, in '
           'units of the run without levers. Seeds: for a power of 80 %.'),
    ]),
    'Screening': join([
      table(['lever', 'score with it', 'score without', 'difference', 'rate'], screening),
      *(note(line) for line in said),
    ]),
    'Gates': table(
      ['gate', 'passed', 'figures'],
      [[gate.name, gate.outcome, gate.said] for gate in study.gates],
    ),
  }  # fmt: skip
  path = epath.Path(file)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(page(title, sections, 'Which lever mattered.'))
