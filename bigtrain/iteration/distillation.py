"""A student and its teachers in one model, and where the teachers' parameters come from.

The teachers lie beside the student under names of their own, so that `trainable=STUDENT` leaves
them as they are: they cost a forward pass, but no gradient and no optimiser state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import flax.traverse_util as traverse
import jax
import jax.numpy as jnp

from bigtrain.iteration.checkpoints import Checkpoints
from bigtrain.iteration.warm_starts import warm_start

STUDENT = r'(student|projections_\d+)/.*'  # For `Experiment.trainable`.


class Taught(nn.Module):
  """A student; called as such, it is the student alone. The teachers are asked by `teach`.

  Attributes:
    student: What is trained.
    teachers: Of any families, whose outputs have the student's shape.
    projections: Widths of the teacher's hidden states, one for each that the student imitates.
  """

  student: nn.Module
  teachers: Sequence[nn.Module]
  projections: Sequence[int] = ()

  def setup(self):
    """Makes the projections; the other parts are given.

    Raises:
      ValueError: Two of these are one object, which would share its parameters.
    """
    parts = (self.student, *self.teachers)
    if len({id(part) for part in parts}) < len(parts):
      raise ValueError('student and teachers must be modules of their own: give model.clone()')
    self.projected = [nn.Dense(D, name=f'projections_{i}') for i, D in enumerate(self.projections)]

  def __call__(self, *args: Any, train: bool, **kwargs: Any) -> Any:
    """Maps what the student maps."""
    return self.student(*args, train=train, **kwargs)

  def alone(self) -> tuple[nn.Module, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Returns the student, and what picks its variables out of these."""

    def own(variables: dict[str, Any]) -> dict[str, Any]:
      return {name: tree['student'] for name, tree in variables.items() if 'student' in tree}

    return self.student, own

  def teach(self, *args: Any, train: bool, **kwargs: Any) -> jax.Array:
    """Returns the mean of the teachers' logits: the geometric mean of their probabilities.

    They are never in training mode, and no gradient reaches them.
    """
    del train
    logits = [teacher(*args, train=False, **kwargs) for teacher in self.teachers]
    return jax.lax.stop_gradient(jnp.mean(jnp.stack(logits), axis=0))

  def project(self, hidden: jax.Array, *, index: int, train: bool) -> jax.Array:
    """Maps the student's hidden states [..., D] to the width of the teacher's."""
    del train
    return self.projected[index](hidden)


def teachers_from(*runs: str, step: int = 0) -> Callable[[Any, Any], tuple[Any, Any]]:
  """Returns what `Experiment.start` takes: teacher i of a `Taught` gets the model of run i.

  Args:
    runs: Workdirs.
    step: Of their checkpoints; 0 is the newest.

  Raises (when training starts):
    ValueError: A run does not hold the teacher's model.
  """

  def start(params: Any, model_state: Any) -> tuple[Any, Any]:
    for i, run in enumerate(runs):
      arrays = Checkpoints(run).arrays(step)
      own: dict[str, Any] = traverse.flatten_dict(params.get(f'teachers_{i}', {}), sep='/')
      missing = [path for path in own if path not in arrays]
      if missing or not own:
        raise ValueError(
          f'{run} is no run of teacher {i}, which has {missing[0]}: check the model and the workdir'
          if own
          else f'there is no teacher {i} for {run}: give as many teachers as runs'
        )
      place = rf'(\w+/)?teachers_{i}/'
      params, model_state = warm_start(
        lambda arrays=arrays: arrays,
        rename=[(rf'{place}(.*)', r'\1\2')],
        keep=rf'(?!{place}).*',
      )(params, model_state)
    return params, model_state

  return start
