"""What a chip can do: the vendors' data sheets."""

import dataclasses
from typing import Any

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip, as JAX counts devices.

  Attributes:
    peak: Dense bfloat16 operations a second.
    memory: Bytes that a program may use.
    bandwidth: Bytes a second to and from that memory.
    links: Bytes a second that it sends to its neighbours, over all links one way.
    network: Bytes a second that it sends beyond its slice, its share of the host's.
    clock: Cycles a second of the matrix units; 0 where the compiler estimates no cycles.
  """

  peak: float
  memory: float
  bandwidth: float
  links: float
  network: float
  clock: float = 0.0


# By `jax.Device.device_kind`. TPUs: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x}; the memory is
# what the compiler leaves to a program, the clock the peak over the multipliers there are. GPUs:
# the SXM cards' data sheets (NVLink one way, one 400 Gb/s port a GPU).
_CHIPS = {
  'TPU v4': Chip(275e12, 30.75 * _GIB, 1228e9, 300e9, 6.25e9, 1.05e9),
  'TPU v5 lite': Chip(197e12, 15.75 * _GIB, 819e9, 200e9, 3.125e9, 1.5e9),
  'TPU v5e': Chip(197e12, 15.75 * _GIB, 819e9, 200e9, 3.125e9, 1.5e9),
  'TPU v5': Chip(459e12, 95.74 * _GIB, 2765e9, 600e9, 6.25e9, 1.75e9),
  'TPU v5p': Chip(459e12, 95.74 * _GIB, 2765e9, 600e9, 6.25e9, 1.75e9),
  'TPU v6 lite': Chip(918e12, 31.25 * _GIB, 1640e9, 400e9, 12.5e9, 1.75e9),
  'TPU v6e': Chip(918e12, 31.25 * _GIB, 1640e9, 400e9, 12.5e9, 1.75e9),
  'TPU7x': Chip(2307e12, 94.75 * _GIB, 7380e9, 600e9, 12.5e9),
  'NVIDIA A100': Chip(312e12, 80e9, 2039e9, 300e9, 25e9),
  'NVIDIA L4': Chip(121e12, 24e9, 300e9, 32e9, 12.5e9),
  'NVIDIA H100': Chip(989e12, 80e9, 3350e9, 450e9, 50e9),
  'NVIDIA H200': Chip(989e12, 141e9, 4800e9, 450e9, 50e9),
}


def find_chip(device: Any) -> Chip | None:
  """Returns a device's chip by its kind, or None where it is not known (CPUs among them)."""
  matches = [kind for kind in _CHIPS if device.device_kind.startswith(kind)]
  return _CHIPS[max(matches, key=len)] if matches else None


def peak_flops(device: Any) -> float | None:
  """Peak bfloat16 FLOP/s of a device, or None where it is not known."""
  chip = find_chip(device)
  return chip.peak if chip else None
