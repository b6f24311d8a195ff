"""`study`: which lever mattered, with statistics a referee would accept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.build import Build
  from bigtrain.verdict import Study


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
  from bigtrain import verdict
  from bigtrain.ablation import Plan, ablate
  from bigtrain.arms import read_levers
  from bigtrain.folders import check_folder
  from bigtrain.trials import Trials

  check_folder(workdir)
  plan = Plan(metric, higher, test, rate, spread, screen, seeds, leaders, level)
  build = build.with_defaults(build.table('STUDY'))
  known = read_levers(build, levers)
  plan = plan.fit(build)
  trials = Trials(build, os.path.join(workdir, 'trials.jsonl'))
  try:
    result = ablate(trials, known, plan)
  except KeyboardInterrupt:
    print(f'\nInterrupted: {trials.measured} measurements are kept, and the same command goes on.')
    raise
  if result.effects:
    page = os.path.join(workdir, 'study.html')
    verdict.write_report(
      result, page, title=f'Study of {build.name}', metric=metric, higher=higher, alpha=plan.alpha
    )
    print(verdict.lines(verdict.HEAD, verdict.rows(result, plan.alpha)))
    print(f'{result.answer}\nThe page: {page}')
  else:
    print(result.answer)
  return result
