"""An experiment compiled for the devices at hand, or for others.

One compiled step serves `train`, `compile` and the benchmarks. Everything is compiled ahead of the
first call and for fixed shapes, so nothing can be recompiled behind the loop's back.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from bigtrain import compute
from bigtrain.evaluation import Items, Mean, itemise, report_items
from bigtrain.goodput import Goodput
from bigtrain.journal import Meter
from bigtrain.state import TrainState, begin, bind, init, shapes_of
from bigtrain.train import train_step, train_steps

if TYPE_CHECKING:
  from bigtrain.experiment import Batch, Eval, Experiment


class Collected(NamedTuple):
  """What an evaluation is told from, of N examples that are no padding.

  Attributes:
    means: The objective's.
    table: The evaluator's, of predictions.
    items: What each example adds to the Means.
    numbers: Of each row among the records, [N].
  """

  means: dict[str, Mean]
  table: dict[str, np.ndarray]
  items: Items
  numbers: np.ndarray

  def metrics(self, made: Eval, cluster: np.ndarray | None = None) -> dict[str, float]:
    """Returns every metric, with 'NAME_low' and 'NAME_high' where there is an interval of 95 %.

    Args:
      made: The evaluation.
      cluster: What examples share, [N], where they are not drawn one by one.
    """
    found = report_items(self.means, self.items, cluster)
    if made.evaluator is not None:
      shared = {} if cluster is None else {'cluster': cluster}
      found |= made.evaluator.report({**self.table, **shared})
    return found

  def only(self, rows: np.ndarray) -> Collected:
    """Returns the part of some examples, [N] booleans, with the Means that are known of it."""
    means = {name: type(mean)(*self.items[name][rows].sum(axis=0, dtype=np.float64))
             for name, mean in self.means.items() if name in self.items}  # fmt: skip
    table, items, numbers = jax.tree.map(lambda x: x[rows], (self.table, self.items, self.numbers))
    return Collected(means, table, items, numbers)


class Program:
  """An experiment compiled for the devices at hand, or for `devices` that need not be here.

  Attributes:
    example: A batch, as shapes and types.
    mesh: The devices, as `--mesh` lays them out.
    shapes: A TrainState of shapes, types and shardings.
    parameters: How many numbers the model learns.
    flops: Floating-point operations of a step, over all devices, without rematerialisation.
    per_dispatch: Steps that one call of `run` may take.
    goodput: What wall time went into since this was made.
    profile: Traces some of the steps taken here; off, unless a caller sets it.
  """

  def __init__(self, experiment: Experiment, mesh: str = '', devices: Sequence[Any] | None = None):
    self.goodput = Goodput()
    self.profile = compute.Profile('', '')
    self._taken = 0
    if devices is None:
      compute.start()
    self.experiment = experiment
    self.example = shapes_of(experiment.data)
    trace = jax.make_jaxpr(functools.partial(init, experiment), return_shape=True)
    forward, shapes = trace(self.example)
    # The backward pass computes two products for each one of the forward pass.
    self.flops = 3 * compute.count_flops(forward.jaxpr)
    convolutions = compute.has_convolutions(forward.jaxpr)
    batch = experiment.data.batch // experiment.accumulate
    if devices is None and not mesh:
      devices = compute.useful_devices(batch, self.flops, convolutions)
    self.mesh = compute.make_mesh(mesh, batch, devices)
    self._replicated = compute.replicate(self.mesh, jax.ShapeDtypeStruct((), jnp.int32))
    shardings = (experiment.partition or compute.fsdp)(self.mesh, shapes)
    self.shapes = jax.tree.map(
      lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
      shapes,
      shardings,
    )
    self.parameters = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes.params))
    platform = self.mesh.devices.flat[0].platform
    self.per_dispatch = compute.steps_per_dispatch(self.parameters, platform, convolutions)
    self._evals: dict[str, Any] = {}

  def init(self) -> TrainState:
    """Returns the state before the first step, laid out over the mesh."""
    example = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self.example)
    shardings = jax.tree.map(lambda x: x.sharding, self.shapes)
    options = compute.options_to_run_once(self.mesh.devices.flat[0].platform)
    compiled = functools.partial(jax.jit, out_shardings=shardings, compiler_options=options)
    state = compiled(lambda: init(self.experiment, example))()
    if self.experiment.start is None:
      return state
    params, model_state = self.experiment.start(state.params, state.model_state)
    return compiled(functools.partial(begin, self.experiment))(params, model_state)

  def batch_shapes(self, *lead: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns a batch as it lies on the mesh, as shapes; `lead` are axes in front of it."""
    sharding = compute.batch_sharding(self.mesh, leading=len(lead))
    return {
      key: jax.ShapeDtypeStruct((*lead, *x.shape), x.dtype, sharding=sharding)
      for key, x in self.example.items()
    }

  def lower(self) -> Any:
    """Returns the training step, traced and lowered for its devices, as JAX's `Lowered`."""
    stacked = self.per_dispatch > 1
    batch = self.batch_shapes(*[self.per_dispatch] * stacked)
    count = jax.ShapeDtypeStruct((), jnp.int32, sharding=self._replicated)
    step = functools.partial(train_steps if stacked else train_step, self.experiment)
    step = compute.from_host(step, self.shapes)
    jitted = jax.jit(
      step,
      out_shardings=(jax.tree.map(lambda x: x.sharding, self.shapes), self._replicated),
      donate_argnums=0,
    )
    with jax.set_mesh(self.mesh):  # For what spreads itself over the mesh: activations, Muon.
      return jitted.lower(self.shapes, batch, *([count] if stacked else []))

  @functools.cached_property
  def _step(self) -> Any:
    return self.lower().compile(compute.compiler_options(self.mesh.devices.flat[0]))

  def compile(self) -> None:
    """Compiles the training step now, rather than at the first `run`."""
    logging.info('Compiling a training step')
    with self.goodput.spending('compile'):
      _ = self._step

  def start(self) -> TrainState:
    """Returns `init()`, and compiles the step: XLA works on one while Python traces the other."""
    with ThreadPoolExecutor(1) as side:
      state = side.submit(self.init)
      self.compile()
      return state.result()

  def place(self, batches: list[dict[str, np.ndarray]]) -> Batch:
    """Stacks and places this host's rows of up to `per_dispatch` batches on the mesh, for `run`."""
    if self.per_dispatch == 1:
      return compute.place(batches[0], compute.batch_sharding(self.mesh))
    full = [*batches, *batches[-1:] * (self.per_dispatch - len(batches))]
    stacked = {key: np.stack([batch[key] for batch in full]) for key in full[0]}
    return compute.place(stacked, compute.batch_sharding(self.mesh, leading=1))

  def run(
    self, state: TrainState, batches: Batch, count: int
  ) -> tuple[TrainState, dict[str, Mean]]:
    """Takes `count` steps, at most `per_dispatch`; returns before the device is done.

    Args:
      state: Donated: use the one that is returned.
      batches: As `place` gives them.
      count: How many of them to take.

    Returns:
      The new state, and Means: stacked by step where `per_dispatch` is more than 1.
    """
    self.goodput.started()
    self.profile.at(self._taken)
    self._taken += count
    if self.per_dispatch == 1:
      return self._step(state, batches)
    # Placed, for device_put would first compare it among hosts, which waits for all of them.
    placed = compute.place({'count': np.array(count, np.int32)}, self._replicated)
    return self._step(state, batches, placed['count'])

  def meter(self) -> Meter:
    """Returns a meter that knows a step's cost, and the chips' peak where it is published."""
    peak = compute.peak_flops(self.mesh.devices.flat[0])
    batch = self.experiment.data.batch
    return Meter(batch, self.flops, peak * self.mesh.size if peak else None, self.goodput)

  def evaluate(self, name: str, state: TrainState) -> dict[str, float]:
    """Returns the metrics of one of the experiment's evaluations, over all of its data."""
    return self.collect(name, state).metrics(self.experiment.evals[name])

  def collect(self, name: str, state: TrainState) -> Collected:
    """Returns what one of the experiment's evaluations is told from, over all of its data."""
    evaluation = self.experiment.evals[name]
    if name not in self._evals:
      step = functools.partial(eval_step, self.experiment, evaluation)
      self._evals[name] = jax.jit(step, out_shardings=self._replicated)
    sharding = compute.batch_sharding(self.mesh)
    total: dict[str, Mean] = {}
    rows: list[Any] = []  # Of table and items.
    numbers: list[np.ndarray] = []
    waiting = None  # The batch before: fetched while the device works on this one.
    batches = evaluation.data.iterator(jax.process_index(), jax.process_count())
    for batch in itertools.chain(batches, [None]):
      if waiting is not None:
        means, columns, weight = waiting
        total = _add(total, {key: mean.host() for key, mean in means.items()})
        real = np.asarray(jax.device_get(weight)) > 0
        numbers.append(evaluation.data.batch * len(rows) + np.flatnonzero(real))
        rows.append(jax.tree.map(lambda column, real=real: column[real], jax.device_get(columns)))
      if batch is not None:
        placed = compute.place(batch, sharding)
        with jax.set_mesh(self.mesh):
          waiting = self._evals[name](state.averaged, state.model_state, placed)
    table, items = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
    return Collected(total, table, items, np.concatenate(numbers))


def eval_step(
  experiment: Experiment, evaluation: Eval, params: Any, model_state: Any, batch: Batch
) -> tuple[dict[str, Mean], tuple[dict[str, jax.Array], dict[str, jax.Array]], jax.Array]:
  """Returns a batch's Means; its rows of the table of predictions, and of what examples add to the
  Means; and the weight of each row.
  """
  apply, _ = bind(experiment, params, model_state)
  means, items = itemise(evaluation.objective, apply, batch) if evaluation.objective else ({}, {})
  table = dict(evaluation.evaluator.predict(apply, batch)) if evaluation.evaluator else {}
  return means, (table, items), batch['weight']


def _add(a: dict[str, Mean], b: dict[str, Mean]) -> dict[str, Mean]:
  return {key: a[key] + b[key] for key in b} if a else b
