"""What a knob may be in a search: the values of an experiment file's SPACE.

Nothing is checked when a space is written down, so that a mistake in it hinders no other verb;
`check` does it when a search begins.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

_EDGE = 0.05  # Of the range's length: so near an end, the best may lie beyond.


@dataclasses.dataclass(frozen=True)
class Range:
  """Numbers from `low` to `high`, both included.

  Attributes:
    low: The least.
    high: The greatest.
    log: Whether equal factors, rather than equal differences, are equally likely.
    whole: Whether only integers are meant.
  """

  low: float
  high: float
  log: bool = False
  whole: bool = False

  def check(self) -> None:
    """Raises ValueError for a range that is empty, or whose logarithm isn't there."""
    for end in (self.low, self.high):
      if isinstance(end, bool) or not isinstance(end, (int, float)) or not math.isfinite(end):
        raise ValueError(f'{self} needs two finite numbers')
      if self.whole and end != int(end):
        raise ValueError(f'{self} needs two integers')
    if self.low >= self.high:
      raise ValueError(f'{self} is empty: the lower end comes first')
    if self.log and self.low <= 0:
      raise ValueError(f'{self} is on a logarithmic scale and must begin above 0')

  def edge(self, value: float) -> str:
    """Returns 'lower' or 'upper' where a value is at that end of the range, else ''."""
    low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
    part = (at - low) / (high - low)
    if self.whole:
      return 'lower' if value <= self.low else 'upper' if value >= self.high else ''
    return 'lower' if part <= _EDGE else 'upper' if part >= 1 - _EDGE else ''

  def __str__(self) -> str:
    if self.whole:
      return f'integers({self.low}, {self.high}{", log=True" * self.log})'
    return f'{"log" if self.log else "uniform"}({self.low}, {self.high})'


@dataclasses.dataclass(frozen=True)
class Choice:
  """One of some values, which have no order."""

  values: tuple[Any, ...]

  def check(self) -> None:
    """Raises ValueError where there is nothing to choose."""
    if len(self.values) < 2:
      raise ValueError(f'{self} leaves no choice: give at least two values')
    if len({repr(value) for value in self.values}) < len(self.values):
      raise ValueError(f'{self} has a value twice')

  def __str__(self) -> str:
    return f'choice({", ".join(map(repr, self.values))})'


def log(low: float, high: float) -> Range:
  """Returns numbers between two positive ones, each factor equally likely: for rates and decays."""
  return Range(low, high, log=True)


def uniform(low: float, high: float) -> Range:
  """Returns numbers between two, each equally likely."""
  return Range(low, high)


def integers(low: int, high: int, *, log: bool = False) -> Range:
  """Returns integers from low to high, both included."""
  return Range(low, high, log=log, whole=True)


def choice(*values: Any) -> Choice:
  """Returns some values, such as `choice('adamw', 'muon')`."""
  return Choice(values)
