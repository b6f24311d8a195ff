"""What a run has trained: the variables of its model, without the optimiser."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flax.traverse_util as traverse
import jax

from bigtrain.iteration import Checkpoints
from bigtrain.state import init, shapes_of

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def variables(experiment: Experiment, workdir: str, step: int = 0) -> dict[str, Any]:
  """Returns {'params': ..., 'batch_stats': ...} of a checkpoint, averages where they were kept.

  Args:
    experiment: What the run in the workdir trained.
    workdir: The run.
    step: Of the checkpoint; 0 is the newest.

  Raises:
    ValueError: There is no such checkpoint, or it does not fit the experiment's model.
  """
  checkpoints = Checkpoints(workdir)
  arrays = checkpoints.arrays(step)
  checkpoints.close()
  state = jax.eval_shape(functools.partial(init, experiment), shapes_of(experiment.data))
  wanted: dict[str, Any] = traverse.flatten_dict(
    {'params': state.params, **state.model_state}, sep='/'
  )
  found = {}
  for path, leaf in wanted.items():
    array = arrays.pop(path.removeprefix('params/'), None)
    if array is None or array.shape != leaf.shape:
      got = 'does not hold it' if array is None else f'holds {list(array.shape)}'
      raise ValueError(
        f'{path} has shape {list(leaf.shape)} in this experiment, and the checkpoint of {workdir} '
        f'{got}: name the run that this experiment trained'
      )
    found[path] = array
  if arrays:
    raise ValueError(
      f'the checkpoint of {workdir} holds {next(iter(arrays))}, which this experiment does not '
      'have: name the run that this experiment trained'
    )
  return traverse.unflatten_dict(found, sep='/')


def alone(model: Any) -> tuple[Any, Callable[[dict[str, Any]], dict[str, Any]]]:
  """Returns the model that others can use, and what makes its variables of the trained one's.

  Of adapters it is the model that they stand beside, into which they are added; of a student with
  teachers the student. Any other model is itself.
  """
  unwrap = getattr(model, 'alone', None)
  return (model, lambda variables: variables) if unwrap is None else unwrap()
