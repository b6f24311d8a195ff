"""Batch statistics of averaged parameters, which no step of training has seen."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from bigtrain import compute
from bigtrain.state import bind

if TYPE_CHECKING:
  from bigtrain.program import Program
  from bigtrain.state import TrainState

_STATISTICS = 'batch_stats'


def refreshed(program: Program, state: TrainState, batches: int = 64) -> TrainState:
  """Returns the state with BatchNorm's running statistics taken anew (Izmailov et al. 2018, section
  3.2): the equal mean over the first batches of training data, of the averaged parameters.

  A state without such statistics is returned as it is.
  """
  if _STATISTICS not in state.model_state:
    return state
  experiment = program.experiment
  key = jax.random.key(experiment.seed)

  @jax.jit
  def seen(state: TrainState, batch: Any) -> Any:
    def after(value: float) -> Any:
      before = jax.tree.map(lambda x: jnp.full_like(x, value), state.model_state[_STATISTICS])
      model_state = {**state.model_state, _STATISTICS: before}
      apply, kept = bind(experiment, state.averaged, model_state, key)
      experiment.objective(apply, batch)
      return kept[_STATISTICS]

    # m 0 + (1 - m) x and m 1 + (1 - m) x: whatever the layer's momentum is, this gives x.
    def solve(zero: jax.Array, one: jax.Array) -> jax.Array:
      return zero / (1 - jnp.median(one - zero))

    return jax.tree.map(solve, after(0.0), after(1.0))

  sharding = compute.batch_sharding(program.mesh)
  iterator = experiment.data.iterator(jax.process_index(), jax.process_count())
  total, count = None, min(batches, experiment.steps)
  for batch in itertools.islice(iterator, count):
    with jax.set_mesh(program.mesh):
      found = seen(state, compute.place(batch, sharding))
    total = found if total is None else jax.tree.map(jnp.add, total, found)
  placed = jax.tree.map(
    lambda x, like: jax.device_put(x / count, like.sharding),
    total, state.model_state[_STATISTICS],
  )  # fmt: skip
  return dataclasses.replace(state, model_state={**state.model_state, _STATISTICS: placed})
