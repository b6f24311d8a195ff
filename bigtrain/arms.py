"""Arms of a study: what each lever changes, at which rate it is judged, and for how long it trains.

An arm's knobs are the lever's, the rate that suits it, and the duration at which it costs as much
as the experiment without it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bigtrain.build import Build
from bigtrain.trials import Trials

ROOMS = ('data', 'compute', 'architecture', 'tuning', 'evaluation', 'iteration')
BASE = 'as it is'
DURATIONS = ('steps', 'epochs')  # Knobs that make a run longer, the first that there is.
_EXTENSIONS = 3  # Of a grid of rates whose best is its edge.
_EARLY = 0.3  # The share of a run after which rates are compared for the first time.
_NOTICED = 0.05  # A cost that differs by less is the same.


@dataclasses.dataclass(frozen=True)
class Arm:
  """One setting of a study.

  Attributes:
    name: The lever's.
    knobs: What it changes.
    own_rate: Whether the lever states the rate itself, which is then not tuned.
    cost: Operations of a run, in units of the experiment's without levers.
  """

  name: str
  knobs: Mapping[str, Any]
  own_rate: bool = False
  cost: float = 1.0


def read_levers(build: Build, words: Sequence[str]) -> dict[str, dict[str, Any]]:
  """Returns the file's LEVERS and those of a command line, each written `knob=value knob=value`.

  Raises:
    ValueError: No lever at all, a lever that names no room or no knob.
  """
  levers = build.table('LEVERS')
  for name, knobs in levers.items():
    if name.split(':')[0] not in ROOMS:
      raise ValueError(f'the lever {name!r} names no room: begin it with one of {", ".join(ROOMS)}')
    build.check(knobs, f'the lever {name!r}')
  for line in words:
    knobs = {}
    for word in line.split():
      knob, equals, value = word.partition('=')
      if not equals:
        raise ValueError(f'--levers={line}: write a lever as knob=value, with spaces between more')
      build.check({knob: build.knobs.get(knob)}, f'--levers={line}')
      try:
        knobs[knob] = build.read(knob, value)
      except ValueError as error:
        raise ValueError(f'--levers={line}: {knob}={value}: {error}') from None
    levers[line] = knobs
  if not levers:
    raise ValueError(
      f'{build.name} has no LEVERS: add LEVERS = {{"tuning: a third of the rate": dict(lr=1e-3)}} '
      'to its file, or give --levers=knob=value'
    )
  return levers


def make_arms(trials: Trials, levers: Mapping[str, Mapping[str, Any]], rate: str) -> list[Arm]:
  """Returns the arm of no lever, then one a lever, each as long as it costs the same.

  A lever that sets the duration itself is about cost, and keeps it.
  """
  build = trials.build
  base = trials.cost({})
  arms = [Arm(BASE, {})]
  duration = next((name for name in DURATIONS if name in build.knobs), None)
  for name, knobs in levers.items():
    knobs, cost = dict(knobs), trials.cost(knobs) / base
    if duration and duration not in knobs and abs(cost - 1) > _NOTICED:
      length = build.knobs[duration] / cost
      whole = isinstance(build.knobs[duration], int)
      knobs[duration] = max(1, round(length)) if whole else length
      cost = trials.cost(knobs) / base
    arms.append(Arm(name, knobs, rate in knobs, cost))
  return arms


@dataclasses.dataclass(frozen=True)
class Screening:
  """What the first runs say.

  Attributes:
    scores: The mean score of each arm at its best rate, lower is better.
    rates: The best rate of each arm; none where there is no rate.
    written: The mean score of the experiment as it is written, at its own rate.
    edges: Arms whose best rate is still the edge of what was tried.
  """

  scores: Mapping[str, float]
  rates: Mapping[str, float]
  written: float
  edges: Sequence[str]


def run_screening(
  trials: Trials, arms: Sequence[Arm], *, rate: str, spread: float, seeds: Sequence[int], score: Any
) -> Screening:
  """Finds each arm's rate: a grid, of which the worse part is pruned early.

  Args:
    trials: Trains.
    arms: The first is that of no lever.
    rate: The rate's knob; '' for none.
    spread: The factor between neighbours of the grid.
    seeds: Of the runs, the same for all.
    score: From the runs of one setting (a list of knobs), at a share of their steps, to a number a
      run, lower is better: `score(runs, share)`.
  """
  own = trials.build.knobs.get(rate)
  tried: dict[str, dict[float | None, float]] = {arm.name: {} for arm in arms}

  def grid(arm: Arm) -> list[float | None]:
    if not own or arm.own_rate:
      return [None]
    return [round_rate(own * spread**power) for power in (-1, 0, 1)]

  def runs(pairs: Sequence[tuple[Arm, float | None]]) -> list[dict[str, Any]]:
    return [
      {**arm.knobs, **({} if value is None else {rate: value}), 'seed': seed}
      for arm, value in pairs
      for seed in seeds
    ]

  def means(pairs: Sequence[tuple[Arm, float | None]], share: float) -> list[float]:
    values = score(runs(pairs), share)
    size = len(seeds)
    return [sum(values[i * size : (i + 1) * size]) / size for i in range(len(pairs))]

  todo = [(arm, value) for arm in arms for value in grid(arm)]
  keys = [(arm.name, value) for arm, value in todo]
  early = dict(zip(keys, means(todo, _EARLY), strict=True))
  kept = []
  for arm, value in todo:
    others = sorted(early[arm.name, other] for other in grid(arm))
    # The worst of three goes, but the experiment as it is written is needed whole.
    if early[arm.name, value] <= others[len(others) // 2] or (arm.name == BASE and value == own):
      kept.append((arm, value))
  trials.forget(runs([pair for pair in todo if pair not in kept]))
  for _ in range(_EXTENSIONS + 1):
    for (arm, value), mean in zip(kept, means(kept, 1.0), strict=True):
      tried[arm.name][value] = mean
    kept = []
    for arm in arms:
      known = {**dict.fromkeys(grid(arm), math.inf), **tried[arm.name]}
      best = min(tried[arm.name], key=lambda value: tried[arm.name][value])
      if best is None or not math.isfinite(tried[arm.name][best]):
        continue
      numbers = [value for value in known if value is not None]
      if best == min(numbers):
        kept.append((arm, round_rate(best / spread)))
      elif best == max(numbers):
        kept.append((arm, round_rate(best * spread)))
    if not kept:
      break
  best = {name: min(values, key=lambda v: values[v]) for name, values in tried.items()}
  return Screening(
    scores={name: tried[name][value] for name, value in best.items()},
    rates={name: value for name, value in best.items() if value is not None},
    written=tried[BASE][round_rate(own) if own else None],
    edges=[arm.name for arm, _ in kept],
  )


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A lever after the screening.

  Attributes:
    name: Its name.
    on: The knobs of a run with it.
    off: The knobs of a run without it.
    with_it: Score of the runs with it, lower is better.
    without: Score of the runs without.
  """

  name: str
  on: Mapping[str, Any]
  off: Mapping[str, Any]
  with_it: float
  without: float

  @property
  def difference(self) -> float:
    """The score with the lever less that without."""
    return self.with_it - self.without


def candidates(
  screening: Screening, arms: Sequence[Arm], rate: str, own: float | None
) -> list[Candidate]:
  """Returns every lever, that of the largest difference first.

  Both sides have the rate that suits them. A lever that states the rate is compared with the
  experiment as it is written; and where tuning found another rate for that, this is a lever too.
  """
  best = {rate: screening.rates[BASE]} if BASE in screening.rates else {}
  found = []
  for arm in arms[1:]:
    score = screening.scores[arm.name]
    if arm.own_rate:
      found.append(Candidate(arm.name, arm.knobs, {}, score, screening.written))
    else:
      tuned = {rate: screening.rates[arm.name]} if arm.name in screening.rates else {}
      on = {**arm.knobs, **tuned}
      found.append(Candidate(arm.name, on, best, score, screening.scores[BASE]))
  if best and own and best[rate] != round_rate(own):
    name = f'tuning: {rate} {best[rate]:g} instead of {own:g}'
    found.append(Candidate(name, best, {}, screening.scores[BASE], screening.written))
  return sorted(found, key=lambda c: -abs(c.difference) if c.difference == c.difference else 0)


def round_rate(value: float) -> float:
  """Returns a rate with 4 digits, as a person would write it."""
  return float(f'{value:.4g}')
