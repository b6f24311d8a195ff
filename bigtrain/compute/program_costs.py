"""What a compiled program costs a device a step: bytes of memory, collectives, estimated cycles.

Loops count as often as they run. (XLA's own `cost_analysis` counts a loop's body once.)
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from bigtrain.compute.hlo import Instruction, Program, array_bytes

KINDS = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'collective-permute')
_FREE = {
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while', 'conditional', 'call',
  'after-all', 'partition-id', 'replica-id', 'iota', 'opt-barrier',
}  # fmt: skip
_SLICES = ('dynamic-slice', 'gather', 'slice')
_MAX_CYCLES = 2**40  # The compiler writes larger numbers where it has no estimate.


@dataclasses.dataclass(frozen=True)
class Collective:
  """One exchange among devices.

  Attributes:
    kind: One of `KINDS`.
    sent: Bytes that a device sends each time, by a ring.
    times: A step.
    across: Whether it joins devices of several slices.
    source: What in the model it comes from.
  """

  kind: str
  sent: float
  times: float
  across: bool
  source: str


@dataclasses.dataclass(frozen=True)
class Costs:
  """A step of one device.

  Attributes:
    collectives: All exchanges.
    memory: Bytes to and from main memory.
    cycles: The compiler's own estimates, added up; kernels and exposed exchanges are left out. 0
      where it makes none.
    buffers: (bytes, type and shape, source) of the largest results, the largest first.
  """

  collectives: tuple[Collective, ...]
  memory: float
  cycles: float
  buffers: tuple[tuple[float, str, str], ...]

  def sent(self, across: bool) -> float:
    """Returns the bytes that a device sends a step, within or across slices."""
    return sum(c.sent * c.times for c in self.collectives if c.across == across)


def read_costs(text: str, devices: Sequence[Any], largest: int = 8) -> Costs:
  """Reads a compiled program.

  Args:
    text: `compiled.as_text()`.
    devices: In the mesh's order, which is the partitions'.
    largest: How many buffers to name.
  """
  program = Program(text)
  slices = [getattr(device, 'slice_index', 0) for device in devices]
  memory = cycles = 0.0
  buffers: dict[tuple[str, str], float] = {}
  for name, instruction, times in program.running():
    memory += times * _traffic(program, name, instruction)
    cycles += times * _cycles(instruction)
    if instruction.opcode not in _FREE and not instruction.shape.startswith('('):
      shape = instruction.shape.split('{')[0]
      buffers[shape, instruction.source] = array_bytes(instruction.shape, memory=True)
  ordered = sorted(((size, *key) for key, size in buffers.items()), reverse=True)
  # A TPU's compiler spreads one exchange over several fusions, each of which names it.
  found: dict[str, Collective] = {}
  for name, instruction, times in program.running(fused=True):
    if made := _collective(program, name, instruction, times, slices):
      key = instruction.attribute('channel_id') or f'{name}/{instruction.name}'
      if key not in found or made.sent * times > found[key].sent * found[key].times:
        found[key] = made
  return Costs(tuple(found.values()), memory, cycles, tuple(ordered[:largest]))


def _collective(
  program: Program, name: str, instruction: Instruction, times: float, slices: list[int]
) -> Collective | None:
  # Between slices a TPU's program hands arrays to its hosts, who exchange them.
  by_hosts = re.search(r'_xla_megascale_transfer_type="(\w+)"', instruction.rest)
  if by_hosts and instruction.opcode == 'send':
    kind, n, across = by_hosts[1].lower().replace('_', '-'), len(set(slices)), True
  else:
    kind = instruction.opcode.removesuffix('-start').removeprefix('ragged-')
    if kind == 'all-reduce' and 'reduce-scatter' in name:
      kind = 'reduce-scatter'  # As a TPU's compiler writes it: a sum of which a part is kept.
    groups = list(_groups(instruction.rest, len(slices)))
    n = max((len(group) for group in groups), default=len(slices))
    across = any(len({slices[i] for i in group if i < len(slices)}) > 1 for group in groups)
  if kind not in KINDS:
    return None
  given = sum(array_bytes(shape) for shape in program.shapes(name, instruction))
  share = (n - 1) / n
  sent = {
    'all-gather': given * (n - 1),
    'all-reduce': 2 * given * share,
    'reduce-scatter': given * share,
    'all-to-all': given * share,
    'collective-permute': given,
  }[kind]
  return Collective(kind, sent, times, across, instruction.source)


def _groups(rest: str, count: int) -> Iterator[list[int]]:
  """Yields the devices that exchange with each other; every spelling that XLA has."""
  pairs = re.search(r'source_target_pairs=\{(\{.*?\})\}', rest)
  listed = re.search(r'replica_groups=\{(\{.*?\})\}', rest)
  iota = re.search(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', rest)
  mesh = re.search(r'replica_groups=mesh\[(.*?)\](?:, device_ids=\((.*?)\))? *\{(.*?)\}', rest)
  if pairs or listed:
    for group in re.findall(r'\{([\d,]+)\}', (pairs or listed)[1]):  # pyright: ignore
      yield [int(i) for i in group.split(',')]
  elif iota:
    shape, dims = ([int(n) for n in iota[i].split(',')] for i in (1, 2))
    order = [int(n) for n in iota[3].split(',')] if iota[3] else list(range(len(dims)))
    flat = _transposed(dims, order)
    yield from (flat[i : i + shape[-1]] for i in range(0, len(flat), shape[-1]))
  elif mesh:
    sizes = {axis: int(size) for axis, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
    inside = re.findall(r"'(\w+)'", mesh[3])
    names = list(sizes)
    order = [names.index(a) for a in names if a not in inside] + [names.index(a) for a in inside]
    flat = _transposed(list(sizes.values()), order)
    size = math.prod(sizes[axis] for axis in inside)
    yield from (flat[i : i + size] for i in range(0, len(flat), size))
  else:
    yield list(range(count))


def _transposed(dims: list[int], order: list[int]) -> list[int]:
  """Returns iota over `dims` with its axes in another order, flat."""
  strides = [math.prod(dims[axis + 1 :]) for axis in range(len(dims))]
  flat = [0]
  for axis in order:
    flat = [base + i * strides[axis] for base in flat for i in range(dims[axis])]
  return flat


def _cycles(instruction: Instruction) -> float:
  found = re.search(r'"estimated_cycles":"(\d+)"', instruction.rest)
  return float(found[1]) if found and int(found[1]) < _MAX_CYCLES else 0.0


def _traffic(program: Program, name: str, instruction: Instruction) -> float:
  """Bytes that an instruction reads from main memory and writes to it."""
  opcode = instruction.opcode
  if opcode in _FREE or opcode.endswith('-done'):
    return 0.0
  result = array_bytes(instruction.shape, memory=True)
  if opcode.endswith('-start'):  # Its result lists what it reads beside what it writes.
    return result
  if opcode in _SLICES:
    return 2 * result
  operands = [array_bytes(s, memory=True) for s in program.shapes(name, instruction)]
  if opcode == 'dynamic-update-slice':
    return 2 * operands[1]
  if opcode == 'fusion':
    inside = program.computations.get(instruction.attribute('calls'), {})
    return _fused_traffic(inside, operands, result)
  return result + sum(operands)


def _fused_traffic(inside: dict[str, Instruction], operands: list[float], result: float) -> float:
  """As `_traffic`, but a fusion reads of a stack the slice, and writes into one the slice, only."""
  total = 0.0
  for parameter in inside.values():
    if parameter.opcode != 'parameter' or not parameter.operands[0].isdigit():
      continue
    number = int(parameter.operands[0])
    if number >= len(operands):
      continue
    users = [i for i in inside.values() if parameter.name in i.operands]
    whole = operands[number]
    if users and all(u.opcode in _SLICES and u.operands[0] == parameter.name for u in users):
      total += min(whole, sum(array_bytes(u.shape) for u in users))
    elif users and all(
      u.opcode == 'dynamic-update-slice' and u.operands[0] == parameter.name for u in users
    ):
      update = sum(array_bytes(inside[u.operands[1]].shape) for u in users)
      result = min(result, result - whole + update)
    else:
      total += whole
  return total + max(result, 0.0)
