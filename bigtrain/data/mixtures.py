"""Mixtures: several sources in one endless stream, each with its due share of every prefix.

Drawing a source at random for each row gives a share only on average; here rows are dealt out, so
that after any number of rows each source is less than one record away from its due
(`bigtrain.data.dealing`). Each source is read in a shuffled order of its own.
"""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from bigtrain.data import dealing, records, sources
from bigtrain.data.order import shuffled

_STAIRS = 256  # A longer line of weights climbs in that many stairs.

Weights = Mapping[str, float] | float


class Mixture:
  """Several sources as one: record i counts through the sources in turn, and `forever` deals them
  out in their shares.

  `once` reads the sources one after another. `len` is the records of all of them together.
  """

  def __init__(
    self,
    parts: Mapping[str, sources.Source],
    steps: np.ndarray,
    rates: np.ndarray,
    key: str | None,
  ):
    """Keeps the sources; from step `steps[i]` [P] on, source k is due `rates[i, k]` [P, K] rows of
    each `rates[i].sum()`."""
    self.parts = dict(parts)
    self.key = key
    self._steps, self._rates = steps, rates
    self._sources = list(self.parts.values())
    self._sizes = np.array([len(source) for source in self._sources], np.int64)
    self._first = np.cumsum(self._sizes) - self._sizes
    # By name, so that a further source leaves the order within the others as it was.
    self._salts = [int.from_bytes(_sha(name).digest()[:8], 'little') for name in self.parts]
    self._like = _alike(self.parts, key)
    self._kinds = records.kinds(self._like)
    self._plans: dict[int, dealing.Plan] = {}
    # Names of classes and columns hold for all where they hold for each.
    every = [getattr(part, 'about', {}) for part in self._sources]
    named = {key: every[0][key] for key in ('categories', 'classes', 'features') if key in every[0]}
    self.about = {
      **{key: own for key, own in named.items() if all(x.get(key) == own for x in every)},
      'sources': {name: dict(getattr(part, 'about', {})) for name, part in self.parts.items()},
      'records': {name: len(part) for name, part in self.parts.items()},
      'shares': self.shares(0),
    }

  def __len__(self) -> int:
    return int(self._sizes.sum())

  def __getitem__(self, index: int) -> records.Record:
    if not 0 <= index < len(self):
      raise IndexError(f'data.mix: record {index} of {len(self)}')
    part = int(np.searchsorted(self._first, index, 'right')) - 1
    record = self._sources[part][int(index - self._first[part])]
    return record if self.key is None else {**record, self.key: np.int32(part)}

  def __getitems__(self, indices: np.ndarray) -> records.Columns:
    indices = np.asarray(indices)
    owner = np.searchsorted(self._first, indices, 'right') - 1
    order = np.argsort(owner, kind='stable')
    edges = np.flatnonzero(np.diff(owner[order], prepend=-1, append=-1))
    pieces: dict[str, list[np.ndarray]] = {key: [] for key in self._like}
    # Whatever is done once a source here is what a batch of many sources costs.
    for start, stop in itertools.pairwise(edges.tolist()):
      part = owner[order[start]]
      own = indices[order[start:stop]] - self._first[part]
      got = sources.stacked(self._sources[part], own, self._like)
      # Without a look, joining would convert types.
      if records.kinds(got, 1) != self._kinds:
        name, first = list(self.parts)[part], next(iter(self.parts))
        raise ValueError(
          f'data.mix: records {own[0]} to {own[-1]} of {name!r} are {records.shown(got, 1)}, '
          f'record 0 of {first!r} is {records.shown(self._like)}: give every record the same keys, '
          'shapes and types'
        )
      for key, values in got.items():
        pieces[key].append(values)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    columns = {key: np.concatenate(values)[back] for key, values in pieces.items()}
    return columns if self.key is None else {**columns, self.key: owner.astype(np.int32)}

  def column(self, key: str) -> np.ndarray:
    """Returns one key of all records, [N, ...]; ValueError where a source has none."""
    return sources.column(self, key)

  def held_column(self, key: str) -> np.ndarray:
    """Returns the same, or KeyError where that would read records."""
    return np.concatenate([sources.held_column(source, key) for source in self._sources])

  def shares(self, step: int = 0) -> dict[str, float]:
    """Returns the share of each source at a step, as it is dealt out; they add up to 1."""
    rates = self._rates[np.searchsorted(self._steps, step, 'right') - 1]
    return dict(zip(self.parts, (rates / rates.sum()).tolist(), strict=True))

  def counts(self, steps: int, batch: int) -> dict[str, int]:
    """Returns how many records of each source the first `steps` batches hold; over the size of the
    source, that is how often it was gone through."""
    return dict(zip(self.parts, self._plan(batch).counts(steps * batch).tolist(), strict=True))

  @property
  def stream_identity(self) -> dict[str, str]:
    """What the stream hangs on besides records, batch and seed; kept in checkpoints."""
    facts = [list(self.parts), self._sizes.tolist(), self._steps.tolist(), self._rates.tolist()]
    return {'mixture': _sha(repr(facts)).hexdigest()[:16]}

  def stream_order(self, positions: np.ndarray, batch: int, seed: int) -> np.ndarray:
    """Returns the record at each position of the endless stream.

    Each source is read in a shuffled order of its own, every record once before any comes again.

    Args:
      positions: integers from 0, any shape; position p is row p % batch of step p // batch.
      batch: rows a step, over all hosts.
      seed: any integer.

    Returns:
      int64 of the shape of `positions`, in [0, len).
    """
    part, turn = self._plan(batch)(np.asarray(positions, np.int64).reshape(-1))
    indices = np.empty(len(part), np.int64)
    by_part = np.argsort(part, kind='stable')
    ends = np.cumsum(np.bincount(part, minlength=len(self._sources)))
    for k, rows in enumerate(np.split(by_part, ends[:-1])):
      if len(rows):
        own = shuffled(turn[rows], int(self._sizes[k]), self._salts[k] ^ (seed % 2**64))
        indices[rows] = self._first[k] + own
    return indices.reshape(np.shape(positions))

  def _plan(self, batch: int) -> dealing.Plan:
    if batch not in self._plans:
      self._plans[batch] = dealing.Plan(self._steps * batch, self._rates)
    return self._plans[batch]


def mix(
  parts: Mapping[str, sources.Source],
  *,
  weights: Mapping[str, float] | None = None,
  temperature: float | None = None,
  schedule: Mapping[int, Weights] | None = None,
  between: Literal['constant', 'linear'] = 'constant',
  limit: int | None = None,
  key: str | None = None,
) -> Mixture:
  """Returns several sources as one, for `forever`.

  At most one of `weights`, `temperature` and `schedule` is given; without any, shares are
  proportional to the sizes. Split each source before mixing, not the mixture. Shares are exact to
  1 / 16,384, and exact altogether where few digits make them so; `shares` and `counts` of the
  result tell them.

  Args:
    parts: name to source; the records of all have the same keys, shapes and types.
    weights: name to weight, at least 0; a name left out has 0. They need not add up to 1.
    temperature: T, for shares proportional to size ** (1 / T): 1 is by size, infinity makes all
      equal (Arivazhagan et al. 2019, section 4.1; Raffel et al. 2020, section 3.5.2).
    schedule: a curriculum: step to `weights` or a temperature, from step 0 on.
    between: what holds between two steps of the schedule: the former weights ('constant'), or the
      line from one to the other ('linear', in at most 256 stairs, each at its mean).
      Entering the stream beyond a line deals it out first, about a second for a million rows.
    limit: sizes above it count as it, where sizes make the shares (K in Raffel et al.).
    key: adds the number of the source, int32 in the order of `parts`, under this name.

  Returns:
    A source. `forever` over it holds in each prefix of its rows less than one record of each source
    more or less than is due.

  Raises:
    ValueError: for sources that are empty or differ, or weights that are no weights.
  """
  given = {'weights': weights, 'temperature': temperature, 'schedule': schedule}
  names = [name for name, value in given.items() if value is not None]
  if len(names) > 1:
    raise ValueError(f'data.mix: got {" and ".join(names)}: give one of them')
  if not parts:
    raise ValueError("data.mix: got no source: name at least one, as in mix({'a': source})")
  for name, part in parts.items():
    if len(part) == 0:
      raise ValueError(f'data.mix: source {name!r} holds no record: leave it out, or fill it')
  if between not in ('constant', 'linear'):
    raise ValueError(f"data.mix: between must be 'constant' or 'linear', got {between!r}")
  if limit is not None and limit < 1:
    raise ValueError(f'data.mix: limit must be at least 1 record, got {limit}')
  if schedule is None:
    schedule = {0: weights if weights is not None else 1.0 if temperature is None else temperature}
  sizes = {name: min(len(part), limit or len(part)) for name, part in parts.items()}
  steps = sorted(schedule)
  if not steps or steps[0] != 0 or any(int(step) != step for step in steps):
    raise ValueError(
      f'data.mix: the steps of a schedule are whole numbers from 0, got {steps}: begin with step 0'
    )
  shares = [_shares(schedule[step], sizes) for step in steps]
  if between == 'linear':
    steps, shares = _stairs(steps, shares)
  return Mixture(parts, np.array(steps, np.int64), dealing.rates(np.stack(shares)), key)


def _shares(weights: Weights, sizes: Mapping[str, int]) -> np.ndarray:
  """Returns shares [K] that add up to 1."""
  if isinstance(weights, Mapping):
    if unknown := sorted(set(weights) - set(sizes)):
      raise ValueError(
        f'data.mix: a weight is given for {unknown[0]!r}, which is no source: use '
        f'{", ".join(sizes)}'
      )
    values = np.array([weights.get(name, 0) for name in sizes], np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
      raise ValueError(
        f'data.mix: weights must be at least 0 and not all 0, got {dict(weights)}: give one above 0'
      )
    return values / values.sum()
  if not weights > 0:
    raise ValueError(
      f'data.mix: temperature must be above 0, got {weights}: use 1 for shares by size'
    )
  # Over the largest, or a low temperature overflows.
  values = np.array(list(sizes.values()), np.float64)
  values = (values / values.max()) ** (1 / weights)
  return values / values.sum()


def _stairs(steps: list[int], shares: list[np.ndarray]) -> tuple[list[int], list[np.ndarray]]:
  """Returns the lines between the steps as stairs."""
  starts, heights = [], []
  for low, high, old, new in zip(steps[:-1], steps[1:], shares[:-1], shares[1:], strict=True):
    count = min(high - low, _STAIRS)
    edges = [low + (high - low) * i // count for i in range(count + 1)]
    for start, end in itertools.pairwise(edges):
      along = ((start + end - 1) / 2 - low) / (high - low)
      starts.append(start)
      heights.append(old + (new - old) * along)
  return [*starts, steps[-1]], [*heights, shares[-1]]


def _alike(parts: Mapping[str, sources.Source], key: str | None) -> dict[str, np.ndarray]:
  """Returns record 0 of the first source; ValueError where that of another differs."""
  found = {
    name: {each: records.as_array(value) for each, value in part[0].items()}
    for name, part in parts.items()
  }
  first, like = next(iter(found.items()))
  for name, record in found.items():
    if records.kinds(record) != records.kinds(like):
      raise ValueError(
        f'data.mix: record 0 of {name!r} is {records.shown(record)}, that of {first!r} is '
        f'{records.shown(like)}: give the records of all sources the same keys, shapes and types'
      )
  if key is not None and key in like:
    raise ValueError(f'data.mix: the records have a key {key!r} already: choose another key')
  return like


def _sha(text: str) -> Any:
  return hashlib.sha256(text.encode())
