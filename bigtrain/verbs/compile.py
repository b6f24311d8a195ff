"""`compile`: does it fit, and how fast, on devices that need not be here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def compile(
  experiment: Experiment,
  *,
  topology: str = '',  # TPUs to compile for, such as v5e:16x16; empty is the devices here.
  slices: int = 1,  # How many slices of that topology.
  mesh: str = '',  # Devices by axis, such as data:2,fsdp:-1; empty is all on fsdp.
  windowed: bool = False,  # Let a TPU's compiler gather matrices piece by piece (windowed einsum).
  search: bool = False,  # Look for microbatches, remat and mesh that fit and are faster.
  tries: int = 8,  # Compilations of a search at most.
  out: str = '',  # A file for the figures as JSON.
) -> Any:
  """Compiles the training step ahead of time: memory, exchanges, and the step time at best."""
  import json

  import jax

  from bigtrain import compute, forecast
  from bigtrain.folders import out_file
  from bigtrain.forecast_page import lines
  from bigtrain.forecast_search import find

  if not topology and slices != 1:
    raise ValueError(f'--slices={slices} needs --topology, which names what a slice is')
  if tries < 1:
    raise ValueError(f'--tries counts compilations and must be at least 1, got {tries}')
  path = out_file(out, 'compile.json') if out else None
  devices = None
  if topology:
    devices = compute.topology_devices(topology, slices)
    # What was compiled for a device that is not here cannot be read back.
    jax.config.update('jax_enable_compilation_cache', False)
  if search:
    tried = find(experiment, mesh, devices, tries=tries, windowed=windowed)
  else:
    tried = [forecast.forecast(experiment, mesh, devices, windowed=windowed)]
  for line in lines(tried):
    print(line)
  if path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([forecast.as_dict(one) for one in tried], indent=2) + '\n')
  return tried
