"""A study's runs, in order: gates, screening, comparison on fresh seeds, and what they prove.

Seeds: the screening chooses levers and rates on its own, the comparison judges them on others, so
that what looked best by luck does not look best again. All count from the experiment's `seed`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bigtrain import gates, verdict
from bigtrain.arms import BASE, Candidate, candidates, make_arms, run_screening
from bigtrain.build import Build
from bigtrain.checks import check_level
from bigtrain.evaluation import is_test
from bigtrain.kinds import nearest
from bigtrain.trials import Knobs, Trials

_FRESH = 1_000  # The first seed of the comparison: the screening has not seen it.
_OTHERS = 2_000  # The first seed of the null arm.


@dataclasses.dataclass(frozen=True)
class Plan:
  """How a study is made; `verbs/study.py` has the same as flags, and says what each means."""

  metric: str = 'held_out/loss'
  higher: bool = False
  test: str = 'test'
  rate: str = 'lr'
  spread: float = 3.0
  screen: int = 2
  seeds: int = 8
  leaders: int = 3
  level: float = 0.95

  def __post_init__(self):
    if self.seeds < 2 or self.screen < 1 or self.leaders < 1:
      raise ValueError(
        'a study takes at least --seeds=2, --screen=1 and --leaders=1, '
        f'got {self.seeds}, {self.screen} and {self.leaders}'
      )
    check_level(self.level)
    if self.spread <= 1:
      raise ValueError(
        f'--spread multiplies a rate and must be above 1, got {self.spread:g}: use 3'
      )

  @property
  def alpha(self) -> float:
    """The chance of claiming a key in vain."""
    return 1 - self.level

  @property
  def choosing(self) -> str:
    """The evaluation that is judged by."""
    return self.metric.partition('/')[0]

  @property
  def name(self) -> str:
    """The metric of that evaluation."""
    return self.metric.partition('/')[2]

  def fit(self, build: Build) -> Plan:
    """Returns the plan for an experiment: without a rate where it has no knob of that name.

    Raises:
      ValueError: The rate is no knob, or the metric none to choose by.
    """
    if self.rate not in ('', 'lr', *build.knobs):
      raise ValueError(
        f'--rate={self.rate} is no knob of {build.name}{nearest(self.rate, build.knobs)}; empty '
        'tunes none'
      )
    allowed = [e for e in build().evals if e != self.test and not is_test(e)]
    if self.choosing not in allowed or not self.name:
      raise ValueError(
        f'--metric={self.metric} must be an evaluation and its metric, such as held_out/loss; '
        f'evaluations for choosing: {", ".join(allowed)}'
      )
    return dataclasses.replace(self, rate=self.rate if self.rate in build.knobs else '')


def ablate(
  trials: Trials,
  levers: Mapping[str, Mapping[str, Any]],
  plan: Plan,
  *,
  say: Callable[[str], None] = print,
) -> verdict.Study:
  """Finds which lever mattered.

  Args:
    trials: Trains, and keeps the journal.
    levers: By name, the knobs that each changes.
    plan: As `Plan.fit` returned it.
    say: Is told each gate's answer.
  """
  build = trials.build
  base = build()
  passed = []
  for gate in gates.ask(base, trials.cohort):
    passed.append(gate)
    say(f'{gate.name}: {gate.outcome}, {gate.said}')
    if gate.fatal and not gate.passed:
      return verdict.Study(f'No lever can be judged: {gate.said}.', ranking=[], gates=passed)
  arms = make_arms(trials, levers, plan.rate)
  say(
    f'Screening: {len(arms)} arms at up to 5 rates, {plan.screen} seeds each. Then the '
    f'{plan.leaders} that differ most, and a null arm: {plan.seeds} pairs of runs each.'
  )
  score = scores(trials, plan)
  first = build.knobs['seed']
  screening = run_screening(
    trials, arms, rate=plan.rate, spread=plan.spread, seeds=range(first, first + plan.screen),
    score=score,
  )  # fmt: skip
  found = candidates(screening, arms, plan.rate, build.knobs.get(plan.rate))
  best = {plan.rate: screening.rates[BASE]} if BASE in screening.rates else {}
  study = _compare(trials, plan, found, best)
  return dataclasses.replace(
    study, gates=passed, screened=found, edges=screening.edges,
    costs={arm.name: arm.cost for arm in arms},
  )  # fmt: skip


def scores(trials: Trials, plan: Plan) -> Any:
  """Returns what tells a screening how good runs are, lower is better."""

  def score(runs: Sequence[Knobs], share: float) -> list[float]:
    found = trials.measure(runs, [plan.choosing], share=share, stage='screening')
    if found and plan.name not in found[0][plan.choosing]:
      has = ', '.join(found[0][plan.choosing])
      raise ValueError(
        f'--metric={plan.metric}: {plan.choosing} has no metric {plan.name}: it has {has}'
      )
    sign = -1 if plan.higher else 1
    values = [results[plan.choosing][plan.name] * sign for results in found]
    return [math.inf if math.isnan(value) else value for value in values]  # NaN: the worst.

  return score


def _compare(trials: Trials, plan: Plan, found: Sequence[Candidate], best: Knobs) -> verdict.Study:
  """Runs the leading levers and the null arm on fresh seeds."""
  leaders = found[: plan.leaders]
  pairs = {c.name: [(c.on, c.off)] for c in leaders} | {verdict.NULL: [(best, best)]}

  def conclude() -> verdict.Study:
    return verdict.conclude(
      *_measure(trials, plan, pairs), ranking=[c.name for c in found], metric=plan.metric,
      higher=plan.higher, alpha=plan.alpha, repairs=[c.name for c in leaders if c.repair],
    )  # fmt: skip

  study = conclude()
  more = {
    c.name: c.same_rate(plan.rate, better=(study.effects[c.name].mean > 0) == plan.higher)
    for c in leaders
    if c.name in study.clear and c.apart(plan.rate)
  }
  if more:
    pairs |= {name: [*pairs[name], pair] for name, pair in more.items()}
    study = conclude()
  return dataclasses.replace(study, pairs=pairs)


def _measure(
  trials: Trials, plan: Plan, pairs: Mapping[str, Sequence[tuple[Knobs, Knobs]]]
) -> tuple[verdict.Values, verdict.Values]:
  """Returns the metric by lever, pair, side and seed: as it is judged, and on the test split."""
  build, first = trials.build, trials.build.knobs['seed']

  def seeded(knobs: Knobs, start: int) -> list[Knobs]:
    return [{**knobs, 'seed': first + start + index} for index in range(plan.seeds)]

  runs = {
    lever: [
      (seeded(on, _OTHERS if lever == verdict.NULL else _FRESH), seeded(off, _FRESH))
      for on, off in many
    ]
    for lever, many in pairs.items()
  }
  every = {
    build.key(knobs): knobs
    for many in runs.values()
    for pair in many
    for side in pair
    for knobs in side
  }
  evals = [plan.choosing, *([plan.test] if plan.test in build().evals else [])]
  measured = trials.measure(list(every.values()), evals, stage='comparison')
  results = dict(zip(every, measured, strict=True))

  def of(which: str) -> verdict.Values:
    def side(runs: Sequence[Knobs]) -> list[float]:
      return [results[build.key(knobs)][which][plan.name] for knobs in runs]

    return {lever: [(side(on), side(off)) for on, off in many] for lever, many in runs.items()}

  return of(plan.choosing), of(plan.test) if len(evals) > 1 else {}
