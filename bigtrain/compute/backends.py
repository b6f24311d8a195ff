"""What differs between backends and sizes: decided here, and nowhere in an experiment.

- CPU: one virtual device a core, data parallel. XLA's CPU backend keeps one core busy far better
  than it shares an operation among cores (1.5x on the 0.8M-parameter character model, 2 cores).
- CPU, tiny steps: one device. Adding gradients up among devices takes about a millisecond.
- CPU, small models: several steps a dispatch. Python and the dispatch cost as much as the step.
- GPU and TPU: one step a dispatch; the device queue hides Python.
- CPU, one text at a time: matrices as tiles, which all cores read in the order of memory.

Which setting wins: an environment variable of JAX (`JAX_NUM_CPU_DEVICES`,
`JAX_COMPILATION_CACHE_DIR`, ...), then what the program set by `jax.config`, then the choices here.
"""

import contextlib
import os
import pathlib
from typing import Any

import jax

from bigtrain.compute import hosts

_MAX_VIRTUAL_DEVICES = 8  # More were not measured; eight already keep 64 cores busy with matmuls.
_SMALL_MODEL = 4_000_000  # Parameters. Above it a CPU step takes so long that dispatch is noise.
_STEPS_PER_DISPATCH = 10
_FLOPS_PER_DEVICE = 5e8  # Of a step. Below it a second CPU device costs more than it brings.
_LARGE_FAST_MEMORY = ('TPU v5',)  # Kinds of device that were compiled for: v5e and v5p.


def start() -> None:
  """Prepares JAX; call before anything touches a device. Calling again changes nothing.

  Joins the other hosts when the environment names any (see `hosts`), sets one virtual device a core
  on CPU, and keeps compiled programs on disk, so that a second start takes half the time.
  """
  config: Any = jax.config
  if config.jax_compilation_cache_dir is None:
    cache = os.environ.get('BIGTRAIN_CACHE') or pathlib.Path.home() / '.cache' / 'bigtrain'
    jax.config.update('jax_compilation_cache_dir', str(pathlib.Path(cache) / 'xla'))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
  hosts.join()
  if config.jax_num_cpu_devices < 1:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    # A notebook may have used a device already: then it keeps the devices that it has.
    with contextlib.suppress(RuntimeError):
      jax.config.update('jax_num_cpu_devices', min(cores or 1, _MAX_VIRTUAL_DEVICES))


def steps_per_dispatch(parameters: int, platform: str, convolutions: bool = False) -> int:
  """How many training steps one call of the compiled function takes.

  Args:
    parameters: Of the model.
    platform: Of the devices.
    convolutions: Whether a step has any: inside a loop XLA's CPU backend runs them up to nine times
      slower than outside (measured on a residual convnet on 28x28 images, 2 cores).
  """
  small = platform == 'cpu' and parameters < _SMALL_MODEL
  return _STEPS_PER_DISPATCH if small and not convolutions else 1


def tiles_pay(platform: str, rows: int, devices: int) -> bool:
  """Whether matrices are laid out as tiles for products with so few rows (`architecture.tiled`)."""
  return platform == 'cpu' and rows == 1 and devices == 1


def options_to_run_once(platform: str) -> dict[str, Any] | None:
  """Compiler options for a program that runs once, such as the one that makes the parameters.

  On CPU it compiles in half the time where LLVM optimises nothing, and runs some milliseconds
  longer.
  """
  return {'xla_backend_optimization_level': 0} if platform == 'cpu' else None


def compiler_options(device: Any, windowed: bool = False) -> dict[str, Any] | None:
  """Compiler options of the training step.

  A product may use half of a chip's fast memory where that is 128 MiB. With the default of 16 MiB
  it works on small tiles, and what is fused into it, a nonlinearity or a norm, is computed anew for
  each: by the compiler's estimate a step of 8B parameters on v5e:16x16 took 3.55 s, and now 2.75.

  Args:
    device: One of the devices that it is for.
    windowed: Whether a TPU's compiler may cut a product whose operand is gathered into a loop that
      gathers piece by piece. Left to itself it does so for matrices of a few MB already, and then
      estimates three times the cycles (a decoder of 1.1B parameters on v5e:4x4, FSDP).
  """
  if device.platform != 'tpu':
    return None
  found = {}
  if not windowed:
    found['xla_jf_spmd_threshold_for_windowed_einsum_mib'] = '1000000'
  if device.device_kind.startswith(_LARGE_FAST_MEMORY):
    found['xla_tpu_scoped_vmem_limit_kib'] = str(64 * 1024)
  return found


def useful_devices(batch: int, flops: float, convolutions: bool = False) -> list[Any]:
  """The devices that a step is spread over when the user names no mesh.

  All of them, but for virtual CPU devices: as many as divide the batch and have enough to do.

  Args:
    batch: Examples a step, over all hosts.
    flops: Of a step.
    convolutions: Whether a step has any: XLA's CPU backend shares them among cores by itself.
  """
  devices = jax.devices()
  if devices[0].platform != 'cpu' or jax.process_count() > 1:
    return devices
  most = 1 if convolutions else min(len(devices), max(1, int(flops / _FLOPS_PER_DEVICE)))
  return devices[: max(n for n in range(1, most + 1) if batch % n == 0)]
