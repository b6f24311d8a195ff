"""`study`: which lever mattered, with statistics a referee would accept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.build import Build
  from bigtrain.verdict import Study

_FRESH = 1_000  # The first seed of the comparison: the screening has not seen it.
_OTHERS = 2_000  # The first seed of the null arm.


def study(
  build: Build,
  *,
  workdir: str = '',  # Where the journal of runs and the report are kept.
  levers: tuple[str, ...] = (),  # More levers, such as 'depth=2 width=32'.
  metric: str = 'held_out/loss',  # What is judged, as evaluation/metric.
  higher: bool = False,  # Whether more of it is better.
  test: str = 'test',  # The evaluation that confirms; where there is none, nothing is confirmed.
  rate: str = 'lr',  # The knob that every arm tunes for itself; empty for none.
  spread: float = 3.0,  # The factor between the rates that are tried.
  screen: int = 2,  # Seeds of the screening.
  seeds: int = 8,  # Fresh seeds of the comparison.
  leaders: int = 3,  # Levers that are compared on fresh seeds.
  level: float = 0.95,  # Of the intervals; 1 - level is the chance of claiming a key in vain.
) -> Study:
  """Says which lever mattered, by controlled runs with seeds, intervals and corrected p-values."""
  from bigtrain import gates, verdict
  from bigtrain.arms import BASE, candidates, make_arms, read_levers, run_screening
  from bigtrain.checks import check_level
  from bigtrain.cohort import Cohort
  from bigtrain.evaluation import is_test
  from bigtrain.folders import check_folder
  from bigtrain.kinds import nearest
  from bigtrain.trials import Trials

  if seeds < 2 or screen < 1 or leaders < 1:
    raise ValueError(
      'a study takes at least --seeds=2, --screen=1 and --leaders=1, '
      f'got {seeds}, {screen} and {leaders}'
    )
  check_folder(workdir)
  check_level(level)
  if spread <= 1:
    raise ValueError(f'--spread multiplies a rate and must be above 1, got {spread:g}: use 3')
  if rate not in ('', 'lr', *build.knobs):
    raise ValueError(
      f'--rate={rate} is no knob of {build.name}{nearest(rate, build.knobs)}; empty tunes none'
    )
  build = build.with_defaults(build.table('STUDY'))
  known = read_levers(build, levers)
  base = build()
  choosing, _, name = metric.partition('/')
  allowed = [e for e in base.evals if e != test and not is_test(e)]
  if choosing not in allowed or not name:
    raise ValueError(
      f'--metric={metric} must be an evaluation and its metric, such as held_out/loss; '
      f'evaluations for choosing: {", ".join(allowed)}'
    )
  rate = rate if rate in build.knobs else ''
  page = os.path.join(workdir, 'study.html')
  passed = [gates.leak(base), gates.first_loss(base)]
  fatal = [gate for gate in passed if gate.fatal and not gate.passed]
  if not fatal:
    passed.append(gates.one_batch(base, Cohort()))
  for gate in passed:
    print(f'{gate.name}: {gate.outcome}, {gate.said}')
  if fatal:
    answer = f'No lever can be judged: {fatal[0].said}.'
    print(answer)
    return verdict.Study(answer, None, list(known), {}, {}, {}, passed)

  trials = Trials(build, os.path.join(workdir, 'trials.jsonl'))

  def score(runs: Any, share: float) -> list[float]:
    found = trials.measure(runs, [choosing], share=share, stage='screening')
    if name not in found[0][choosing]:
      has = ', '.join(found[0][choosing])
      raise ValueError(f'--metric={metric}: {choosing} has no metric {name}: it has {has}')
    values = [results[choosing][name] * (-1 if higher else 1) for results in found]
    return [value if value == value else float('inf') for value in values]  # NaN: the worst.

  arms = make_arms(trials, known, rate)
  screening = run_screening(
    trials, arms, rate=rate, spread=spread, seeds=range(screen), score=score
  )
  found = candidates(screening, arms, rate, build.knobs.get(rate))
  pairs = {c.name: (c.on, c.off) for c in found[:leaders]}
  best = {rate: screening.rates[BASE]} if BASE in screening.rates else {}
  pairs[verdict.NULL] = (best, best)
  runs = {}
  for lever, (on, off) in pairs.items():
    first = _OTHERS if lever == verdict.NULL else _FRESH
    runs[lever, True] = [{**on, 'seed': first + index} for index in range(seeds)]
    runs[lever, False] = [{**off, 'seed': _FRESH + index} for index in range(seeds)]
  every = {build.key(knobs): knobs for many in runs.values() for knobs in many}
  evals = [choosing, *([test] if test in base.evals else [])]
  results = dict(
    zip(every, trials.measure(list(every.values()), evals, stage='comparison'), strict=True)
  )

  def values(which: str) -> dict[str, tuple[list[float], list[float]]]:
    def of(lever: str, on: bool) -> list[float]:
      return [results[build.key(knobs)][which][name] for knobs in runs[lever, on]]

    return {lever: (of(lever, True), of(lever, False)) for lever in pairs}

  result = verdict.conclude(
    values(choosing), values(test) if len(evals) > 1 else {},
    ranking=[c.name for c in found], gates=passed, metric=metric, higher=higher, alpha=1 - level,
  )  # fmt: skip
  costs = {arm.name: arm.cost for arm in arms}
  sign = -1 if higher else 1
  verdict.write_report(
    result, page, title=f'Study of {build.name}', metric=metric, alpha=1 - level, costs=costs,
    screening=[[c.name, sign * c.with_it, sign * c.without, sign * c.difference,
                c.on.get(rate, build.knobs.get(rate, ''))] for c in found],
    said=[f'The best rate of {edge!r} is the edge of what was tried.' for edge in screening.edges],
  )  # fmt: skip
  print(verdict.lines(verdict.HEAD, verdict.rows(result, costs, 1 - level)))
  print(f'{result.answer}\nThe page: {page}')
  return result
