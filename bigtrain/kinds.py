"""How values are written on a command line and in flags.txt.

Conventions:

- A type is bool, int, float, str, Literal[...], one of these `| None`, or a tuple of these.
- None is written `none`, a tuple `64,64` (an element that holds a comma in double quotes), the
  empty tuple as nothing. An int may be written `2_000` or, where it is exact, `1e3`.
- What `text` writes, the kind of the same type reads back as an equal value.
"""

import csv
import dataclasses
import difflib
import io
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

ALLOWED = 'bool, int, float, str, Literal, one of these | None, or a tuple of these'


@dataclasses.dataclass(frozen=True)
class Kind:
  """How one type is written: `read` parses text or raises ValueError, `holds` tells its values."""

  name: str
  read: Callable[[str], Any]
  holds: Callable[[Any], bool]
  boolean: bool = False


def text(value: Any) -> str:
  """Writes a value as a flag of its type reads it: `true`, `0.1`, `none`, `64,64`."""
  if value is None:
    return 'none'
  if isinstance(value, bool):
    return 'true' if value else 'false'
  if isinstance(value, (tuple, list)):
    if not value:
      return ''
    line = io.StringIO()
    csv.writer(line, lineterminator='').writerow([text(element) for element in value])
    return line.getvalue()
  return str(value)


def nearest(name: str, names: Iterable[str]) -> str:
  """Returns `: did you mean NAME?` for the most similar of `names`, or nothing if none is near."""
  near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.6)
  return f': did you mean {near[0]}?' if near else ''


def _read_bool(word: str) -> bool:
  if word.lower() in ('true', 't', '1', 'yes'):
    return True
  if word.lower() in ('false', 'f', '0', 'no'):
    return False
  raise ValueError('true or false is expected')


def _read_int(word: str) -> int:
  try:
    return int(word)
  except ValueError:
    pass
  try:
    # 1e5 is how many people write a number of steps. Beyond 2**53 a float would round silently.
    number = float(word)
    if number.is_integer() and abs(number) <= 2**53:
      return int(number)
  except (ValueError, OverflowError):
    pass
  raise ValueError('an int is expected, such as 4 or 2_000')


def _read_float(word: str) -> float:
  try:
    return float(word)
  except ValueError:
    raise ValueError('a float is expected, such as 0.1 or 3e-4') from None


_PLAIN = {
  bool: Kind('bool', _read_bool, lambda value: isinstance(value, bool), boolean=True),
  int: Kind('int', _read_int, lambda value: type(value) is int),
  # An int is a fine default for a float; `knobs` turns it into one.
  float: Kind('float', _read_float, lambda value: type(value) is float),
  str: Kind('str', str, lambda value: isinstance(value, str)),
}


def _literal(choices: tuple[Any, ...]) -> Kind:
  table = {text(choice): choice for choice in choices}

  def read(word: str) -> Any:
    if word in table:
      return table[word]
    raise ValueError(f'one of {", ".join(table)} is expected{nearest(word, table)}')

  def holds(value: Any) -> bool:
    return any(type(value) is type(choice) and value == choice for choice in choices)

  return Kind('|'.join(table), read, holds)


def _optional(kind: Kind) -> Kind:
  def read(word: str) -> Any:
    return None if word.lower() == 'none' else kind.read(word)

  return dataclasses.replace(
    kind,
    name=f'{kind.name}|none',
    read=read,
    holds=lambda value: value is None or kind.holds(value),
  )


def _tuple(kinds: tuple[Kind, ...], *, many: bool) -> Kind:
  def expand(length: int) -> tuple[Kind, ...]:
    return kinds * length if many else kinds

  def read(line: str) -> tuple[Any, ...]:
    if '\n' in line or '\r' in line:
      raise ValueError('a line break is no part of a value')
    try:
      words = next(csv.reader([line]), []) if line else []
    except csv.Error as error:
      raise ValueError(f'values with commas between them are expected ({error})') from None
    if len(words) != len(expand(len(words))):
      raise ValueError(f'{len(kinds)} values with commas between them are expected')
    return tuple(kind.read(word) for kind, word in zip(expand(len(words)), words, strict=True))

  def holds(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) != len(expand(len(value))):
      return False
    return all(kind.holds(v) for kind, v in zip(expand(len(value)), value, strict=True))

  name = f'{kinds[0].name},...' if many else ','.join(kind.name for kind in kinds)
  return Kind(name, read, holds)


def kind_of(annotation: Any, *, nested: bool = False) -> Kind:
  """Returns how values of a type are written; raises TypeError for a type that no flag can have."""
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if annotation in _PLAIN:
    return _PLAIN[annotation]
  if origin is typing.Literal:
    return _literal(arguments)
  if origin in (typing.Union, types.UnionType) and type(None) in arguments:
    rest = [argument for argument in arguments if argument is not type(None)]
    if len(rest) == 1:
      return _optional(kind_of(rest[0], nested=nested))
  if origin is tuple and not nested and arguments:
    many = len(arguments) == 2 and arguments[1] is Ellipsis
    kinds = tuple(kind_of(a, nested=True) for a in (arguments[:1] if many else arguments))
    return _tuple(kinds, many=many)
  name = annotation.__name__ if isinstance(annotation, type) and not origin else str(annotation)
  if annotation is tuple or annotation is list or origin is list:
    name = f'{name} (write tuple[int, ...] or the like)'
  raise TypeError(f'{name} cannot be a flag; a flag is {ALLOWED}')
