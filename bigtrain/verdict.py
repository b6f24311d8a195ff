"""What a study concludes from its runs, and the page and table that say so."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from bigtrain.arms import Candidate
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


# By lever: pairs of settings, each the metric by seed with the lever and without.
Values = Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]]


@dataclasses.dataclass(frozen=True)
class Study:
  """What a study found.

  Attributes:
    answer: In a sentence.
    key: The lever that mattered most; None where none did.
    ranking: Every lever, by the size of its effect in the screening.
    gates: What must hold before anything means anything.
    effects: Of the leading levers and the null arm: with the lever less without, by seed. The
      intervals of the levers hold for all of them at once.
    tests: The same on the test split, each alone; empty where there is none.
    corrected: Holm-corrected p-value of each leading lever.
    clear: Leading levers that moved the metric beyond doubt.
    pairs: Knobs with each lever and without, of every comparison.
    counted: Which of its comparisons each effect is of.
    screened: All levers after the screening.
    edges: Arms whose best rate was the edge of what was tried.
    costs: Operations of each lever's runs, in units of those without levers.
  """

  answer: str
  key: str | None = None
  ranking: Sequence[str] = ()
  gates: Sequence[Gate] = ()
  effects: Mapping[str, Effect] = dataclasses.field(default_factory=dict)
  tests: Mapping[str, Effect] = dataclasses.field(default_factory=dict)
  corrected: Mapping[str, float] = dataclasses.field(default_factory=dict)
  clear: Sequence[str] = ()
  pairs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  counted: Mapping[str, int] = dataclasses.field(default_factory=dict)
  screened: Sequence[Candidate] = ()
  edges: Sequence[str] = ()
  costs: Mapping[str, float] = dataclasses.field(default_factory=dict)


def conclude(
  values: Values,
  tests: Values,
  *,
  ranking: Sequence[str],
  metric: str,
  higher: bool,
  alpha: float,
  repairs: Sequence[str] = (),
) -> Study:
  """Weighs the leading levers.

  A key is claimed where the corrected p-value is below alpha and, if there is a test split, the
  effect on it has the same sign with an interval that leaves out 0. Of several the largest counts.
  Of several comparisons of one lever the weakest counts.

  The key is picked among the leading levers for its size, and what is picked for its size looks
  larger than it is: so each interval leaves the truth out with a chance of alpha divided by their
  number (Bonferroni), and that of the key does so with a chance of alpha, whichever it is.

  Args:
    values: For each leading lever, and for NULL, what was measured.
    tests: The same on the test split; may be empty.
    ranking: Every lever, the largest effect first.
    metric: Its name.
    higher: Whether more of it is better.
    alpha: The chance of claiming a key in vain.
    repairs: Levers that count only where they make the metric better.
  """
  levers = [name for name in values if name != NULL]
  each = alpha / max(1, len(levers))
  weakest = {
    name: _weakest([_effect(*pair, each if name in levers else alpha) for pair in many])
    for name, many in values.items()
  }
  effects = {name: effect for name, (effect, _) in weakest.items()}
  confirming = {name: _effect(*many[weakest[name][1]], alpha) for name, many in tests.items()}
  corrected = dict(zip(levers, holm([effects[name].p for name in levers]), strict=True))
  clear = [
    name
    for name in levers
    if corrected[name] < alpha
    and (name not in confirming or _agree(effects[name], confirming[name]))
    and (name not in repairs or (effects[name].mean > 0) == higher)
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
    helping = [name for name in clear if (effects[name].mean > 0) == higher]
    most = max(helping, key=lambda name: abs(effects[name].mean), default=None)
    if most is None:
      answer += ' No lever makes it better.'
    elif most != key:
      answer += f' Of those that make it better {most!r} does so most, by {_span(effects[most])}.'
  else:
    deviations = [effects[name].deviation for name in levers if math.isfinite(effects[name].mean)]
    seen = smallest_effect(max(deviations), pairs, alpha=each) if deviations else 0.0
    answer = (
      f'No key found: none of {len(ranking)} levers moves {metric} beyond what seeds do; in '
      f'{pairs} pairs of seeds an effect of {seen:.3g} would have been found 4 times in 5.'
    )
  null = effects.get(NULL)
  if null is not None and null.p < alpha / 5:
    answer += f' But other seeds alone move it by {_span(null)}: do not rely on this.'
  counted = {name: index for name, (_, index) in weakest.items()}
  return Study(answer, key, ranking, (), effects, confirming, corrected, clear, counted=counted)


def _effect(on: Sequence[float], off: Sequence[float], alpha: float) -> Effect:
  return paired_effect([a - b for a, b in zip(on, off, strict=True)], level=1 - alpha)


def _weakest(effects: Sequence[Effect]) -> tuple[Effect, int]:
  """Returns the effect of the largest p, and which it is; effects that disagree prove nothing."""
  index = max(range(len(effects)), key=lambda i: effects[i].p)
  agree = len({effect.mean > 0 for effect in effects}) == 1
  return (effects[index] if agree else dataclasses.replace(effects[index], p=1.0)), index


def _agree(effect: Effect, test: Effect) -> bool:
  return (test.low > 0 and effect.mean > 0) or (test.high < 0 and effect.mean < 0)


def _span(effect: Effect) -> str:
  return f'{effect.mean:+.3g} ({effect.low:+.3g} to {effect.high:+.3g})'


def rows(study: Study, alpha: float) -> list[list[str]]:
  """Returns a row of the table for each lever that was compared on fresh seeds."""
  result = []
  for name, effect in study.effects.items():
    test = study.tests.get(name)
    result.append([
      name, f'{effect.mean:+.4g}', f'{effect.low:+.4g} to {effect.high:+.4g}',
      f'{study.corrected[name]:.2g}' if name in study.corrected else f'{effect.p:.2g} (alone)',
      _span(test) if test else '', f'{study.costs.get(name, 1.0):.2f}', _more(study, name, alpha),
    ])  # fmt: skip
  return result


def _more(study: Study, name: str, alpha: float) -> str:
  """How many seeds more would decide about a lever."""
  if name not in study.corrected:
    return ''
  if study.corrected[name] < alpha:
    return 'decided'
  effect = study.effects[name]
  needed = pairs_needed(effect.mean, effect.deviation, alpha=alpha / len(study.corrected))
  return 'no number' if needed is None else str(max(1, needed - effect.pairs))


HEAD = ('lever', 'effect', 'interval', 'corrected p', 'on test', 'cost', 'seeds more to decide')


def lines(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
  """Returns a table as text."""
  widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for row in (head, *body)
  )


def write_report(study: Study, file: str, *, title: str, metric: str, higher: bool, alpha: float):
  """Writes the page: the answer, the picture, the tables and the gates."""
  sign = -1 if higher else 1
  screened = [
    [c.name, sign * c.with_it, sign * c.without, sign * c.difference, *map(_knobs, (c.on, c.off))]
    for c in study.screened
  ]
  sections = {
    'Answer': tag('p', study.answer),
    'Comparison': join([
      forest(study.effects, metric, higher),
      table(HEAD, rows(study, alpha)),
      note(f'Effect: {metric} with the lever less without it, paired by seed, on seeds that the '
           f'screening has not seen. Intervals (t) hold at {1 - alpha:.0%} for all levers at once; '
           'those of the null arm and on the test split, each alone. p: paired t test, corrected '
           f'for {len(study.corrected)} levers (Holm). Cost: operations of a run, in units of the '
           'run without levers. Seeds: for a power of 80 %.'),
    ]),
    'Screening': join([
      table(['lever', 'score with it', 'score without', 'difference', 'run with it',
             'run without'], screened),
      *(note(f'The best rate of {edge!r} is the edge of what was tried.') for edge in study.edges),
    ]),
    'Gates': table(
      ['gate', 'passed', 'figures'],
      [[gate.name, gate.outcome, gate.said] for gate in study.gates],
    ),
  }  # fmt: skip
  path = epath.Path(file)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(page(title, sections, 'Which lever mattered.'))


def _knobs(knobs: Mapping[str, Any]) -> str:
  return ' '.join(f'{name}={value}' for name, value in knobs.items()) or 'as it is'
