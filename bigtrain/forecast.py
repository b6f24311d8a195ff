"""Does it fit, and how fast: an experiment's training step, compiled ahead of time and read.

Nothing is initialised and no array is made: the devices need not be here.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax

from bigtrain import compute
from bigtrain.model_summary import bytes_per_device
from bigtrain.program import Program
from bigtrain.train import train_step

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


_SMALL = 0.01  # Of the peak: smaller buffers are not worth a line.


@dataclasses.dataclass(frozen=True)
class Forecast:
  """What a compiled step says of itself; bytes and seconds are one device's, a step.

  Attributes:
    devices: Such as '256 TPU v5 lite in 1 slice'.
    mesh: Axes of more than one device, as `--mesh` takes them.
    settings: What a search may vary: microbatches, and the model's `remat` where it has one.
    fits: Whether the step fits the device's memory; None where that is not known.
    capacity: Bytes that a program may use, where they are known.
    peak: Bytes at the fullest moment; what the compiler asked for where it does not fit.
    held: Bytes by what holds them: the parts of the state, the batch, and 'temporaries'
      (activations, gradients, gathered weights).
    buffers: The largest results (bytes, type, source); of what does not fit, as the compiler
      lists them.
    parameters: Of the model.
    model_flops: All devices, without recomputation.
    flops: All devices, with what rematerialisation computes again.
    memory: Bytes to and from main memory.
    collectives: (kind, within or across slices) to (count, bytes sent).
    seconds: By resource.
    step_seconds: The slowest resource's: a lower bound, as if all else were hidden behind it.
    limit: The resource that is slowest.
    mfu: Model FLOP/s over the peak, at that bound.
    compile_seconds: Processor time that the compiler took.
  """

  devices: str
  mesh: str
  settings: dict[str, Any]
  fits: bool | None
  capacity: float | None
  peak: float
  held: dict[str, float]
  buffers: list[tuple[float, str, str]]
  parameters: int
  model_flops: float
  flops: float
  memory: float = 0.0
  collectives: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
  seconds: dict[str, float] = dataclasses.field(default_factory=dict)
  step_seconds: float | None = None
  limit: str = ''
  mfu: float | None = None
  compile_seconds: float = 0.0


def settings(experiment: Experiment) -> dict[str, Any]:
  """Returns what a search may vary."""
  remat = getattr(experiment.model, 'remat', None)
  return {'accumulate': experiment.accumulate, **({} if remat is None else {'remat': remat})}


def forecast(
  experiment: Experiment,
  mesh: str = '',
  devices: Sequence[Any] | None = None,
  *,
  windowed: bool = False,
) -> Forecast:
  """Compiles the step that `train` would run, and reads it.

  Args:
    experiment: To be compiled; its data give shapes only.
    mesh: As `--mesh`.
    devices: Those here, unless given.
    windowed: See `compute.compiler_options`.

  Raises:
    ValueError: The mesh does not suit devices or batch.
  """
  program = Program(experiment, mesh, devices)
  queued = program.batch_shapes(program.per_dispatch)  # The batches of one call of `run`.
  program.per_dispatch = 1  # A loop over several steps would hide what one costs.
  chips = list(program.mesh.devices.flat)
  chip = compute.find_chip(chips[0])
  slices = len({getattr(device, 'slice_index', 0) for device in chips})
  batch = program.batch_shapes()
  state = program.shapes
  parts = {
    'parameters': state.params, 'optimiser': state.opt_state, 'average': state.ema,
    'model state': state.model_state, 'batch': queued,
  }  # fmt: skip
  held = {name: float(size) for name, tree in parts.items() if (size := bytes_per_device(tree))}
  with jax.set_mesh(program.mesh):
    step = jax.make_jaxpr(lambda state, batch: train_step(experiment, state, batch))
    flops = compute.count_flops(step(state, batch).jaxpr)
  known = {
    'devices': f'{len(chips)} {chips[0].device_kind}' + f' in {slices} slices' * (slices > 1),
    'mesh': compute.describe(program.mesh),
    'settings': settings(experiment),
    'capacity': chip.memory if chip else None,
    'parameters': program.parameters,
    'model_flops': program.flops,
    'flops': flops,
  }
  options = compute.compiler_options(chips[0], windowed)
  lowered = program.lower()
  start = time.process_time()
  try:
    compiled = lowered.compile(options)
  except jax.errors.JaxRuntimeError as error:
    used, buffers = exhausted(str(error))
    if 'RESOURCE_EXHAUSTED' not in str(error) or not used:  # Fast memory, say, of a kernel.
      raise
    held['temporaries'] = max(used - sum(held.values()), 0.0)
    return Forecast(**known, fits=False, peak=used, held=held, buffers=buffers)
  spent = time.process_time() - start
  memory = compiled.memory_analysis()
  peak = float(memory.peak_memory_in_bytes)
  if chips[0].platform == 'cpu':  # Where the peak is the arguments alone.
    peak += memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
  peak += bytes_per_device(queued) - bytes_per_device(batch)
  held['temporaries'] = max(peak - sum(held.values()), 0.0)
  costs = compute.read_costs(compiled.as_text(), chips)
  sums: dict[str, tuple[float, float]] = {}
  for one in costs.collectives:
    key = f'{one.kind} {"across" if one.across else "within"} slices'
    count, sent = sums.get(key, (0.0, 0.0))
    sums[key] = (count + one.times, sent + one.times * one.sent)
  made = Forecast(
    **known,
    fits=peak <= chip.memory if chip else None,
    peak=peak,
    held=held,
    buffers=[one for one in costs.buffers if one[0] > _SMALL * peak],
    memory=costs.memory,
    collectives=sums,
    compile_seconds=spent,
  )
  if chip is None:
    return made
  roof = compute.Roofline.of(flops / len(chips), costs, chip)
  return dataclasses.replace(
    made,
    seconds=dataclasses.asdict(roof),
    step_seconds=roof.seconds,
    limit=roof.limit,
    mfu=program.flops / len(chips) / chip.peak / roof.seconds,
  )


def exhausted(text: str) -> tuple[float, list[tuple[float, str, str]]]:
  """Returns bytes asked for, and the largest allocations, of the compiler's own report."""
  used = re.search(r'(?:[Uu]sed |HLO temporaries \()([\d.]+)([KMG]?)', text)
  buffers = [
    (_bytes(*size), shape, source)
    for *size, source, shape in re.findall(
      r'Size: ([\d.]+)([KMG]?)\s+(?:Operator: op_name="([^"]*)".*?)?\s+Shape: (\S+)', text, re.S
    )
  ]
  return _bytes(*used.groups()) if used else 0.0, buffers[:8]


def _bytes(number: str, unit: str) -> float:
  return float(number) * {'': 1, 'K': 2**10, 'M': 2**20, 'G': 2**30}[unit]


def advice(found: Forecast) -> list[str]:
  """Returns what to change, the cheapest first, where the step does not fit or is not fast."""
  said = []
  remat, accumulate = found.settings.get('remat'), found.settings['accumulate']
  state = sum(size for name, size in found.held.items() if name != 'temporaries')
  if found.fits is False:
    if found.capacity and state > found.capacity:
      said.append('the state alone does not fit: shard it over more devices (fsdp in --mesh)')
    if remat is not None and remat != 'full':
      said.append("recompute more in the backward pass: the model's remat='full'")
    said.append(f'take the batch in more microbatches: accumulate={2 * accumulate}')
  elif found.limit in ('links', 'network'):
    said.append('exchanges take longest: a larger batch a device, or fewer devices on fsdp')
  elif found.limit == 'memory':
    said.append('memory traffic takes longest: a larger batch a device, or less rematerialisation')
  return said


def as_dict(found: Forecast) -> dict[str, Any]:
  """Returns a forecast as JSON takes it, with the advice."""
  return {**dataclasses.asdict(found), 'advice': advice(found)}
