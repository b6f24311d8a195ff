"""Records that training shares with its evaluations: exact copies, found before training begins.

Two records are copies where all keys that both sides have are equal, label and weight aside: a
leaked record of another label is a leak too. Numbers are compared as they are, texts without case
and repeated white space. Near copies are another matter: `data.drop_leaks` removes those.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bigtrain import compute
from bigtrain.data import sources
from bigtrain.data.exact_copies import content_digest

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment

_TRAINED = 100_000  # Records that are compared at most; of more, evenly spaced ones.
_JUDGED = 20_000  # Of each evaluation.
_SECONDS = 5.0  # For all of it: reading stops then, however few were read.
_AT_ONCE = 64
_BESIDE = frozenset({'label', 'weight'})


@dataclasses.dataclass(frozen=True)
class Leak:
  """What an evaluation shares with training.

  Attributes:
    name: Of the evaluation.
    found: Its records that are in training, of those compared.
    compared: Its records that were compared.
    trained: Records of training that were compared.
    whole: Whether all of both were.
  """

  name: str
  found: int
  compared: int
  trained: int
  whole: bool

  def __str__(self) -> str:
    part = '' if self.whole else f' (a sample was compared, to {self.trained:,} of training)'
    return f'{self.found:,} of {self.compared:,} records of {self.name} are in training{part}'


def find_leaks(experiment: Experiment, *, seconds: float = _SECONDS) -> list[Leak]:
  """Returns one entry for each evaluation that shares records with training.

  Args:
    experiment: Whose sources are read.
    seconds: After which no more records are read: half for the evaluations, the rest for training.
  """
  start = time.monotonic()
  evals = {name: made.data.source for name, made in experiment.evals.items()}
  source = experiment.data.source
  judged = {}
  for i, (name, own) in enumerate(evals.items(), 1):
    keys = frozenset(source[0]) & frozenset(own[0])
    keys = keys - _BESIDE or keys
    until = start + seconds / 2 * i / len(evals)
    read = _records(own, _JUDGED, until) if keys else ()
    judged[name] = [_digest(record, keys) for record in read]
  wanted = {digest for digests in judged.values() for digest in digests}
  sets = {keys for keys, _ in wanted}
  trained, both = 0, set()
  for record in _records(source, _TRAINED, start + seconds) if wanted else ():
    trained += 1
    both.update(wanted & {_digest(record, keys) for keys in sets})
  found = []
  for name, digests in judged.items():
    if shared := sum(digest in both for digest in digests):
      whole = len(digests) == len(evals[name]) and trained == len(source)
      found.append(Leak(name, shared, len(digests), trained, whole))
  return found


def _digest(record: Mapping[str, Any], keys: frozenset[str]) -> tuple[frozenset[str], bytes]:
  return keys, content_digest({key: record[key] for key in keys})


def check_leaks(experiment: Experiment, what: str) -> None:
  """Warns of records that training shares with evaluations, or refuses them; reads on one host.

  Args:
    experiment: Whose sources are read.
    what: 'warn', 'refuse' or 'off'.

  Raises:
    ValueError: There are such records, and they are refused.
  """
  if what == 'off':
    return
  import jax
  from absl import logging

  found = find_leaks(experiment) if jax.process_index() == 0 else []
  said = '; '.join(map(str, found)) or 'records of an evaluation are in training'
  if compute.agreed(len(found)):
    if what == 'refuse':
      raise ValueError(f'{said}: split anew, or remove them by data.drop_leaks')
    if jax.process_index() == 0:
      logging.warning('%s: the evaluation flatters; data.drop_leaks removes them', said)


def _records(source: Any, most: int, until: float) -> Iterator[Mapping[str, Any]]:
  step = max(1, -(-len(source) // most))
  numbers = np.arange(0, len(source), step)
  for begin in range(0, len(numbers), _AT_ONCE):
    try:
      got = sources.fetch(source, numbers[begin : begin + _AT_ONCE])
    except (OSError, ValueError):
      continue  # A damaged record: training says so when it comes to it.
    if isinstance(got, Mapping):
      got = [dict(zip(got, row, strict=True)) for row in zip(*got.values(), strict=True)]
    yield from got
    if time.monotonic() > until:
      return
