"""Devices as a grid with named axes.

| axis | what lies along it |
| --- | --- |
| `data` | replicas, parameters copied; the one axis that crosses slices |
| `stage` | layers of a stack, as stages of a pipeline |
| `fsdp` | replicas, parameters sharded |
| `expert` | replicas, but for the experts of a mixture, which are sharded |
| `sequence` | positions of a sequence |
| `tensor` | heads and hidden units |

A mesh has all six; those not asked for have size 1 and cost nothing. A batch is split over `data`,
`fsdp` and `expert`, so the number of replicas is their product: outside the experts, which swap
tokens among themselves, `expert` is one more axis of data, or all but the experts would be computed
several times. The order is from the slowest network to the fastest.
"""

import collections
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ('data', 'stage', 'fsdp', 'expert', 'sequence', 'tensor')
BATCH_AXES = ('data', 'fsdp', 'expert')


def make_mesh(spec: str = '', batch: int = 0, devices: Sequence[Any] | None = None) -> Mesh:
  """Lays the devices out as a mesh.

  Devices of several slices (or of several hosts' GPUs, where JAX numbers those as slices) are laid
  out so that only `data` crosses from one slice to another.

  Args:
    spec: Sizes by axis, such as 'data:2,fsdp:4'; one may be -1 (what is left), an axis not named
      has size 1. Empty: every device on `fsdp`, and slices on `data`.
    batch: Global batch size, examples; 0 leaves it unchecked.
    devices: All devices of all hosts, unless given.

  Returns:
    A mesh with the axes of `AXES`.

  Raises:
    ValueError: The spec does not parse, or a size does not divide.
  """
  devices = list(jax.devices() if devices is None else devices)
  slices = _slices(devices)
  sizes = _parse(spec or f'data:{slices},fsdp:-1', len(devices))
  if sizes['data'] % slices:
    raise ValueError(
      f'--mesh: data must divide by {slices} slices, the network between which is slow, '
      f'got {sizes["data"]}: use data:{slices} or a multiple'
    )
  shape, types = tuple(sizes.values()), (AxisType.Auto,) * len(AXES)
  if slices > 1:
    across = (slices,) + (1,) * (len(AXES) - 1)
    within = (sizes['data'] // slices, *shape[1:])
    grid = mesh_utils.create_hybrid_device_mesh(within, across, devices)
    mesh = Mesh(grid, AXES, axis_types=types)
  else:
    mesh = jax.make_mesh(shape, AXES, axis_types=types, devices=devices)
  check_batch(batch, mesh)
  return mesh


def check_batch(batch: int, mesh: Mesh) -> None:
  """Raises ValueError where a batch of that many examples does not divide over the replicas."""
  replicas = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
  if batch % replicas:
    down, up = batch // replicas * replicas, -(-batch // replicas) * replicas
    raise ValueError(
      f'a batch of {batch} does not divide over {replicas} devices: '
      f'use a batch of {f"{down} or " if down else ""}{up}, or another --mesh'
    )


def describe(mesh: Mesh) -> str:
  """Returns the axes that hold more than one device, as `--mesh` takes them: 'data:2,fsdp:4'."""
  parts = [f'{axis}:{size}' for axis, size in mesh.shape.items() if size > 1]
  return ','.join(parts) or 'one device'


def _slices(devices: Sequence[Any]) -> int:
  counts = collections.Counter(getattr(device, 'slice_index', 0) for device in devices)
  if len(set(counts.values())) > 1:
    raise ValueError(
      f'the slices have {sorted(counts.values())} devices: take slices of one size, '
      f'for a mesh is a full grid'
    )
  return len(counts)


def _parse(spec: str, count: int) -> dict[str, int]:
  sizes = dict.fromkeys(AXES, 1)
  named = set()
  for part in spec.split(','):
    axis, _, size = part.strip().partition(':')
    if axis not in sizes or not re.fullmatch(r'-1|[1-9]\d*', size, re.ASCII):
      raise ValueError(
        f'--mesh: {part.strip()!r} is not AXIS:SIZE with an axis of {", ".join(AXES)} '
        f'and a size of at least 1, or -1 for what is left'
      )
    if axis in named:
      raise ValueError(f'--mesh={spec} names {axis} twice: give each axis one size')
    named.add(axis)
    sizes[axis] = int(size)
  fixed = math.prod(size for size in sizes.values() if size > 0)
  if list(sizes.values()).count(-1) > 1:
    raise ValueError(f'--mesh={spec}: only one size may be -1')
  if count % fixed or (-1 not in sizes.values() and fixed != count):
    raise ValueError(
      f'--mesh={spec} asks for {fixed} devices, and there are {count}: '
      f'let one size be -1, or choose sizes whose product is {count}'
    )
  return {axis: count // fixed if size == -1 else size for axis, size in sizes.items()}


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
  """Splits examples over all replicas; `leading` axes (steps of a dispatch) come before them."""
  return NamedSharding(mesh, PartitionSpec(*[None] * leading, BATCH_AXES))


def place(batch: dict[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
  """Puts this host's rows of a batch on its devices; returns global arrays."""
  if jax.process_count() == 1:
    return jax.device_put(batch, sharding)
  return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
