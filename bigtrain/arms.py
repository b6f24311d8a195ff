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
# When rates are compared: after which share of a run, and how many of an arm's go on.
LOOKS = ((0.1, 4), (0.25, 2), (0.5, 1))
_REACH = 2  # Rates that are tried on either side of the experiment's own.
_EXTENSIONS = 3  # Of a grid of rates whose best is its edge.
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
    tried: The rates of each arm that were looked at.
  """

  scores: Mapping[str, float]
  rates: Mapping[str, float]
  written: float
  edges: Sequence[str]
  tried: Mapping[str, Sequence[float | None]]


def run_screening(
  trials: Trials, arms: Sequence[Arm], *, rate: str, spread: float, seeds: Sequence[int], score: Any
) -> Screening:
  """Finds each arm's rate: a grid of which most is given up early, by halving (`LOOKS`).

  At the first look an arm whose best rate is the edge of its grid gets rates beyond it.

  Args:
    trials: Trains.
    arms: The first is that of no lever.
    rate: The rate's knob; '' for none.
    spread: The factor between neighbours of the grid.
    seeds: Of the runs, the same for all.
    score: From the runs of one setting (a list of knobs), at a share of their steps, to a number a
      run, lower is better: `score(runs, share)`.
  """
  own = round_rate(trials.build.knobs[rate]) if rate else None
  powers = range(-_REACH, _REACH + 1)
  grid = [None] if own is None else [round_rate(own * spread**power) for power in powers]
  alive: dict[str, list[float | None]] = {
    arm.name: [None] if arm.own_rate else list(grid) for arm in arms
  }
  found: dict[str, dict[float | None, float]] = {arm.name: {} for arm in arms}

  def runs(arm: Arm, value: float | None) -> list[dict[str, Any]]:
    chosen = {} if value is None else {rate: value}
    return [{**arm.knobs, **chosen, 'seed': seed} for seed in seeds]

  def measure(todo: Sequence[tuple[Arm, float | None]], share: float) -> None:
    scores = iter(score([run for pair in todo for run in runs(*pair)], share))
    for arm, value in todo:
      found[arm.name][value] = sum(next(scores) for _ in seeds) / len(seeds)

  def best(arm: Arm) -> float | None:
    return min(alive[arm.name], key=lambda value: found[arm.name][value])

  def beyond(arm: Arm) -> float | None:
    """The next rate, where the best is the edge and means something."""
    value, tried = best(arm), [value for value in alive[arm.name] if value is not None]
    if value is None or not math.isfinite(found[arm.name][value]):
      return None
    if value in (min(tried), max(tried)):
      return round_rate(value / spread if value == min(tried) else value * spread)
    return None

  edges = []
  for look, (share, keep) in enumerate((*LOOKS, (1.0, 1))):
    measure([(arm, value) for arm in arms for value in alive[arm.name]], share)
    if look == 0 and own is not None:
      for _ in range(_EXTENSIONS):
        more = [(arm, value) for arm in arms if (value := beyond(arm)) is not None]
        measure(more, share)
        for arm, value in more:
          alive[arm.name].append(value)
      edges = [arm.name for arm in arms if beyond(arm) is not None]
    for arm in arms:
      kept = sorted(alive[arm.name], key=lambda value: found[arm.name][value])[:keep]
      if arm.name == BASE and share < 1 and own not in kept:
        kept.append(own)  # The experiment as it is written is needed whole.
      for value in set(alive[arm.name]) - set(kept):
        trials.forget(runs(arm, value))
      alive[arm.name] = kept
  return Screening(
    scores={arm.name: found[arm.name][best(arm)] for arm in arms},
    rates={arm.name: value for arm in arms if (value := best(arm)) is not None},
    written=found[BASE][own],
    edges=edges,
    tried={name: list(values) for name, values in found.items()},
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
    tuned: Whether each side has a rate that was found for it.
    repair: Whether it is the rate that was found itself, which counts only where it helps.
  """

  name: str
  on: Mapping[str, Any]
  off: Mapping[str, Any]
  with_it: float
  without: float
  tuned: bool = False
  repair: bool = False

  @property
  def difference(self) -> float:
    """The score with the lever less that without."""
    return self.with_it - self.without

  def apart(self, rate: str) -> bool:
    """Whether its sides were given different rates."""
    return self.tuned and self.on.get(rate) != self.off.get(rate)

  def same_rate(self, rate: str, *, better: bool) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Returns both sides at the rate of the better one.

    A rate is chosen by few seeds, and may be chosen badly; a lever that matters does so at the
    winner's rate too.

    Args:
      rate: The rate's knob.
      better: Whether the side with the lever is the better one.
    """
    if better:
      return self.on, {**self.off, rate: self.on[rate]}
    return {**self.on, rate: self.off[rate]}, self.off


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
      found.append(Candidate(arm.name, on, best, score, screening.scores[BASE], bool(best)))
  if best and own and best[rate] != round_rate(own):
    name = f'tuning: {rate} {best[rate]:g} instead of {own:g}'
    found.append(Candidate(name, best, {}, screening.scores[BASE], screening.written, repair=True))
  return sorted(found, key=lambda c: -abs(c.difference) if c.difference == c.difference else 0)


def round_rate(value: float) -> float:
  """Returns a rate with 4 digits, as a person would write it."""
  return float(f'{value:.4g}')
