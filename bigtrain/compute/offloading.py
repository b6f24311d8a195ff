"""State that stays in the host's memory between its uses."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from bigtrain.compute.partitions import fsdp

_HOST = 'pinned_host'


def offloaded(partition: Any = fsdp) -> Any:
  """Returns a partition that keeps the optimiser's state in the host's memory.

  It comes to the device for the update alone: for Adam that frees two thirds of the bytes that
  float32 training holds between steps, and costs their way over the bus and back each step.

  Args:
    partition: How arrays are laid out otherwise.

  Returns:
    A partition. It raises ValueError where the device cannot address pinned host memory.
  """

  def wrapped(mesh: Mesh, tree: Any) -> Any:
    device = mesh.devices.flat[0]
    kinds = sorted(memory.kind for memory in device.addressable_memories())
    if _HOST not in kinds:
      raise ValueError(
        f'offloaded: {device.device_kind} has no {_HOST} memory, only {", ".join(kinds)}: '
        'leave offloaded out'
      )
    laid = partition(mesh, tree)
    pinned = jax.tree.map(lambda s: s.with_memory_kind(_HOST), laid.opt_state)
    return laid.replace(opt_state=pinned)

  return wrapped


def from_host(step: Callable[..., Any], shapes: Any) -> Callable[..., Any]:
  """Returns a step that first fetches what of its state lies in the host's memory.

  Where it goes afterwards is decided by the step's `out_shardings`.

  Args:
    step: Takes the state, and more.
    shapes: Of the state, with shardings. Where none is in the host's memory, the step is returned
      as it is.
  """
  kinds = jax.tree.map(lambda x: x.sharding.memory_kind, shapes)
  if _HOST not in jax.tree.leaves(kinds):
    return step
  near = jax.tree.map(lambda x: x.sharding.with_memory_kind('device'), shapes)

  def fetching(state: Any, *rest: Any) -> Any:
    return step(jax.tree.map(jax.device_put, state, near), *rest)

  return fetching
