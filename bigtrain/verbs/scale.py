"""`scale`: a scaling law from small runs, and what it says of a large one before that is run."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.build import Build
  from bigtrain.tuning import Cost, ScalingLaw


@dataclasses.dataclass(frozen=True)
class Scaled:
  """What a ladder of runs says.

  Attributes:
    law: The loss by size and length.
    intervals: Of the law's numbers, by name.
    cost: Operations of an example by size.
    predicted: The loss of --predict, and the ends of its interval; None without.
    outcome: What it turned out to be; None until --run.
    doubts: What in the law is not to be trusted.
  """

  law: ScalingLaw
  intervals: dict[str, tuple[float, float]]
  cost: Cost
  predicted: tuple[float, float, float] | None = None
  outcome: float | None = None
  doubts: list[str] = dataclasses.field(default_factory=list)


def scale(
  build: Build,
  *,
  workdir: str = '',  # Where the journal of runs, law.png and predictions are kept.
  sizes: tuple[str, ...] = (),  # Such as width=32,64,128 or 'width=32 depth=2','width=64 depth=4'.
  examples: tuple[float, ...] = (),  # Lengths: examples that a run sees, or ...
  ratios: tuple[float, ...] = (),  # ... examples for each parameter, or ...
  budgets: tuple[float, ...] = (),  # ... floating-point operations of a whole run (IsoFLOP).
  points: int = 1,  # Of each run, at 1, 1/2, 1/4 ... of it; above 1 the rate must not fall.
  seeds: int = 1,  # Runs of each size and length.
  metric: str = 'held_out/loss',  # What the law is of, as evaluation/metric; lower is better.
  refits: int = 100,  # Fits to runs drawn anew, which give the intervals.
  level: float = 0.95,  # Of the intervals.
  predict: str = '',  # A larger run, such as 'width=512 epochs=4': its loss goes into a file.
  run: bool = False,  # Make the predicted run, and compare.
) -> Scaled:
  """Fits a scaling law to small runs, names the best size of a budget, predicts a large run."""
  import numpy as np

  from bigtrain import ladder, prediction
  from bigtrain.scaling_picture import draw_law
  from bigtrain.search import choosing
  from bigtrain.trials import Trials
  from bigtrain.tuning import Cost, fit_scaling_law, law_doubts, refit_scaling_law
  from bigtrain.verdict import lines

  if points < 1 or seeds < 1 or refits < 10 or not 0 < level < 1:
    raise ValueError(
      'a law takes --points=1, --seeds=1 and --refits=10 at least and a --level between 0 and 1, '
      f'got {points}, {seeds}, {refits} and {level}'
    )
  if run and not predict:
    raise ValueError('--run makes the run that --predict names: give it')
  judged, _, name = metric.partition('/')
  choosing(build, metric)
  known = ladder.read_sizes(build, sizes, '--sizes')
  asked = ladder.read_sizes(build, [predict] if predict else [], '--predict')
  if len(known) < 3:
    raise ValueError(f'a law takes at least 3 sizes, got {len(known)}: such as --sizes=width=32,64')
  trials = Trials(build, os.path.join(workdir, 'trials.jsonl'))
  runs = ladder.rungs(trials, known, examples=examples, ratios=ratios, budgets=budgets)
  shares = [2.0**-i for i in reversed(range(points))]
  if points > 1:
    ladder.check_courses(build, runs, shares[0])
  size = build(**runs[0].knobs).data.size
  if max(one.examples for one in runs) > size:
    print(f'Some runs see records more than once: there are {size:,}; the law is of fresh data.')

  seen: list[tuple[Any, int, float]] = []  # Run, seed, share; with the losses beside it.
  losses: list[float] = []
  made = [(one, seed) for one in runs for seed in range(seeds)]
  for share in shares:
    found = trials.measure(
      [{**one.knobs, 'seed': seed} for one, seed in made], [judged], share=share, stage='ladder'
    )
    seen += [(one, seed, share) for one, seed in made]
    losses += [_of(results[judged], judged, name) for results in found]
  bad = [one.name for (one, _, _), loss in zip(seen, losses, strict=True) if not 0 < loss < np.inf]
  if bad:
    print(f'Left out, for their loss is not finite and above 0: {", ".join(bad)}')
    pairs = [(s, x) for s, x in zip(seen, losses, strict=True) if 0 < x < np.inf]
    seen, losses = [s for s, _ in pairs], [x for _, x in pairs]
  parameters = [one.parameters for one, _, _ in seen]
  spent = [round(one.steps * share) * one.examples / one.steps for one, _, share in seen]
  law = fit_scaling_law(parameters, spent, losses)
  groups = [(one.name, one.steps, seed) for one, seed, _ in seen]
  others = refit_scaling_law(parameters, spent, losses, groups, law=law, refits=refits)
  if len(others) < refits:
    print(f'Only {len(others)} of {refits} draws of the runs could be fitted: give more runs')
  cost = Cost.fitted([one.parameters for one in runs], [one.flops / one.examples for one in runs])

  def span(values: Any) -> tuple[float, float]:
    ends = [50 * (1 - level), 50 * (1 + level)]
    low, high = np.percentile(list(values) or [np.nan], ends)
    return float(low), float(high)

  intervals = {
    f.name: span(getattr(other, f.name) for other in others) for f in dataclasses.fields(law)
  }
  rows = sorted(zip(seen, spent, losses, strict=True), key=lambda row: (row[0][0].flops, row[1]))
  print(lines(
    ('run', 'parameters', 'examples', 'FLOPs', metric, 'law', 'off by'),
    [[one.name, f'{one.parameters:,}', f'{d:,.0f}', f'{one.flops * share:.3g}', f'{loss:.5g}',
      f'{law.loss(one.parameters, d):.5g}', f'{loss / law.loss(one.parameters, d) - 1:+.2%}']
     for (one, _, share), d, loss in rows],
  ))  # fmt: skip
  print(lines(
    ('L = limit + a / N^alpha + b / D^beta', 'fitted', f'{level:.0%} interval'),
    [[f.name, f'{getattr(law, f.name):.4g}', '{:.4g} to {:.4g}'.format(*intervals[f.name])]
     for f in dataclasses.fields(law)],
  ))  # fmt: skip
  doubts = law_doubts(law, intervals)
  for doubt in doubts:
    print(f'Doubtful: {doubt}.')
  top = max(one.flops for one in runs)
  table = []
  for budget in (top, 10 * top, 100 * top):
    n, d = law.optimum(budget, cost)
    low, high = span(other.optimum(budget, cost)[0] for other in others)
    table.append([f'{budget:.3g}', f'{n:,.0f}', f'{low:,.0f} to {high:,.0f}', f'{d:,.0f}',
                  f'{law.loss(n, d):.5g}'])  # fmt: skip
  print(lines(('FLOPs', 'best parameters', f'{level:.0%} interval', 'examples', 'loss'), table))

  predicted = outcome = drawn = None
  if asked:
    [(label, knobs)] = asked.items()
    large = ladder.rung(trials, label, knobs)
    loss = float(law.loss(large.parameters, large.examples))
    low, high = span(other.loss(large.parameters, large.examples) for other in others)
    key = build.key(knobs)
    about = {
      'experiment': build.name, 'knobs': {**build.knobs, **knobs}, 'key': key, 'metric': metric,
      'parameters': large.parameters, 'examples': large.examples, 'flops': large.flops,
      'loss': loss, 'low': low, 'high': high, 'level': level, 'law': dataclasses.asdict(law),
      'ladder': [[one.parameters, d, x] for (one, _, _), d, x in rows],
    }  # fmt: skip
    frozen = prediction.freeze(workdir, key, about, known=trials.known(knobs))
    predicted = frozen['loss'], frozen['low'], frozen['high']
    drawn = large, *predicted
    print(
      f'{label}: {large.parameters:,} parameters, {large.examples:,} examples, '
      f'{large.flops / top:.3g} times the costliest run. Predicted on {frozen["at"]}: {metric} '
      '{:.5g} ({:.5g} to {:.5g})'.format(*predicted)
    )
    print(f'{prediction.path_of(workdir, key)}  sha256 {frozen["sha256"]}')
    if run or trials.known(knobs):
      results = trials.measure([knobs], [judged], stage='predicted')[0]
      outcome = _of(results[judged], judged, name)
      last = frozen['ladder'][-1][-1]
      print(
        f'Outcome: {outcome:.5g}; the prediction is off by {predicted[0] / outcome - 1:+.2%}, '
        f'"the same as the last of the ladder" by {last / outcome - 1:+.2%}'
      )
    else:
      print('To run and compare: the same command with --run')
  picture = os.path.join(workdir, 'law.png')
  points_drawn = [(one, d, loss) for (one, _, _), d, loss in rows]
  draw_law(law, cost, points_drawn, metric, drawn, outcome).savefig(picture, dpi=120)
  print(f'The picture: {picture}')
  return Scaled(law, intervals, cost, predicted, outcome, doubts)


def _of(metrics: dict[str, float], judged: str, name: str) -> float:
  if name not in metrics:
    raise ValueError(f'{judged} has no metric {name}: it has {", ".join(metrics)}')
  return metrics[name]
