"""A ladder of small runs: sizes, how long each is trained, and what came of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bigtrain.arms import DURATIONS
from bigtrain.build import Build
from bigtrain.kinds import text
from bigtrain.trials import Trials

_LEVEL = 0.99  # Of its highest: a rate that falls below this has begun to fall.


@dataclasses.dataclass(frozen=True)
class Rung:
  """One run of the ladder, or one that its law is asked about.

  Attributes:
    name: What was asked for, such as 'width=32'.
    knobs: Of the experiment, where they differ from the command line's.
    parameters: Of the model, all of them.
    examples: That the whole run sees.
    flops: Of the whole run.
    steps: Of the whole run.
  """

  name: str
  knobs: Mapping[str, Any]
  parameters: int
  examples: int
  flops: float
  steps: int


def read_sizes(build: Build, words: Sequence[str], flag: str) -> dict[str, dict[str, Any]]:
  """Returns sizes by name, from words such as `width=32 depth=2`.

  A word without a knob is a value of the knob of the word before: `width=32`, `64`.

  Raises:
    ValueError: A knob that isn't there, a value that it can't have, or a size given twice.
  """
  sizes: dict[str, dict[str, Any]] = {}
  last = ''
  for line in words:
    knobs = {}
    for word in line.split():
      knob, equals, value = word.partition('=')
      if not equals:
        knob, value = last, word
      if not knob:
        raise ValueError(f'{flag}={line}: write a size as knob=value, with spaces between more')
      last = knob
      build.check({knob: build.knobs.get(knob)}, f'{flag}={line}')
      knobs[knob] = build.read(knob, value)
    name = ' '.join(f'{knob}={text(value)}' for knob, value in knobs.items())
    if not knobs or name in sizes:
      raise ValueError(f'{flag}: {name or "an empty size"} is given twice or says nothing')
    if 'seed' in knobs:
      raise ValueError(f'{flag}={line}: a seed is no size: --seeds says how many there are')
    sizes[name] = knobs
  return sizes


def rung(trials: Trials, name: str, knobs: Mapping[str, Any]) -> Rung:
  """Returns what a run with these knobs is; it is traced, not trained."""
  experiment = trials.build(**knobs)
  examples = experiment.steps * experiment.data.batch
  flops, parameters = trials.cost(knobs), trials.parameters(knobs)
  return Rung(name, knobs, parameters, examples, flops, experiment.steps)


def rungs(
  trials: Trials, sizes: Mapping[str, Mapping[str, Any]], *,
  examples: Sequence[float] = (), ratios: Sequence[float] = (), budgets: Sequence[float] = (),
) -> list[Rung]:  # fmt: skip
  """Returns a run for each size and length.

  Args:
    trials: Of the experiment, which needs a knob `steps` or `epochs`.
    sizes: By name, their knobs.
    examples: Lengths, as examples seen.
    ratios: Lengths, as examples for each parameter.
    budgets: Lengths, as operations of the whole run: of each the same for all sizes (IsoFLOP).

  Raises:
    ValueError: Not one of the three is given, or the experiment has no knob of duration.
  """
  given = [kind for kind in (examples, ratios, budgets) if kind]
  if len(given) != 1 or min(given[0]) <= 0:
    raise ValueError('give lengths by one of --examples, --ratios and --budgets, all above 0')
  build = trials.build
  duration = next((name for name in DURATIONS if name in build.knobs), None)
  if duration is None:
    raise ValueError(f'{build.name} has no knob called {" or ".join(DURATIONS)} to set lengths by')
  found = []
  for name, knobs in sizes.items():
    if duration in knobs:
      raise ValueError(f'--sizes={name}: {duration} is set by the lengths: leave it out')
    whole = rung(trials, name, knobs)
    for length in given[0]:
      wanted = length * (
        1 if examples else whole.parameters if ratios else whole.examples / whole.flops
      )
      value = build.knobs[duration] * wanted / whole.examples
      value = max(1, round(value)) if isinstance(build.knobs[duration], int) else value
      found.append(rung(trials, name, {**knobs, duration: value}))
      if not math.isclose(found[-1].examples, wanted, rel_tol=0.2):
        raise ValueError(
          f'{name}: {wanted:.4g} examples take {wanted / build(**knobs).data.batch:.3g} steps, '
          f'which {duration}={text(value)} is not: give longer runs'
        )
  return found


def check_courses(build: Build, runs: Sequence[Rung], first: float) -> None:
  """Raises ValueError where points before the end of a run are no ends of shorter runs.

  They are where the rate doesn't fall after the first of them, a share of the run.
  """
  for one in runs:
    schedule = build(**one.knobs).schedule
    if schedule is None:
      raise ValueError(
        '--points takes a stated schedule, to see whether the rate falls: give --points=1'
      )
    steps = sorted({round(first * one.steps) + (one.steps - 1) * i // 8 for i in range(9)})
    rates = [float(schedule(step)) for step in steps if step < one.steps]
    if rates and rates[-1] < _LEVEL * max(rates):
      raise ValueError(
        f'{one.name}: the rate falls within the run, so that its course is not that of shorter '
        'runs: give --points=1, or a schedule that stays, such as tuning.warmup_constant'
      )
