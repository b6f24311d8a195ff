"""Dealing: which of several sources the next row of a stream is read from, at any position at once.

After any number of rows, the count of each source is less than one away from the sum of its shares
so far. Sequences like that exist for any shares, also for shares that change (Tijdeman 1980, 'The
chairman assignment problem'): record j of a source, from 1, may come once more than j - 1 are due
and must have come when j are due, and of the records that may come, the one that must come first is
taken (earliest deadline first, which fails only where nothing succeeds; Baruah et al. 1996,
'Proportionate progress').

Shares are whole multiples of one fraction, the grain. So everything is exact in integers, and
dealing at constant shares repeats itself: a table of one period answers for any position.
"""

import heapq
import math
from fractions import Fraction
from typing import Any

import numpy as np

_GRAIN = 2**14  # Shares are multiples of 1 / _GRAIN, or of a coarser fraction that is exact.
_NEVER = 2**46  # A position that no run reaches; times the number of sources it fits 64 bits.


def rates(shares: np.ndarray) -> np.ndarray:
  """Returns shares as whole numbers with one sum, the grain.

  Exact where a sum of at most 16,384 makes it so, as for 0.7, 0.2 and 0.1; otherwise within
  1 / 16,384. A share above 0 does not become 0.

  Args:
    shares: [P, K] at least 0; each row has a sum above 0.

  Returns:
    int64 [P, K]; the sum of each row is the same.

  Raises:
    ValueError: for more sources than the grain has parts.
  """
  shares = np.asarray(shares, np.float64)
  if shares.shape[1] > _GRAIN:
    raise ValueError(f'data.mix: got {shares.shape[1]} sources: mix at most {_GRAIN}')
  shares = shares / shares.sum(1, keepdims=True)
  exact = _exact(shares)
  return np.stack([_rounded(row) for row in shares * _GRAIN]) if exact is None else exact


def _exact(shares: np.ndarray) -> np.ndarray | None:
  """Returns shares as whole numbers of the coarsest grain that is exact; None where none is."""
  grain, fractions = 1, []
  for row in shares:  # One that is not exact ends it: the stairs of a line of weights are many.
    near = [Fraction(x).limit_denominator(_GRAIN) for x in row.tolist()]
    for fraction in near:
      if (grain := math.lcm(grain, fraction.denominator)) > _GRAIN:
        return None
    if sum(near) != 1 or not np.allclose(np.array(near, np.float64), row, rtol=0, atol=1e-12):
      return None
    fractions.append(near)
  return np.array([[int(x * grain) for x in row] for row in fractions], np.int64)


def _rounded(parts: np.ndarray) -> np.ndarray:
  """Returns integers of the same sum, by largest remainder, none of them 0 where parts are not."""
  whole = np.where(parts > 0, np.maximum(np.floor(parts), 1), 0).astype(np.int64)
  missing = _GRAIN - int(whole.sum())
  for _ in range(-missing):
    whole[whole.argmax()] -= 1
  whole[np.argsort(whole - parts, kind='stable')[: max(missing, 0)]] += 1
  return whole


class Plan:
  """Which source each position reads, and how many records of that source came before.

  Time is cut into pieces of constant rates. A long piece is periodic but for its end, which has to
  prepare for the rates to come, and is a piece of its own.
  """

  def __init__(self, starts: np.ndarray, rates: np.ndarray):
    self._grain = grain = int(rates[0].sum())
    pieces = []
    ends = [*starts[1:].tolist(), None]
    for start, end, rate in zip(starts.tolist(), ends, rates, strict=True):
      if end is None or end - start > 4 * grain:
        pieces.append((start, True, rate))
        start = None if end is None else end - 2 * grain
      if start is not None:
        pieces.append((start, False, rate))
    self._starts = np.array([start for start, _, _ in pieces], np.int64)
    self._periodic = [periodic for _, periodic, _ in pieces]
    self._rates = np.array([rate for _, _, rate in pieces], np.int64)
    grown = np.diff(self._starts)[:, None] * self._rates[:-1]
    # What is due at the start of each piece, in units of 1 / grain: whole numbers, hence exact.
    self._due = np.concatenate([np.zeros_like(self._rates[:1]), np.cumsum(grown, axis=0)])
    self._begun = [np.zeros(self._rates.shape[1], np.int64)]  # Counts at the start of pieces.
    self._table: tuple[Any, ...] = (-1,)

  def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns source and number of earlier records of that source, int64 [N] each."""
    part, turn = np.empty((2, len(positions)), np.int64)
    pieces = np.searchsorted(self._starts, positions, 'right') - 1
    for piece in np.unique(pieces):
      rows = pieces == piece
      _, dealt, rank, before, cycle = self._dealt(piece)
      offset = positions[rows] - self._starts[piece]
      rounds = np.maximum(offset - before, 0) // cycle
      slot = offset - rounds * cycle
      part[rows] = own = dealt[slot]
      gain = rounds * (cycle // self._grain) * self._rates[piece][own]
      turn[rows] = self._begun[piece][own] + rank[slot] + gain
    return part, turn

  def counts(self, position: int) -> np.ndarray:
    """Returns the records of each source [K] before a position."""
    return self._counts(int(np.searchsorted(self._starts, position, 'right')) - 1, position)

  def _counts(self, piece: int, position: int) -> np.ndarray:
    _, dealt, _, before, cycle = self._dealt(piece)
    offset = position - int(self._starts[piece])
    rounds = max(offset - before, 0) // cycle
    rates = self._rates[piece]
    some = np.bincount(dealt[: offset - rounds * cycle], minlength=len(rates))
    return self._begun[piece] + some + rounds * (cycle // self._grain) * rates

  def _dealt(self, piece: int) -> tuple[Any, ...]:
    """Returns (piece, source of each slot, its rank, slots before the cycle, slots of the
    cycle)."""
    if (table := self._table)[0] == piece:
      return table
    while len(self._begun) <= piece:
      last = len(self._begun) - 1
      self._begun.append(self._counts(last, int(self._starts[last + 1])))
    start, counts = int(self._starts[piece]), self._begun[piece]
    if self._periodic[piece]:
      rates, due = self._rates[piece], self._due[piece]
      seen: dict[bytes, int] = {}
      parts = []
      while (ahead := (counts - due // self._grain).tobytes()) not in seen:
        seen[ahead] = len(parts)
        parts.append(self._deal(piece, start, due, counts, self._grain, False))
        counts = counts + np.bincount(parts[-1], minlength=len(rates))
        start, due = start + self._grain, due + self._grain * rates
      dealt, before = np.concatenate(parts), seen[ahead] * self._grain
      cycle = len(dealt) - before
    else:
      count = int(self._starts[piece + 1]) - start
      dealt = self._deal(piece, start, self._due[piece], counts, count, True)
      before, cycle = count, self._grain
    order = np.argsort(dealt, kind='stable')
    each = np.bincount(dealt)
    rank = np.empty(len(dealt), np.int32)
    rank[order] = np.arange(len(dealt)) - np.repeat(np.cumsum(each) - each, each)
    # One assignment: another thread sees the old table or the new one.
    self._table = (piece, dealt, rank, before, cycle)
    return self._table

  def _deal(
    self, piece: int, start: int, due: np.ndarray, counts: np.ndarray, slots: int, ends: bool
  ) -> np.ndarray:
    """Returns the source of each of the next `slots` positions, earliest deadline first."""
    grain, rates = self._grain, self._rates[piece]
    number = np.maximum(-(-(due + slots * rates) // grain) - counts, 0)
    part = np.repeat(np.arange(len(rates)), number)
    nth = np.arange(len(part)) - np.repeat(np.cumsum(number) - number - counts - 1, number)
    rate = np.maximum(rates[part], 1)
    release = np.maximum(((nth - 1) * grain - due[part]) // rate, 0)
    deadline = -((due[part] - nth * grain) // rate)
    # Where the rate is about to change, or is zero, the deadline lies in a piece to come.
    late = np.flatnonzero((rates[part] == 0) | (ends & (deadline > slots)))
    deadline[late] = self._deadline(piece, part[late], nth[late] * grain) - start
    order = np.argsort(release, kind='stable')
    releases = release[order].tolist()
    keys = (deadline * len(rates) + part)[order].tolist()
    dealt, heap, pushed = [], [], 0
    for slot in range(slots):
      while pushed < len(keys) and releases[pushed] <= slot:
        heapq.heappush(heap, keys[pushed])
        pushed += 1
      dealt.append(heapq.heappop(heap))
    return np.array(dealt) % len(rates)

  def _deadline(self, piece: int, part: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Returns the first position [J] at which `amount` [J] is due of the sources `part` [J]."""
    reached = self._due[piece + 1 :, part] >= amount
    last = len(self._due) - 1
    at = np.where(reached.any(0), piece + reached.argmax(0) if len(reached) else last, last)
    rate = self._rates[at, part]
    position = self._starts[at] - (self._due[at, part] - amount) // np.maximum(rate, 1)
    return np.where(rate > 0, position, _NEVER)
