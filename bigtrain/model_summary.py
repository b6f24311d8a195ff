"""The summary of what is built: parameters and how they lie on the devices, the run, its cost.

Read off a Program's shapes; nothing is compiled and no array is made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bigtrain import compute
from bigtrain.charts import curves
from bigtrain.page import Html, join, note, table, tag

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment
  from bigtrain.program import Program

_POINTS = 160  # Of the schedule's curve.


def bytes_per_device(tree: Any) -> int:
  """Returns the bytes that a tree of shapes with shardings takes on each device."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def parameter_rows(program: Program) -> list[tuple[str, str, str, str, int, int]]:
  """Returns (path, shape, type, PartitionSpec, numbers, bytes per device) of each parameter."""
  return [
    (
      jax.tree_util.keystr(path, simple=True, separator='/'),
      str(list(leaf.shape)),
      str(leaf.dtype),
      str(leaf.sharding.spec),
      math.prod(leaf.shape),
      bytes_per_device(leaf),
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(program.shapes.params)
  ]


def learning_rates(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
  """Returns steps, int64 [points], from the first to the last, and the learning rate of each.

  Raises:
    ValueError: the experiment states no schedule.
  """
  if experiment.schedule is None:
    raise ValueError('the experiment states no schedule: give Experiment(schedule=...)')
  last = experiment.steps - 1
  steps = np.unique(np.linspace(0, last, min(_POINTS, last + 1)).round().astype(np.int64))
  # One by one: a schedule of a person's own may be plain Python with an `if`.
  return steps, np.array([float(experiment.schedule(int(step))) for step in steps])


def facts(program: Program) -> dict[str, Any]:
  """Returns what a person should know before paying for the run, by name."""
  experiment, mesh, shapes = program.experiment, program.mesh, program.shapes
  device, peak = mesh.devices.flat[0], compute.peak_flops(mesh.devices.flat[0])
  batch = program.batch_shapes()
  examples = experiment.steps * experiment.data.batch
  found = {
    'model': type(experiment.model).__name__,
    'parameters': program.parameters,
    'steps': experiment.steps,
    'batch': experiment.data.batch,
    'microbatches': experiment.accumulate,
    'epochs': examples / experiment.data.size,
    'examples in all': examples,
    'FLOPs a step': _short(program.flops, 'FLOP'),
    'FLOPs in all': _short(program.flops * experiment.steps, 'FLOP'),
    'mesh': compute.describe(mesh),
    'devices': f'{mesh.size} of {len(jax.devices())} {device.device_kind}',
    'hosts': jax.process_count(),
    'steps a dispatch': program.per_dispatch,
    'EMA': experiment.ema,
    'seed': experiment.seed,
  }
  memory = {
    'parameters': shapes.params, 'optimiser': shapes.opt_state, 'average': shapes.ema,
    'model state': shapes.model_state, 'batch': batch,
  }  # fmt: skip
  sizes = {name: bytes_per_device(tree) for name, tree in memory.items()}
  found['bytes a device'] = (
    _short(sum(sizes.values()), 'B')
    + ': '
    + ', '.join(f'{name} {_short(size, "B")}' for name, size in sizes.items() if size)
  )
  if peak:
    hours = program.flops * experiment.steps / (peak * mesh.size) / 3600
    found['hours at 40 % of peak'] = hours / 0.4
  return found


def model_sections(program: Program, found: dict[str, Any]) -> dict[str, Html]:
  """Returns the sections of a page by title; `found` is what `facts` returned."""
  experiment = program.experiment
  rows = parameter_rows(program)
  total = ('in all', '', '', '', sum(row[4] for row in rows), sum(row[5] for row in rows))
  sections = {
    'Run': join([
      table([], found.items()),
      note('FLOPs: of products and convolutions, forward and backward, without rematerialisation. '
           'Bytes: without activations and gradients, which depend on the compiler.'),
    ]),
    'Model': join([
      table(['parameter', 'shape', 'type', 'partition', 'numbers', 'bytes a device'],
            [*rows, total]),
      tag('h3', 'As it is written'),
      tag('pre', experiment.model),
    ]),
  }  # fmt: skip
  if experiment.schedule is not None:
    steps, rates = learning_rates(experiment)
    best = int(rates.argmax())
    said = f'{rates[0]:.3g} at step 0, {rates[best]:.3g} at step {steps[best]:,}, '
    said += f'{rates[-1]:.3g} at step {steps[-1]:,}; {len(steps)} steps are drawn.'
    sections['Learning rate'] = join([curves({'rate': (steps, rates)}, zero=True), note(said)])
  return sections


def _short(number: float, unit: str) -> str:
  """Returns 1.235 GFLOP for 1_234_567_890."""
  power = min(int(math.log10(max(number, 1))) // 3, 6)
  return f'{number / 1000**power:.4g} {" kMGTPE"[power].strip()}{unit}'
