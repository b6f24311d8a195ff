"""Sanity gates: what must hold before a result of an experiment means anything.

Each is cheap and answers one question: does the loss begin where theory says, can the model learn
one batch by heart, do training and evaluation share records.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bigtrain.experiment import Eval
from bigtrain.leaks import find_leaks
from bigtrain.state import bind

if TYPE_CHECKING:
  from bigtrain.cohort import Cohort, Member
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


def first_loss(member: Member, cohort: Cohort) -> Gate:
  """Compares the loss before training with that of a uniform guess among the classes."""
  name = 'the first loss is that of a uniform guess'
  loss = cohort.evaluate([member], 'objective')[0]['loss']
  if not math.isfinite(loss):
    return Gate(name, False, f'it is {loss}', fatal=True)
  experiment, batch = member.experiment, member.experiment.data[0]
  if experiment.start is not None:
    return Gate(name, None, 'the run begins with what another has learned')
  classes = []

  def spied(params, model_state, batch):
    apply, _ = bind(experiment, params, model_state)

    def spy(*args, **kwargs):
      output = apply(*args, **kwargs)
      if hasattr(output, 'shape') and output.ndim:
        classes.append(output.shape[-1])
      return output

    return experiment.objective(spy, batch)['loss']

  jax.eval_shape(spied, member.state.params, member.state.model_state, batch)
  labels = batch.get('label', batch.get('targets'))
  if not classes or labels is None or not np.issubdtype(labels.dtype, np.integer):
    return Gate(name, None, f'it is {loss:.3f}; no classes are known, so none is expected')
  theory = math.log(max(classes[-1], 2))
  passed = _AROUND[0] <= loss / theory <= _AROUND[1]
  return Gate(name, passed, f'{loss:.3f}, a uniform guess of {classes[-1]} costs {theory:.3f}')


def one_batch(member: Member, cohort: Cohort, steps: int = 200) -> Gate:
  """Trains on one batch alone, and asks whether it was learned by heart."""
  # By an evaluation, if there is one: without smoothing, dropout and the like.
  way = 'evaluation' if 'evaluation' in member.experiment.evals else 'objective'
  steps = min(steps, member.experiment.steps)
  before = cohort.evaluate([member], way)[0]['loss']
  cohort.train([member], steps)
  after = cohort.evaluate([member], way)[0]['loss']
  said = f'its loss goes from {before:.3f} to {after:.3f} in {steps} steps'
  return Gate('one batch is learned by heart', after < _LEARNED * before, said)


@dataclasses.dataclass(frozen=True)
class _Repeated:
  """The first batch, some times or without end."""

  batches: Any
  first: Any
  times: int | None = None

  def __getattr__(self, name: str) -> Any:
    return getattr(self.batches, name)

  def __getitem__(self, _: int) -> Any:
    return self.first

  @property
  def spec(self) -> Any:
    """Shapes and types of the batch."""
    return {key: (value.shape, value.dtype) for key, value in self.first.items()}

  def iterator(self, *_: int) -> Iterator[Any]:
    """Returns the same batch again and again."""
    endless = itertools.repeat(self.first)
    return endless if self.times is None else itertools.islice(endless, self.times)


def on_one_batch(experiment: Experiment) -> Experiment:
  """Returns the experiment on its first batch alone, which is also what it is evaluated on."""
  first = experiment.data[0]
  held = {'weight': np.ones(experiment.data.batch, np.float32), **first}
  repeated: Any = _Repeated(experiment.data, first)
  once: Any = _Repeated(experiment.data, held, 1)
  objectives = [e.objective for e in experiment.evals.values() if e.objective]
  evals = {'objective': Eval(once, experiment.objective)}
  if objectives:
    evals['evaluation'] = Eval(once, objectives[0])
  return dataclasses.replace(experiment, data=repeated, evals=evals)


def ask(experiment: Experiment, cohort: Cohort) -> Iterator[Gate]:
  """Yields the gates; none behind one that is fatal and fails."""
  yield (found := leak(experiment))
  if not found.passed:
    return
  member = cohort.member(on_one_batch(experiment))
  cohort.begin([member])
  yield (found := first_loss(member, cohort))
  if found.fatal:
    return
  yield one_batch(member, cohort)
