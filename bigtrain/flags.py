"""A function's keyword-only arguments become flags, by way of absl.

The help of a flag is the comment that trails its argument in the source. It may go on in the line
below, after two or more spaces (`#   like this`). How a type is written is in `kinds.py`.
"""

import ast
import dataclasses
import inspect
import io
import os
import textwrap
import tokenize
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from bigtrain.kinds import ALLOWED, Kind, kind_of, nearest, text

REQUIRED = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class Knob:
  """One keyword-only argument: its flag's name, type, default (or REQUIRED) and help."""

  name: str
  kind: Kind
  default: Any
  help: str


def comments(function: Callable[..., Any]) -> dict[str, str]:
  """Returns the trailing comment of each argument in a function's source, '' where there is none.

  Empty where the source is not to be had (a function typed into a prompt).
  """
  try:
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
  except (OSError, TypeError, SyntaxError, IndexError):
    return {}
  if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
    return {}
  tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
  notes = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
  result = {}
  starts = {argument.lineno: argument.arg for argument in node.args.kwonlyargs}
  for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
    line = (default or argument).end_lineno or argument.lineno
    words = []
    # Of several arguments on one line the comment trails the last.
    note = notes.get(line) if starts.get(line, argument.arg) == argument.arg else None
    while note is not None and note.start[0] < node.body[0].lineno:
      words.append(note.string.lstrip('#').strip())
      note = notes.get(note.start[0] + 1)
      if note is not None and (note.line.strip() != note.string or note.string[:3] != '#  '):
        note = None
    result[argument.arg] = ' '.join(words)
  return result


def knobs(function: Callable[..., Any], *, skip: Iterable[str] = ()) -> dict[str, Knob]:
  """Returns the flags that a function's keyword-only arguments ask for, in order.

  Args:
    function: its other arguments, if any, are somebody else's business.
    skip: names of keyword-only arguments that are none either.

  Raises:
    TypeError: a type that no flag can have, no type, or a default that is not of its type.
  """
  function = inspect.unwrap(function)
  notes = comments(function)
  result = {}
  for name, parameter in inspect.signature(function).parameters.items():
    if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or name in skip:
      continue
    place = f'{function.__name__}({name})'
    if parameter.annotation is inspect.Parameter.empty:
      raise TypeError(f'{place} has no type: write `{name}: int = 4` or the like')
    try:
      kind = kind_of(_resolve(function, parameter.annotation))
    except TypeError as error:
      raise TypeError(f'{place}: {error}') from None
    default = parameter.default
    if type(default) is int and not kind.holds(default) and kind.holds(float(default)):
      default = float(default)
    if default is not REQUIRED and not kind.holds(default):
      raise TypeError(f'{place} has the default {default!r}, which is not of its type {kind.name}')
    result[name] = Knob(name, kind, default, notes.get(name, ''))
  return result


def defaults(knobs: Mapping[str, Knob]) -> dict[str, Any]:
  """Returns each knob's default, which may be REQUIRED."""
  return {name: knob.default for name, knob in knobs.items()}


def _resolve(function: Callable[..., Any], annotation: Any) -> Any:
  """Turns an annotation in quotes (or under `from __future__ import annotations`) into a type."""
  if not isinstance(annotation, str):
    return annotation

  def bearer():
    pass

  # One at a time: `-> Experiment`, known to type checkers only, must not stop the others.
  bearer.__annotations__ = {'knob': annotation}
  try:
    return typing.get_type_hints(bearer, function.__globals__)['knob']
  except NameError:
    raise TypeError(f'{annotation} cannot be a flag; a flag is {ALLOWED}') from None


class _Parser(absl_flags.ArgumentParser):
  """Lends a Kind to absl."""

  def __init__(self, kind: Kind):
    super().__init__()
    self.kind = kind

  def parse(self, argument: Any) -> Any:
    """Reads text; a default is already what it should be."""
    return self.kind.read(argument) if isinstance(argument, str) else argument

  def flag_type(self) -> str:
    """Returns the type as absl's own help shows it."""
    return self.kind.name


def expand(words: Sequence[str], *, above: tuple[str, ...] = ()) -> list[str]:
  """Puts the flags of each `--flagfile=FILE` in front of all others, so that these win.

  Args:
    words: a command line.
    above: files being read already.

  Raises:
    ValueError: a file that is not there, or that reads itself.
  """
  from etils import epath  # FILE may be remote, as a workdir may.

  front, rest = [], []
  remaining = iter(words)
  for word in remaining:
    name, equals, file = word.partition('=')
    if name not in ('--flagfile', '-flagfile'):
      rest.append(word)
      continue
    file = os.path.expanduser(file if equals else next(remaining, ''))
    if file in above:
      raise ValueError(f'--flagfile={file} reads itself')
    try:
      lines = epath.Path(file).read_text().splitlines()
    except (OSError, UnicodeDecodeError, ImportError) as error:
      reason = getattr(error, 'strerror', None) or str(error)
      raise ValueError(f'--flagfile={file} cannot be read: {reason}') from None
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith(('#', '//'))]
    front += expand([line.lstrip() for line in lines], above=(*above, file))
  return front + rest


def parse(knobs: Mapping[str, Knob], arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
  """Reads flags by absl's rules; of a flag given twice the last one counts.

  Returns:
    The values of the flags that were given, by name, and the positional arguments.

  Raises:
    ValueError: a flag that is none of `knobs`, or a value that is not of its type.
  """
  values = absl_flags.FlagValues()
  for knob in knobs.values():
    default = None if knob.default is REQUIRED else knob.default
    values[knob.name] = absl_flags.Flag(
      _Parser(knob.kind), None, knob.name, default, knob.help, boolean=knob.kind.boolean
    )
  try:
    positional = values(['', *arguments])[1:]
  except absl_flags.UnrecognizedFlagError as error:
    names = [*knobs, *(f'no{name}' for name, knob in knobs.items() if knob.kind.boolean)]
    near = nearest(error.flagname, names).replace('mean ', 'mean --')
    raise ValueError(f'--{error.flagname} is not a flag here{near or ": see --help"}') from None
  except absl_flags.Error as error:
    reason = str(error).removeprefix('flag ')
    if reason.startswith('Missing value'):
      reason = f'{arguments[-1]} has no value: write {arguments[-1]}=VALUE'
    raise ValueError(reason) from None
  return {name: values[name].value for name in knobs if values[name].present}, positional


def table(knobs: Mapping[str, Knob], width: int) -> str:
  """Returns the lines of --help about some flags: name and default, then comment and type."""
  rows = []
  for knob in knobs.values():
    required = knob.default is REQUIRED
    kind = f'({knob.kind.name}{", required" if required else ""})'
    default = '...' if required else text(knob.default)
    rows.append(row(f'--{knob.name}={default}', f'{knob.help} {kind}'.strip(), width))
  return '\n'.join(rows)


def row(left: str, right: str, width: int) -> str:
  """Returns two columns, the right one wrapped to end at `width`."""
  indent = ' ' * 27
  lines = textwrap.wrap(right, max(width - len(indent), 30)) or ['']
  left = f'  {left:<25}' if len(left) < 25 else f'  {left}\n{indent}'
  return left + f'\n{indent}'.join(lines)
