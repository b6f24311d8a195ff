"""Devices that are not here: TPU slices to compile for."""

import importlib.util
import os
import re
from typing import Any

from jax.experimental import topologies

_KINDS = ('v4', 'v5e', 'v5p', 'v6e', 'tpu7x')
_DIMENSIONS = {'v4': 3, 'v5e': 2, 'v5p': 3, 'v6e': 2, 'tpu7x': 3}
# Without these libtpu asks the network what machine this is, or refuses a second process.
_ENVIRONMENT = {'TPU_SKIP_MDS_QUERY': '1', 'ALLOW_MULTIPLE_LIBTPU_LOAD': '1'}


def topology_devices(topology: str, slices: int = 1) -> list[Any]:
  """Returns the devices of TPU slices that need not be here, for compiling.

  Args:
    topology: Kind and size of a slice, such as 'v5e:16x16' or 'v5p:4x4x4'.
    slices: How many of them, joined by the data center's network.

  Raises:
    ValueError: The topology does not parse, libtpu knows none such, or is not installed.
  """
  kind, _, size = topology.partition(':')
  if kind not in _KINDS or not re.fullmatch(r'[1-9]\d*(x[1-9]\d*){1,2}', size):
    raise ValueError(
      f'--topology={topology} is not KIND:SIZE: give one of {", ".join(_KINDS)} and the chips '
      f'along each axis, such as v5e:4x4 or v5p:4x4x4'
    )
  sizes = [int(axis) for axis in size.split('x')]
  if len(sizes) != _DIMENSIONS[kind]:
    raise ValueError(
      f'--topology={topology}: a slice of {kind} has {_DIMENSIONS[kind]} axes, got {len(sizes)}'
    )
  if slices < 1:
    raise ValueError(f'--slices must be at least 1, got {slices}')
  if importlib.util.find_spec('libtpu') is None:
    raise ValueError(
      f"--topology={topology} needs the TPU's compiler, libtpu: pip install 'jax[tpu]' "
      f'(Linux on x86), or leave --topology out to compile for the devices here'
    )
  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  bounds = tuple(min(2, axis) for axis in sizes[:2])
  try:
    found = topologies.get_topology_desc(
      platform='tpu',
      topology_name=topology,
      chip_config_name='megacore' if kind == 'v4' else 'default',
      chips_per_host_bounds=(*bounds, 1),
      num_slices=slices,
    )
  except RuntimeError as error:
    line = str(error).strip().split('\n')[0]
    raise ValueError(f'--topology={topology}: libtpu knows none such ({line})') from None
  return list(found.devices)
