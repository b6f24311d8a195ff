"""What a run says when a device's memory does not suffice: what was asked for, what to change."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from bigtrain.forecast import exhausted, settings

if TYPE_CHECKING:
  from bigtrain.program import Program

_LARGEST = 3  # Buffers that are named.
_ASKED = re.compile(r'allocat\w+ ([\d.]+ ?[KMGT]?i?)B?')
_THERE = re.compile(r'[Uu]sed ([\d.]+[KMG]?) of ([\d.]+[KMG]?)')


def sentence(error: BaseException, program: Program, knobs: Collection[str]) -> str | None:
  """Returns what happened and what to change, in a sentence; None for another error.

  Args:
    error: As JAX raised it, by the compiler or by the device.
    program: What was compiled or run.
    knobs: Names of the experiment's, which are flags.
  """
  text = str(error)
  if 'RESOURCE_EXHAUSTED' not in text:
    return None
  used, buffers = exhausted(text)
  there, asked = _THERE.search(text), _ASKED.search(text)
  if there:
    what = f'it takes {there[1]}B of {there[2]}B'
  elif used:
    what = f'it takes {used / 2**30:.2f} GiB'
  else:
    what = f'the last {asked[1]}B asked for were not there' if asked else text.split('\n')[0]
  largest = ', '.join(
    f'{size / 2**30:.2f} GiB {shape}{f" of {source}" * bool(source)}'
    for size, shape, source in buffers[:_LARGEST]
  )
  kind = program.mesh.devices.flat[0].device_kind
  said = f'a step does not fit the memory of {kind}: {what}'
  said += f'; the largest buffers are {largest}' if largest else ''
  return f'{said}. Change one of {", ".join(cures(program, knobs))}'


def cures(program: Program, knobs: Collection[str]) -> list[str]:
  """Returns flags that need less memory, the cheapest first; arguments where there is no flag."""
  now = settings(program.experiment)
  batch, accumulate = program.experiment.data.batch, now['accumulate']
  found = []
  if now.get('remat', 'full') != 'full':
    found.append('--remat=full' if 'remat' in knobs else "the model's remat='full'")
  if batch % (2 * accumulate) == 0:
    dashes = '--' if 'accumulate' in knobs else "the Experiment's "
    found.append(f'{dashes}accumulate={2 * accumulate}')
  fsdp = program.mesh.shape['fsdp']
  found.append(
    '--mesh=fsdp:-1' if fsdp < program.mesh.size else '--mesh, with more devices on fsdp'
  )
  if batch > 1:
    found.append(f'{"--" if "batch" in knobs else "the data of "}batch={batch // 2}')
  return found
