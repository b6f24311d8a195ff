"""Goodput: the share of a run's wall time that went into steps which stayed, the rest by name.

Counted from the making of the program, for one attempt; a later attempt's 'start', 'compile' and
'restart' (reading the checkpoint) are what the restart took.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

KINDS = ('steps', 'start', 'compile', 'restart', 'data', 'evaluation', 'save', 'end')
_SHOWN = 0.0005  # Of all time: less would read as 0.0 %.


class Goodput:
  """Adds up wall time by what it was spent on; 'steps' is what no other kind claims."""

  def __init__(self):
    self._spent: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    self._since = time.monotonic()
    self._else = 'start'  # Until the first step is asked for.

  def started(self) -> None:
    """From here on, time that nothing claims is time of steps."""
    if self._else == 'start':
      self._settle('start')
      self._else = 'steps'

  def ended(self) -> None:
    """From here on, time that nothing claims is the end's: telling trackers, and the like."""
    self._settle(self._else)
    self._else = 'end'

  @contextmanager
  def spending(self, kind: str) -> Iterator[None]:
    """Around what is no step."""
    self._settle(self._else)
    try:
      yield
    finally:
      self._settle(kind)

  def spent(self, kind: str, seconds: float) -> None:
    """Gives seconds that passed already to a kind: of waiting that is noticed afterwards."""
    self._settle(self._else)
    moved = min(seconds, self._spent[self._else])
    self._spent[self._else] -= moved
    self._spent[kind] += moved

  def _settle(self, kind: str) -> None:
    now = time.monotonic()
    self._spent[kind] += now - self._since
    self._since = now

  def read(self) -> dict[str, float]:
    """Returns seconds by kind, until now."""
    self._settle(self._else)
    return dict(self._spent)

  def share(self) -> float:
    """Returns the share of all time that was spent in steps."""
    spent = self.read()
    return spent['steps'] / max(sum(spent.values()), 1e-9)


def line(spent: Mapping[str, float]) -> str:
  """Returns one sentence: the goodput, and where the rest went, the longest first."""
  total = max(sum(spent.values()), 1e-9)
  rest = sorted(
    ((s, k) for k, s in spent.items() if k != 'steps' and s >= _SHOWN * total), reverse=True
  )
  named = ', '.join(f'{kind} {seconds / total:.1%}' for seconds, kind in rest)
  return f'Goodput {spent["steps"] / total:.1%}' + (f'; {named}' if named else '')
