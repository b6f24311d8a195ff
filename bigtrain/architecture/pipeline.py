"""A stack of layers as a pipeline: its first layers on some devices, its next on others.

The batch is cut into microbatches. While one stage works on one of them, the stage before works on
the next (Huang et al. 2019). All stages are one array with a leading axis over the mesh's `stage`;
a step of the pipeline is one call over that axis, and moving on is a roll along it (Xu et al. 2021,
section 3.3), so that every other axis of the mesh keeps working within a stage.

With S stages and N microbatches S - 1 of N + S - 1 steps are idle: take N of several times S.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bigtrain.architecture.spreading import BATCH, axes_over, spread

STAGE = 'stage'


def stages(layers: int) -> int:
  """Returns how many stages the mesh at hand has for a stack of that many layers.

  Raises:
    ValueError: The layers do not divide into them.
  """
  mesh = jax.sharding.get_abstract_mesh()
  count = mesh.shape[STAGE] if STAGE in mesh.auto_axes else 1
  if layers % count:
    down, up = layers // count * count, -(-layers // count) * count
    raise ValueError(
      f'depth must divide by {count} pipeline stages, got {layers}: '
      f'use {f"{down} or " if down else ""}{up}, or another --mesh'
    )
  return count


def pipeline(
  layer: Callable[[Any, Any], Any], stack: Any, x: Any, *, microbatches: int | None = None
) -> Any:
  """Puts x through a stack of layers; stage by stage where the mesh at hand has several.

  Args:
    layer: Maps one layer's entry of the stack, and x, to the next x. It must treat examples one by
      one, for it sees a microbatch of them at a time.
    stack: A tree of arrays with a leading axis: one entry a layer.
    x: A tree of arrays with a leading axis of examples. What goes along unchanged (segments,
      positions) belongs to it.
    microbatches: None takes the most that are useful and divide the batch, up to four a stage.

  Returns:
    What `jax.lax.scan` over the layers gives.

  Raises:
    ValueError: Layers or examples do not divide.
  """
  leaves = jax.tree.leaves(stack)
  count = stages(len(leaves[0]))

  def run(stack: Any, x: Any) -> Any:
    return jax.lax.scan(lambda x, one: (layer(one, x), None), x, stack)[0]

  if count == 1:
    return run(stack, x)
  batch = len(jax.tree.leaves(x)[0])
  parts = microbatches or _useful(batch, count)
  if batch % parts:
    raise ValueError(f'a batch of {batch} does not divide into {parts} microbatches')

  # Example i goes to microbatch i % parts: each device keeps the rows that it has.
  waiting = jax.tree.map(lambda a: a.reshape(-1, parts, *a.shape[1:]).swapaxes(0, 1), x)
  waiting = _lay(waiting, (None, BATCH))
  staged = jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), stack)
  staged = _lay(staged, (STAGE,))
  work = jax.vmap(run, spmd_axis_name=STAGE)

  def step(carry: Any, index: jax.Array) -> Any:
    at_work, done = carry
    # The first stage takes the next microbatch; when there is none left, the last one again.
    fed = jnp.minimum(index, parts - 1)
    at_work = jax.tree.map(lambda now, all: now.at[0].set(all[fed]), at_work, waiting)
    at_work = _lay(work(staged, _lay(at_work, (STAGE, BATCH))), (STAGE, BATCH))
    # Too early, what comes out is written where the right one will be.
    out = jnp.maximum(index - count + 1, 0)
    done = jax.tree.map(lambda all, now: all.at[out].set(now[-1]), done, at_work)
    return (jax.tree.map(lambda a: jnp.roll(a, 1, axis=0), at_work), done), None

  # Copies of the first microbatch, not zeros, which a layer might not bear.
  start = jax.tree.map(lambda a: jnp.broadcast_to(a[0], (count, *a.shape[1:])), waiting)
  (_, done), _ = jax.lax.scan(step, (start, waiting), jnp.arange(parts + count - 1))
  return jax.tree.map(lambda a: a.swapaxes(0, 1).reshape(-1, *a.shape[2:]), done)


def _useful(batch: int, count: int) -> int:
  """Returns how many microbatches to make."""
  # A microbatch must still divide over the replicas, or they would repeat each other's work.
  mesh = jax.sharding.get_abstract_mesh()
  replicas = 1
  for axis in axes_over(batch, BATCH):
    replicas *= mesh.shape[axis]
  rows = batch // replicas
  return max(parts for parts in range(1, min(rows, 4 * count) + 1) if rows % parts == 0)


def _lay(tree: Any, axes: tuple[Any, ...]) -> Any:
  return jax.tree.map(lambda a: spread(a, axes), tree)
