"""What is read of a person's data before anything is compiled, so that a bad record costs no run.

One batch of everything: training data first, then each evaluation. What stands further back is
found when its batch comes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import jax

from bigtrain import compute
from bigtrain.program import eval_step
from bigtrain.state import shapes_of

if TYPE_CHECKING:
  from bigtrain.program import Program


def check_training(program: Program) -> None:
  """Raises ValueError where the first batch of training data cannot be made."""
  _first_batch(program.experiment.data)


def check_evals(program: Program, names: Iterable[str]) -> None:
  """Raises ValueError where an evaluation's first batch cannot be made, or suits no objective."""
  experiment = program.experiment
  known = _kinds(experiment.data)
  for name in names:
    evaluation = experiment.evals[name]
    try:
      compute.check_batch(evaluation.data.batch, program.mesh)
      _first_batch(evaluation.data)
      if _kinds(evaluation.data) != known:
        # Tracing takes a tenth of a second, and what suits training was traced already.
        step = functools.partial(eval_step, experiment, evaluation)
        batch = shapes_of(evaluation.data)
        jax.eval_shape(step, program.shapes.params, program.shapes.model_state, batch)
    except ValueError as error:
      raise ValueError(f'evaluation {name!r}: {error}') from error


def check_save_every(save_every: int) -> None:
  """Raises ValueError for no number of steps."""
  if save_every < 0:
    raise ValueError(
      f'--save_every counts steps and must be at least 1, or 0 for about three minutes, '
      f'got {save_every}'
    )


def check_level(level: float) -> None:
  """Raises ValueError for no level of an interval."""
  if not 0 < level < 1:
    raise ValueError(f'--level must lie between 0 and 1, got {level:g}: use 0.95')


def check_space(program: Program, workdir: str) -> None:
  """Raises ValueError where a local disk has no room for checkpoints: two, the newest and its heir.

  A run that goes on has the first of them already. Other places, such as gs://, have no end.
  """
  if '://' in workdir:
    return
  folder = pathlib.Path(workdir).absolute()
  begun = any((folder / 'checkpoints').glob('*'))
  there = next(path for path in (folder, *folder.parents) if path.exists())
  one = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(program.shapes))
  needed, free = one if begun else 2 * one, shutil.disk_usage(there).free
  if free < needed:
    raise ValueError(
      f'--workdir={workdir}: {free / 1e9:,.3f} GB are free, and {"the next" if begun else "two"} '
      f'checkpoint{"" if begun else "s"} of {one / 1e9:,.3f} GB take more: free some, or choose a '
      '--workdir on another disk'
    )


def _first_batch(data: Any) -> None:
  if getattr(data, 'workers', 0):
    data = dataclasses.replace(data, workers=0)  # Processes take longer to start than a batch.
  next(data.iterator(jax.process_index(), jax.process_count()))


def _kinds(data: Any) -> dict[str, Any]:
  """Returns shape and type of each value of an example; 'weight' suits every objective."""
  return {k: (shape[1:], kind) for k, (shape, kind) in data.spec.items() if k != 'weight'}
