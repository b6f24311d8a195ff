"""Devices as a grid with named axes.

Axes: `data` (replicas, parameters copied) and `fsdp` (replicas, parameters sharded). A batch is
split over both, so the number of replicas is their product.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ('data', 'fsdp')


def make_mesh(spec: str = '', batch: int = 0, devices: Sequence[Any] | None = None) -> Mesh:
  """Lays the devices out as a mesh.

  Args:
    spec: Sizes by axis, such as 'data:2,fsdp:4'; one may be -1 (what is left), an axis not named
      has size 1. Empty: every device on `fsdp`.
    batch: Global batch size, examples; 0 leaves it unchecked.
    devices: All devices of all hosts, unless given.

  Returns:
    A mesh with the axes of `AXES`.

  Raises:
    ValueError: The spec does not parse, or a size does not divide.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = _parse(spec or 'fsdp:-1', len(devices))
  mesh = jax.make_mesh(
    sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices[: math.prod(sizes)]
  )
  check_batch(batch, mesh)
  return mesh


def check_batch(batch: int, mesh: Mesh) -> None:
  """Raises ValueError where a batch of that many examples does not divide over the replicas."""
  replicas = math.prod(mesh.shape[axis] for axis in AXES)
  if batch % replicas:
    down, up = batch // replicas * replicas, -(-batch // replicas) * replicas
    raise ValueError(
      f'a batch of {batch} does not divide over {replicas} devices: '
      f'use a batch of {f"{down} or " if down else ""}{up}, or another --mesh'
    )


def _parse(spec: str, count: int) -> tuple[int, ...]:
  sizes = dict.fromkeys(AXES, 1)
  for part in spec.split(','):
    axis, _, size = part.strip().partition(':')
    if axis not in sizes or not size.lstrip('-').isdigit() or int(size) == 0 or int(size) < -1:
      raise ValueError(
        f'--mesh: {part.strip()!r} is not AXIS:SIZE with an axis of {", ".join(AXES)} '
        f'and a size of at least 1, or -1 for what is left'
      )
    sizes[axis] = int(size)
  fixed = math.prod(size for size in sizes.values() if size > 0)
  if list(sizes.values()).count(-1) > 1:
    raise ValueError(f'--mesh={spec}: only one size may be -1')
  if count % fixed or (-1 not in sizes.values() and fixed != count):
    raise ValueError(
      f'--mesh={spec} asks for {fixed} devices, and there are {count}: '
      f'let one size be -1, or choose sizes whose product is {count}'
    )
  return tuple(count // fixed if size == -1 else size for size in sizes.values())


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
  """Splits examples over all replicas; `leading` axes (steps of a dispatch) come before them."""
  return NamedSharding(mesh, PartitionSpec(*[None] * leading, AXES))


def place(batch: dict[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
  """Puts this host's rows of a batch on its devices; returns global arrays."""
  if jax.process_count() == 1:
    return jax.device_put(batch, sharding)
  return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
