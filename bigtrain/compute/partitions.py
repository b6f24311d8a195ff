"""Partitions: functions from a mesh and a tree of shapes to a tree of shardings."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def replicate(mesh: Mesh, tree: Any) -> Any:
  """Every device holds every array whole: data parallel."""
  return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), tree)


def fsdp(mesh: Mesh, tree: Any, min_size: int = 2**20) -> Any:
  """Shards each large array along its largest axis that divides.

  ZeRO stage 3 (Rajbhandari et al., 2020).

  Optimiser state has the shapes of the parameters, so it is laid out with them. XLA gathers an
  array where it is used and scatters its gradient.

  Args:
    mesh: With an axis named `fsdp`.
    tree: Of anything with a shape.
    min_size: Elements. A smaller array stays whole: gathering it costs more than it saves.
  """
  parts = mesh.shape['fsdp']

  def spec(leaf) -> NamedSharding:
    axes = [axis for axis, size in enumerate(leaf.shape) if size % parts == 0]
    if leaf.size < min_size or parts == 1 or not axes:
      return NamedSharding(mesh, PartitionSpec())
    axis = max(axes, key=lambda axis: leaf.shape[axis])
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, 'fsdp'))

  return jax.tree.map(spec, tree)
