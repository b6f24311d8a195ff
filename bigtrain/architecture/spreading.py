"""Where activations lie on the mesh that surrounds a model (`jax.set_mesh`).

XLA derives most of it from the parameters and the batch, and guesses wrong between the blocks of a
deep stack: said at their borders, it moves a tenth of the bytes. Without a mesh nothing happens; an
axis that the mesh lacks, that has one device, or that does not divide the array is left out.

The axes' names are those of `bigtrain.compute.meshes`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.sharding import PartitionSpec

BATCH = ('data', 'fsdp', 'expert')  # What a batch's examples are split over.
SEQUENCE = 'sequence'


def axes_over(size: int, axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
  """Returns those of the axes that hold several devices, where they divide a size together."""
  mesh = jax.sharding.get_abstract_mesh()
  names = (axes,) if isinstance(axes, str) else axes or ()
  # Within `jax.shard_map` an axis is taken already, and the array is the device's own part.
  free = tuple(name for name in names if name in mesh.auto_axes and mesh.shape[name] > 1)
  return free if size % math.prod(mesh.shape[name] for name in free) == 0 else ()


def layout(shape: tuple[int, ...], axes: tuple[Any, ...]) -> PartitionSpec:
  """Returns the PartitionSpec of an array under the mesh at hand.

  Args:
    shape: Of the array.
    axes: For each of its first axes the mesh axis, or axes, or None.
  """
  parts = [axes_over(size, names) for size, names in zip(shape, axes, strict=False)]
  return PartitionSpec(*[part or None for part in parts])


def spread(x: jax.Array, axes: tuple[Any, ...] = (BATCH, SEQUENCE)) -> jax.Array:
  """Lays an activation over the mesh: examples over the replicas, positions over `sequence`.

  Args:
    x: [B, L, ...] by default.
    axes: For each of its first axes the mesh axis, or axes, or None; the others stay whole.

  Returns:
    x, which is the same numbers.
  """
  spec = layout(x.shape, axes)
  if not any(spec):
    return x
  return jax.lax.with_sharding_constraint(x, spec)


def platform() -> str:
  """Returns what the program is compiled for: 'cpu', 'gpu' or 'tpu', which need not be here."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return jax.default_backend() if device is None else device.platform
