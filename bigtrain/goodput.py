"""Goodput: the share of a run's wall time that went into steps which stayed, the rest by name.

All attempts of a run count together: what an attempt spent is in the journal, by which the next one
goes on. Work that a restart threw away is 'restart', as is what starting again takes.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

KINDS = ('steps', 'start', 'compile', 'data', 'save', 'evaluation', 'restart')


class Goodput:
  """Adds up wall time by what it was spent on; 'steps' is what no other kind claims.

  Args:
    before: What earlier attempts noted, as `read` returns it; empty is a first attempt.
    lost: Seconds of steps that the attempt before took after its last checkpoint.
  """

  def __init__(self, before: Mapping[str, float] | None = None, lost: float = 0.0):
    self._spent = {kind: float((before or {}).get(kind, 0.0)) for kind in KINDS}
    moved = min(lost, self._spent['steps'])
    self._spent['steps'] -= moved
    self._spent['restart'] += moved
    self._again = bool(before)
    self._since = time.monotonic()

  @contextmanager
  def spending(self, kind: str) -> Iterator[None]:
    """Around what is no step; 'start' and 'compile' of a later attempt are 'restart'."""
    self._settle('steps')
    try:
      yield
    finally:
      self._settle('restart' if self._again and kind in ('start', 'compile') else kind)

  def spent(self, kind: str, seconds: float) -> None:
    """Moves seconds that passed as 'steps' to another kind: of waiting noticed afterwards."""
    self._settle('steps')
    moved = min(seconds, self._spent['steps'])
    self._spent['steps'] -= moved
    self._spent[kind] += moved

  def _settle(self, kind: str) -> None:
    now = time.monotonic()
    self._spent[kind] += now - self._since
    self._since = now

  def read(self) -> dict[str, float]:
    """Returns seconds by kind, until now."""
    self._settle('steps')
    return dict(self._spent)

  def share(self) -> float:
    """Returns the share of all time that was spent in steps."""
    spent = self.read()
    return spent['steps'] / max(sum(spent.values()), 1e-9)


def line(spent: Mapping[str, float]) -> str:
  """Returns one sentence: the goodput, and where the rest went, the longest first."""
  total = max(sum(spent.values()), 1e-9)
  rest = sorted(((s, k) for k, s in spent.items() if k != 'steps' and s > 0), reverse=True)
  named = ', '.join(f'{kind} {seconds / total:.1%}' for seconds, kind in rest)
  return f'Goodput {spent["steps"] / total:.1%}' + (f'; {named}' if named else '')
