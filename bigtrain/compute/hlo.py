"""Reading a compiled program: XLA's text as instructions, each with how often it runs.

The text is the scheduled, partitioned program of one device. A loop's trip count is the compiler's
own where it notes one; else the bound in the loop's condition, for JAX's loops and the
partitioner's count from 0 by 1.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping

_BYTES = {
  'pred': 1, 's4': 0.5, 'u4': 0.5, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 's32': 4, 'u32': 4,
  's64': 8, 'u64': 8, 'f16': 2, 'bf16': 2, 'f32': 4, 'f64': 8, 'c64': 8, 'c128': 16,
}  # fmt: skip
_ARRAY = re.compile(r'(\w+)\[([\d,]*)\](\{[^}]*\})?')
_LINE = re.compile(r'^\s+(ROOT )?%?([\w.\-]+) = ')
_CALLED = re.compile(r'\b(?:calls|to_apply|body|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)')
_ONE_AT_A_TIME = ('true_computation', 'false_computation')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: Within the program.
    shape: Its result's type, as text: 'bf16[4,512]{1,0}', or a tuple of such.
    opcode: What it does: 'fusion', 'all-gather-start', ...
    operands: Names.
    rest: What stands behind the operands: attributes, metadata.
    root: Whether it is its computation's result.
  """

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  rest: str
  root: bool

  def attribute(self, name: str) -> str:
    """Returns the word behind `name=`, without %, or ''."""
    found = re.search(rf'\b{name}=%?([\w.\-]+)', self.rest)
    return found[1] if found else ''

  @functools.cached_property
  def source(self) -> str:
    """What in the model it comes from: the path of Python functions that JAX noted."""
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found[1] if found else ''


def array_bytes(shape: str, *, memory: bool = False) -> float:
  """Returns the bytes of a type's arrays.

  Args:
    shape: As text; a tuple's arrays are added up.
    memory: Count what lies in the device's main memory only (a TPU's programs keep small arrays
      beside the cores).
  """
  total = 0.0
  for kind, sizes, layout in _ARRAY.findall(shape):
    if kind not in _BYTES or (memory and re.search(r'S\([1-9]', layout)):
      continue
    count = 1
    for size in sizes.split(','):
      count *= int(size or 1)
    total += count * _BYTES[kind]
  return total


class Program:
  """A compiled program.

  Attributes:
    computations: Instructions by computation, in the order in which they run.
    entry: The name of the computation that runs first.
  """

  def __init__(self, text: str):
    """Raises ValueError where the text is no HLO module."""
    self.computations: dict[str, dict[str, Instruction]] = {}
    self.entry = ''
    current: dict[str, Instruction] = {}
    for line in text.splitlines():
      if line.startswith(('%', 'ENTRY')) and line.endswith('{'):
        name = line.removeprefix('ENTRY ').lstrip('%').split(' ', 1)[0]
        current = self.computations.setdefault(name, {})
        self.entry = name if line.startswith('ENTRY') else self.entry
      elif (start := _LINE.match(line)) and (made := _instruction(start, line)):
        current[made.name] = made
    if not self.entry:
      raise ValueError('the text holds no HLO module: pass compiled.as_text()')

  def running(self, fused: bool = False) -> Iterator[tuple[str, Instruction, float]]:
    """Yields (computation, instruction, times a step) of all that runs.

    Args:
      fused: Whether to look inside fusions, whose parts touch no memory.
    """
    todo = [(self.entry, 1.0)]
    while todo:
      name, times = todo.pop()
      for instruction in self.computations.get(name, {}).values():
        yield name, instruction, times
        if instruction.opcode == 'fusion' and not fused:
          continue
        inside = times * self.trips(instruction) if instruction.opcode == 'while' else times
        todo += [(called, inside) for called in self._called(instruction)]

  def trips(self, loop: Instruction) -> int:
    """Returns how often a loop's body runs; 1 where that cannot be read."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
      return int(known[1])
    todo, bounds = [loop.attribute('condition')], [0]
    while todo:
      for instruction in self.computations.get(todo.pop(), {}).values():
        todo += self._called(instruction)
        if instruction.opcode == 'constant' and re.match(r'[su]\d+\[\]', instruction.shape):
          bounds += [int(n) for n in instruction.operands if n.isdigit()]
    return max(bounds) or 1

  def shapes(self, computation: str, instruction: Instruction) -> list[str]:
    """Returns the types of an instruction's operands, as text."""
    known: Mapping[str, Instruction] = self.computations[computation]
    return [known[name].shape for name in instruction.operands if name in known]

  def _called(self, instruction: Instruction) -> list[str]:
    if instruction.opcode in ('reduce', 'sort', 'scatter', 'select-and-scatter', 'reduce-window'):
      return []  # Of two numbers: it runs an element at a time and holds nothing of interest.
    names = []
    for found in _CALLED.findall(instruction.rest):
      names += [name.strip(' %') for name in found.strip('{}').split(',')]
    names += [instruction.attribute(name) for name in _ONE_AT_A_TIME]
    return [name for name in names if name in self.computations]


def _instruction(start: re.Match[str], line: str) -> Instruction | None:
  at = start.end()
  end = _closing(line, at) + 1 if line[at] == '(' else line.find(' ', at)
  shape = line[at:end]
  opened = line.find('(', end)
  if opened < 0:
    return None
  closed = _closing(line, opened)
  inside = re.sub(r'/\*.*?\*/|\{[^}]*\}', '', line[opened + 1 : closed])
  operands = tuple(word.split()[-1].lstrip('%') for word in inside.split(',') if word.strip())
  opcode = line[end:opened].strip()
  return Instruction(start[2], shape, opcode, operands, line[closed + 1 :], start[1] is not None)


def _closing(line: str, at: int) -> int:
  """Returns where the parenthesis that opens at `at` is closed."""
  depth = 0
  for i in range(at, len(line)):
    depth += (line[i] == '(') - (line[i] == ')')
    if depth == 0:
      return i
  return len(line) - 1
