"""The range test of an experiment: a short run at a rising rate, and its picture."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from optax import contrib

from bigtrain.program import Program
from bigtrain.tuning.range_tests import RangeTest, has_exploded, read_range

if TYPE_CHECKING:
  from collections.abc import Callable, Iterator

  from matplotlib.figure import Figure

  from bigtrain.experiment import Experiment

_STEPS = 200  # At most.
_FEWEST = 20
_BELOW, _ABOVE = 1e-3, 1e2  # The ends of the range, in units of the experiment's own peak.
_OWN = {  # Optimisers whose updates aren't in proportion to a rate.
  contrib.ScheduleFreeState: 'schedule_free',
  contrib.ProdigyState: 'prodigy',
}


def peak_of(experiment: Experiment) -> float:
  """Returns the highest rate of an experiment's schedule.

  Raises:
    ValueError: It states none, or one that is 0.
  """
  if experiment.schedule is None:
    raise ValueError(
      'a range test takes an experiment that states its schedule: Experiment.schedule'
    )
  steps = np.unique(np.linspace(0, experiment.steps - 1, 1_000).astype(int))
  peak = max(float(experiment.schedule(step)) for step in steps)
  if not 0 < peak < np.inf:
    raise ValueError(f'the schedule has a highest rate of {peak:g}: it must be above 0')
  return peak


def range_test(experiment: Experiment) -> RangeTest:
  """Trains anew for up to 200 steps, at a rate from a thousandth of the schedule's peak to a
  hundred times it, and no further than where the loss explodes.

  What the optimiser does at a step of its own schedule is scaled to the rising rate, decay too.

  Raises:
    ValueError: The experiment is too short, states no schedule, or has an optimiser whose updates
      aren't in proportion to the rate.
  """
  peak, steps = peak_of(experiment), min(_STEPS, experiment.steps)
  if steps < _FEWEST:
    raise ValueError(f'a range test takes an experiment of {_FEWEST} steps at least, got {steps}')
  low, high = _BELOW * peak, _ABOVE * peak
  own: Any = experiment.schedule

  def rising(step: Any) -> Any:
    return low * (high / low) ** (step / (steps - 1))

  optimizer = scaled_to(experiment.optimizer, rising, own)
  test = Program(dataclasses.replace(
    experiment, optimizer=optimizer, schedule=rising, steps=steps, evals={}, ema=0.0,
    swa_start=None, norms=False, noise_scale=0,
  ))  # fmt: skip
  for node in jax.tree.leaves(test.shapes.opt_state, is_leaf=lambda x: type(x) in _OWN):
    if type(node) in _OWN:
      raise ValueError(f'{_OWN[type(node)]} chooses how far a step goes: it has no range test')
  losses: list[float] = []
  for loss in _losses(test):
    losses.append(loss)
    if has_exploded(losses):
      break
  rates = [float(rising(step)) for step in range(len(losses))]
  return read_range(rates, losses)


def _losses(program: Program) -> Iterator[float]:
  """Trains, and yields the loss of each step."""
  experiment = program.experiment
  iterator = experiment.data.iterator(jax.process_index(), jax.process_count())
  state, step = program.start(), 0
  while step < experiment.steps:
    count = min(program.per_dispatch, experiment.steps - step)
    state, means = program.run(state, program.place([next(iterator) for _ in range(count)]), count)
    loss = jax.device_get(means['loss'])
    yield from (np.atleast_1d(loss.total)[:count] / np.atleast_1d(loss.weight)[:count]).tolist()
    step += count


def scaled_to(
  optimizer: optax.GradientTransformation, wanted: Callable[[Any], Any], own: Callable[[Any], Any]
) -> optax.GradientTransformation:
  """Returns an optimiser whose steps are those of the `wanted` rate, in place of its `own`."""
  return optax.chain(optimizer, optax.scale_by_schedule(lambda step: wanted(step) / own(step)))


def draw_range(test: RangeTest) -> Figure:
  """Draws the loss by the rate, and what is suggested."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(6, 3.6), layout='constrained')
  panel = figure.subplots()
  panel.plot(test.rates, test.losses, '.', color='0.75', markersize=4, label='each step')
  panel.plot(test.rates, test.smooth, color='tab:blue', label='smoothed')
  if test.suggestion is not None:
    panel.axvline(
      test.suggestion, color='tab:red', linestyle='--', label=f'suggested: {test.suggestion:.2g}'
    )
  top = test.smooth[0] + 0.5 * (test.smooth[0] - test.smooth.min())
  panel.set_ylim(top=max(top, test.losses[: len(test.losses) // 4].max()))
  panel.set_xscale('log')
  panel.set_xlabel('learning rate, rising from step to step')
  panel.set_ylabel('training loss')
  panel.spines[['top', 'right']].set_visible(False)
  panel.legend(frameon=False)
  return figure


def range_said(test: RangeTest, peak: float) -> str:
  """Returns what a test says, for a person.

  Args:
    test: The curve, read.
    peak: Of the experiment's own schedule.
  """
  ends = f'{len(test.rates)} steps, at rates from {test.rates[0]:.2g} to {test.rates[-1]:.2g}'
  fell = f'The loss went from {test.smooth[0]:.4g} to {test.smooth.min():.4g} at {test.lowest:.2g}'
  if test.exploded is not None:
    then = f', and exploded at {test.exploded:.2g}'
  elif test.lowest == test.rates[-1]:
    then = ', and was still falling: the experiment is to be given a higher rate to begin from'
  else:
    then = ', and did not explode'
  lines = [f'{ends}. {fell}{then}.']
  if test.suggestion is None:
    lines.append('It never fell by more than its noise: there is nothing to suggest.')
  else:
    lines.append(
      f'A quarter of that, {test.suggestion:.2g}, is a first guess for the peak of a schedule (now '
      f'{peak:.2g}), good to a factor of 3 or so: `tune` without --range_test searches.'
    )
  return '\n'.join(lines)
