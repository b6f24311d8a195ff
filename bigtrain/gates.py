"""Sanity gates: what must hold before a result of an experiment means anything.

Each is cheap and answers one question: does the loss begin where theory says, can the model learn
one batch by heart, do training and evaluation share records.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bigtrain.cohort import Cohort
from bigtrain.leaks import find_leaks
from bigtrain.program import eval_step
from bigtrain.state import bind, init, started

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment

_LEARNED = 0.5  # The loss of a batch that was learned by heart, in units of the first loss.
_AROUND = 0.7, 1.6  # The first loss, in units of what a uniform guess costs.


@dataclasses.dataclass(frozen=True)
class Gate:
  """The answer to one question.

  Attributes:
    name: What was asked.
    passed: Whether it holds; None where it could not be asked.
    said: The figures, in a sentence.
    fatal: Whether no result means anything where it fails.
  """

  name: str
  passed: bool | None
  said: str
  fatal: bool = False

  @property
  def outcome(self) -> str:
    """The answer in a word."""
    return {True: 'yes', False: 'NO', None: 'unknown'}[self.passed]


def leak(experiment: Experiment) -> Gate:
  """Compares training records with those of each evaluation."""
  found = find_leaks(experiment)
  # A few may be equal by chance, blank pictures say.
  passed = all(each.found < 0.01 * each.compared for each in found)
  said = '; '.join(map(str, found)) or 'none was found'
  return Gate('no record of an evaluation is trained on', passed, said, fatal=True)


def first_loss(experiment: Experiment) -> Gate:
  """Compares the loss before training with that of a uniform guess among the classes."""
  name = 'the first loss is that of a uniform guess'
  if experiment.start is not None:
    return Gate(name, None, 'the run begins with what another has learned')
  batch = experiment.data[0]
  state = jax.jit(functools.partial(init, experiment))(batch)
  classes = []

  def measure(params, model_state, batch):
    apply, _ = bind(experiment, params, model_state)

    def spy(*args, **kwargs):
      output = apply(*args, **kwargs)
      if hasattr(output, 'shape') and output.ndim:
        classes.append(output.shape[-1])
      return output

    return experiment.objective(spy, batch)['loss'].value

  loss = float(jax.jit(measure)(state.params, state.model_state, batch))
  if not math.isfinite(loss):
    return Gate(name, False, f'it is {loss}', fatal=True)
  labels = batch.get('label', batch.get('targets'))
  if not classes or labels is None or not np.issubdtype(labels.dtype, np.integer):
    return Gate(name, None, f'it is {loss:.3f}; no classes are known, so none is expected')
  theory = math.log(max(classes[-1], 2))
  passed = _AROUND[0] <= loss / theory <= _AROUND[1]
  return Gate(name, passed, f'{loss:.3f}, a uniform guess of {classes[-1]} costs {theory:.3f}')


@dataclasses.dataclass(frozen=True)
class _Repeated:
  """One batch without end."""

  batches: Any
  first: Any

  def __getattr__(self, name: str) -> Any:
    return getattr(self.batches, name)

  def iterator(self, *_: int) -> Iterator[Any]:
    """Returns the same batch again and again."""
    while True:
      yield self.first


def one_batch(experiment: Experiment, cohort: Cohort, steps: int = 200) -> Gate:
  """Trains on one batch alone, and asks whether it was learned by heart."""
  name = 'one batch is learned by heart'
  first = experiment.data[0]
  steps = min(steps, experiment.steps)
  repeated: Any = _Repeated(experiment.data, first)
  alone = dataclasses.replace(experiment, data=repeated, evals={})
  member = cohort.member(alone)
  cohort.train([member], steps)
  evals = [e for e in experiment.evals.values() if e.objective]
  if evals:  # Without smoothing, dropout and the like, where an evaluation says how.
    weight = np.ones(experiment.data.batch, np.float32)
    evaluation = dataclasses.replace(evals[0], evaluator=None)
    step = jax.jit(functools.partial(eval_step, alone, evaluation))
    state = started(alone, jax.jit(functools.partial(init, alone))(first))
    held = {'weight': weight, **first}
    before, after = (
      float(step(s.params, s.model_state, held)[0]['loss'].value) for s in (state, member.state)
    )
  else:
    before, after = member.losses[0], member.losses[-1]
  said = f'its loss goes from {before:.3f} to {after:.3f} in {steps} steps'
  return Gate(name, bool(after < _LEARNED * before), said)
