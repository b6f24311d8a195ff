"""The gradient noise scale of a run: measured at some of its steps, and read from its journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from bigtrain.evaluation import Mean
from bigtrain.growing import Growing, columns
from bigtrain.tuning import batch_costs, critical_batch, noise_terms

if TYPE_CHECKING:
  from bigtrain.experiment import Batch, Experiment

_PARTS = (8, 4, 2)  # Of a batch, or of a microbatch: the first that divides it.


def parts_of(experiment: Experiment) -> int:
  """Returns into how many parts of equal size the batch is cut.

  Raises:
    ValueError: It can't be cut.
  """
  share = experiment.data.batch // experiment.accumulate
  for parts in _PARTS:
    if share % parts == 0:
      return parts * experiment.accumulate
  raise ValueError(
    f'the noise scale compares halves of a batch, and {share} examples have none: choose an even '
    'batch'
  )


def noise_means(
  experiment: Experiment,
  gradient: Callable[[Batch, jax.Array], tuple[Any, Any]],
  batch: Batch,
  step: jax.Array,
  key: jax.Array,
) -> dict[str, Mean]:
  """Compares the gradients of parts of a batch with that of all, at every so many steps.

  A step that is measured takes one more forward and backward pass; the others take none, and
  nothing that is trained changes. Noise of dropout counts as noise.

  Args:
    experiment: Whose `noise_scale` says how often.
    gradient: Of the summed loss: from examples and a key to (gradient, (Means, what else)).
    batch: The step's.
    step: Its number.
    key: Its randomness.

  Returns:
    'noise_variance' and 'noise_square', tr(Sigma) and |G|^2 of one example; with weight 0 where
    nothing was measured.
  """
  parts = parts_of(experiment)

  def measure() -> tuple[jax.Array, jax.Array]:
    # Example i goes to part i % parts: each device keeps rows that it has.
    cut = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(carry, numbered):
      (index, part), (total, weights, squares) = numbered, carry
      grads, (means, _) = gradient(part, jax.random.fold_in(key, index))
      grads = jax.tree.map(lambda g: g.astype(jnp.float32), grads)
      weight = means['loss'].weight
      square = optax.tree.norm(grads, squared=True) / jnp.square(jnp.where(weight == 0, 1, weight))
      return (jax.tree.map(jnp.add, total, grads), weights + weight, squares + square), None

    one = jax.tree.map(lambda x: x[0], cut)
    shapes, _ = jax.eval_shape(gradient, one, key)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), shapes)
    first = (zeros, jnp.zeros(()), jnp.zeros(()))
    (total, weights, squares), _ = jax.lax.scan(add, first, (jnp.arange(parts), cut))
    whole = optax.tree.norm(total, squared=True) / jnp.square(jnp.where(weights == 0, 1, weights))
    batch_size = experiment.data.batch
    return noise_terms(squares / parts, whole, batch_size / parts, batch_size)

  measured = step % experiment.noise_scale == 0
  variance, square = jax.lax.cond(measured, measure, lambda: (jnp.zeros(()), jnp.zeros(())))
  weight = measured.astype(jnp.float32)
  return {'noise_variance': Mean(variance, weight), 'noise_square': Mean(square, weight)}


def noise_said(workdir: str, batch: int) -> str:
  """Returns what a run's journal says of its batch size, for a person; '' where nothing is known.

  Args:
    workdir: The run's.
    batch: Examples of its steps.
  """
  _, content = Growing(epath.Path(workdir) / 'metrics.jsonl').read()
  found = columns(content) if content else {}
  if 'train/noise_square' not in found:
    return ''
  terms = np.stack([found['train/noise_variance'], found['train/noise_square']])
  terms = terms[:, np.isfinite(terms).all(axis=0)]
  if terms.shape[1] < 2:
    return ''
  halves = np.array_split(terms, 2, axis=1)
  said = [f'{scale:.3g}' for scale in (critical_batch(*half) for half in halves)]
  early, late = ('too large to tell' if scale == 'inf' else scale for scale in said)
  whole = critical_batch(*terms)
  line = (
    f'Gradient noise scale, in examples: {early} in the first half of the run, {late} in the last'
  )
  if not 0 < whole < np.inf:
    return f'{line}. More measurements would tell more'
  steps, examples = batch_costs(batch, whole)
  return (
    f'{line}, {whole:.3g} over all. At that a batch of {batch} takes about {steps:.2g} times the '
    f'fewest steps and {examples:.2g} times the fewest examples'
  )
