"""What an experiment runs (start, step, evaluations), as traces that can be compared."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from bigtrain import compute
from bigtrain.lifting import Trace
from bigtrain.program import eval_step
from bigtrain.state import init, shapes_of
from bigtrain.train import train_step

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


class Traces:
  """What an experiment runs, as traces: functions of the seed and of arrays.

  Attributes:
    flops: Floating-point operations of a step.
    parameters: How many numbers the model learns.
    convolutions: Whether it has any, which XLA's CPU backend runs badly under vmap.
    kind: The same for experiments that one compilation may serve.
  """

  def __init__(self, experiment: Experiment):
    self.model = experiment.model
    example = shapes_of(experiment.data)
    seed = jax.ShapeDtypeStruct((), jnp.int32)

    def begin(seed, batch):
      return init(dataclasses.replace(experiment, seed=seed), batch)

    def step(seed, state, batch):
      return train_step(dataclasses.replace(experiment, seed=seed), state, batch)

    forward, state = jax.make_jaxpr(begin, return_shape=True)(seed, example)
    self.flops = 3 * compute.count_flops(forward.jaxpr)
    self.parameters = sum(math.prod(x.shape) for x in jax.tree.leaves(state.params))
    self.convolutions = compute.has_convolutions(forward.jaxpr)
    self.parts = {
      'init': Trace(begin, seed, example),
      'step': Trace(step, seed, state, example),
    }
    for name, evaluation in experiment.evals.items():

      def measure(params, model_state, batch, evaluation=evaluation):
        means, (table, _), weight = eval_step(experiment, evaluation, params, model_state, batch)
        return means, table, weight  # Intervals are not asked for by the dozen.

      batch = shapes_of(evaluation.data)
      self.parts[f'eval {name}'] = Trace(measure, state.averaged, state.model_state, batch)
    self.kind = tuple((name, trace.structure) for name, trace in self.parts.items())
