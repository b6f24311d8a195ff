"""What to try once a run is done: commands that can be copied."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from bigtrain.record import FLAGS, Record

_LENGTHS = ('steps', 'epochs')  # Knobs that say how long training takes.


def next_commands(record: Record, evals: Iterable[str], *, writes: bool = False) -> list[str]:
  """Returns a line a command.

  Args:
    record: Of the start that led here.
    evals: Names of the experiment's evaluations.
    writes: Whether the model can write text.
  """
  words = record.command.split()
  program = ' '.join(words[: 3 if words[1:2] == ['-m'] else 2])
  workdir = shlex.quote(record.workdir)
  commands = {f'report --workdir={workdir}': 'curves, pictures, what was run'}
  choosing = next((name for name in evals if name != 'test'), '')
  if choosing:
    commands[f'evaluate --workdir={workdir} --only={choosing}'] = 'every metric, with pictures'
  if writes:
    commands[f'generate --workdir={workdir}'] = 'text'
  for name in _LENGTHS:
    if name in record.knobs:
      again = f'--flagfile={workdir}/{FLAGS} --workdir={workdir}-longer'
      commands[f'{again} --{name}={2 * record.knobs[name]:g}'] = 'the same for longer, anew'
      break
  if re.search(r'^SPACE\b', record.source or '', re.MULTILINE):
    commands['tune --trials=20'] = 'better knobs'
  return [f'  {program} {command}  # {why.capitalize()}.' for command, why in commands.items()]
