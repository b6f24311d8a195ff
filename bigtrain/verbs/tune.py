"""`tune`: the best knobs of the file's SPACE, and how good they are on fresh seeds."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Any, Literal

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.build import Build

_FRESH = 1_000  # The first seed of the re-runs: the search has not seen it.


@dataclasses.dataclass(frozen=True)
class Tuned:
  """What a search found.

  Attributes:
    knobs: The best, of those in SPACE; None while other workers are still at it.
    values: The metric of each re-run with fresh seeds.
    mean: Theirs.
    interval: Student's t interval of the mean.
    warnings: Which of the best are at an edge of the space.
  """

  knobs: dict[str, Any] | None
  values: list[float] = dataclasses.field(default_factory=list)
  mean: float = math.nan
  interval: tuple[float, float] = (math.nan, math.nan)
  warnings: list[str] = dataclasses.field(default_factory=list)


def tune(
  build: Build,
  *,
  workdir: str = '',  # Where journals, best.txt and slices.png are kept.
  trials: int = 20,  # In all, over all workers and earlier starts.
  sampler: Literal['tpe', 'sobol', 'random'] = 'tpe',  # Where the next trial is; sobol spreads.
  pruner: Literal['none', 'asha'] = 'none',  # asha ends poor trials at 1/9 and 1/3 of their steps.
  metric: str = 'held_out/loss',  # What is judged, as evaluation/metric.
  higher: bool = False,  # Whether more of it is better.
  seeds: int = 5,  # Fresh seeds of the re-runs.
  storage: str = '',  # A database for many machines, such as mysql://...; empty is in the workdir.
  level: float = 0.95,  # Of the interval.
  coordinates: tuple[str, ...] = (),  # No search: how layers grow, by width=32,64,128; a picture.
  range_test: bool = False,  # No search: one short run at a rising rate, range.png, a first guess.
) -> Tuned:
  """Searches the file's SPACE for the best knobs, and re-runs these with fresh seeds."""
  import numpy as np

  from bigtrain import evaluation
  from bigtrain.checks import check_level
  from bigtrain.folders import check_folder
  from bigtrain.kinds import text
  from bigtrain.search import Search, choosing, read_space
  from bigtrain.search_picture import draw_slices
  from bigtrain.trials import Trials
  from bigtrain.verdict import lines

  if range_test and coordinates:
    raise ValueError('--range_test and --coordinates are two looks: ask for one at a time')
  if range_test:
    return _range(build, workdir)
  if coordinates:
    return _coordinates(build, workdir, coordinates)
  if trials < 1 or seeds < 2:
    raise ValueError(f'a search takes at least --trials=1 and --seeds=2, got {trials} and {seeds}')
  check_folder(workdir)
  check_level(level)
  space = read_space(build)
  judged = choosing(build, metric)
  try:
    import optuna
  except ImportError:
    raise ValueError('tune needs optuna: pip install optuna') from None
  del optuna
  runner = Trials(build, os.path.join(workdir, 'trials.jsonl'))
  search = Search(
    build, runner, space, metric=metric, higher=higher, sampler=sampler, pruner=pruner,
    storage=storage or os.path.join(workdir, 'search.journal'),
  )  # fmt: skip
  if search.reaped:
    print(f'Trials of dead workers, failed and to be replaced: {search.reaped}')
  search.run(trials)
  others = len(search.running())
  if others:
    print(f'Trials still with other workers: {others}. The last worker re-runs the best')
    return Tuned(None)

  best = search.best()
  knobs = search.knobs(best.params)
  shown = search.shown()
  figure = draw_slices(
    space, [search.knobs(t.params) for t, _ in shown], [value for _, value in shown],
    [t.state.name == 'PRUNED' for t, _ in shown],
    [t.number for t, _ in shown].index(best.number), metric,
  )  # fmt: skip
  figure.savefig(os.path.join(workdir, 'slices.png'), dpi=120)
  runs = {
    'best': [{**knobs, 'seed': _FRESH + index} for index in range(seeds)],
    'as it is': [{'seed': _FRESH + index} for index in range(seeds)],
  }
  found = runner.measure([*runs['best'], *runs['as it is']], [judged], stage='fresh seeds')
  scores = [results[judged][metric.partition('/')[2]] for results in found]
  values = {'best': scores[:seeds], 'as it is': scores[seeds:]}
  spans = {k: evaluation.t_interval(np.asarray(v), level=level) for k, v in values.items()}
  warnings = search.edges(knobs)
  flags = ''.join(f'--{knob}={text(value)}\n' for knob, value in sorted(knobs.items()))
  given = ''.join(f'--{knob}={text(build.knobs[knob])}\n' for knob in sorted(build.explicit))
  mean = float(np.mean(values['best']))
  about = (
    f'# The best of {len(search.counted())} trials of {build.name}; {metric} of {seeds} fresh '
    f'seeds: {mean:.6g}.\n'
  )
  path = os.path.join(workdir, 'best.txt')
  with open(path, 'w', encoding='utf-8') as file:
    file.write(about + given + flags)
  print(lines(
    ('knobs', f'{metric} in the search', f'mean of {seeds} fresh seeds', f'{level:.0%} interval'),
    [[name, f'{best.value:.5g}' if name == 'best' else '',
      f'{np.mean(values[name]):.5g}', '{:.5g} to {:.5g}'.format(*spans[name])] for name in values],
  ))  # fmt: skip
  for line in warnings:
    print(line)
  print(f'{flags}To use them: --flagfile={path}')
  return Tuned(knobs, values['best'], mean, spans['best'], warnings)


def _range(build: Build, workdir: str) -> Tuned:
  """Makes the range test, draws it, and says what it suggests."""
  from bigtrain.folders import check_folder
  from bigtrain.rising_rate import draw_range, peak_of, range_said, range_test

  check_folder(workdir)
  experiment = build()
  test, peak = range_test(experiment), peak_of(experiment)
  print(range_said(test, peak))
  os.makedirs(workdir, exist_ok=True)
  picture = os.path.join(workdir, 'range.png')
  draw_range(test).savefig(picture, dpi=120)
  print(f'The picture: {picture}')
  if test.suggestion is None or 'lr' not in build.knobs:
    return Tuned(None)
  # Where the peak is not the knob itself, it is taken to be in proportion.
  rate = float(f'{build.knobs["lr"] * test.suggestion / peak:.2g}')
  print(f'To try it: --lr={rate:g}')
  return Tuned({'lr': rate})


def _coordinates(build: Build, workdir: str, words: tuple[str, ...]) -> Tuned:
  """Makes the coordinate check, draws it, and says which layers grow with width."""
  from bigtrain.coordinates import (
    check_coordinates,
    draw_coordinates,
    powers,
    read_widths,
    verdict,
  )
  from bigtrain.folders import check_folder
  from bigtrain.verdict import lines

  check_folder(workdir)
  knob, widths = read_widths(build, words)
  found = check_coordinates(build, knob, widths)
  grown = powers(found)
  shown = [[n, *('' if x != x else f'{x:+.2f}' for x in ends)] for n, ends in grown.items()]
  print(lines(('layer', f'power of {knob} at the start', 'of its change after 4 steps'), shown))
  os.makedirs(workdir, exist_ok=True)
  picture = os.path.join(workdir, 'coordinates.png')
  draw_coordinates(found, knob).savefig(picture, dpi=120)
  print(f'{verdict(grown)}\nThe picture: {picture}')
  return Tuned(None)
