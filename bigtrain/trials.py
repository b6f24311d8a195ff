"""Training runs by the dozen, kept in a journal so that none is done twice.

The journal is a file of JSON lines that only grows: one line a run and point of its course at which
it was measured, named by a hash of the knobs and of the experiment's code. A run that was killed
leaves at most half a line, which is passed over; the same command then trains what is missing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging
from etils import epath

from bigtrain.build import Build
from bigtrain.cohort import Cohort, Member

Knobs = Mapping[str, Any]
Results = dict[str, dict[str, float]]  # Evaluation, metric.


class Trials:
  """Runs of one experiment with different knobs.

  Args:
    build: Makes the experiments. They need a knob `seed`.
    file: The journal; '' keeps none.
    cohort: Trains them; given, its compiled steps serve several `Trials`.

  Attributes:
    cohort: Trains them.
    trained: Steps taken since the start, over all runs.
  """

  def __init__(self, build: Build, file: str = '', cohort: Cohort | None = None):
    if 'seed' not in build.knobs:
      raise ValueError(f'{build.name} has no knob called seed: runs of one seed would be the same')
    self.build = build
    self.trained = 0
    self.cohort = cohort or Cohort()
    self._members: dict[str, Member] = {}
    self._file = epath.Path(file) if file else None
    self._known: dict[tuple[str, str], Results] = {}
    if self._file is not None:
      self._file.parent.mkdir(parents=True, exist_ok=True)
      for row in _rows(self._file):
        self._known.setdefault((row['key'], row['share']), {}).update(row['results'])

  def member(self, knobs: Knobs) -> Member:
    """Returns the run with these knobs, as far as this process has trained it."""
    key = self.build.key(knobs)
    if key not in self._members:
      like = self.build.key({**knobs, 'seed': 0})
      self._members[key] = self.cohort.member(self.build(**knobs), like)
    return self._members[key]

  def forget(self, runs: Sequence[Knobs]) -> None:
    """Frees the memory of runs that are not going to be continued."""
    for knobs in runs:
      self._members.pop(self.build.key(knobs), None)

  def cost(self, knobs: Knobs) -> float:
    """Returns a run's floating-point operations in all."""
    like = self.build.key({**knobs, 'seed': 0})
    experiment = self.build(**{**knobs, 'seed': 0})
    return self.cohort.traces(experiment, like).flops * experiment.steps

  def parameters(self, knobs: Knobs) -> int:
    """Returns how many numbers a run's model learns."""
    like = self.build.key({**knobs, 'seed': 0})
    return self.cohort.traces(self.build(**{**knobs, 'seed': 0}), like).parameters

  def known(self, knobs: Knobs) -> bool:
    """Whether the journal has the end of this run already."""
    return (self.build.key(knobs), '1') in self._known

  @property
  def measured(self) -> int:
    """How many measurements are kept."""
    return len(self._known)

  def measure(
    self, runs: Sequence[Knobs], evals: Sequence[str], *, share: float = 1.0, stage: str = ''
  ) -> list[Results]:
    """Trains runs up to a share of their steps, and returns the metrics of each.

    What the journal holds is not trained again.

    Args:
      runs: Their knobs, where these differ from the command line's.
      evals: Names of the evaluations to make.
      share: Of the run's steps, in (0, 1].
      stage: What the runs are for, to be noted.
    """
    names = [(self.build.key(knobs), f'{share:g}') for knobs in runs]
    missing = {
      name: knobs
      for name, knobs in zip(names, runs, strict=True)
      if not set(evals) <= set(self._known.get(name, {}))
    }
    if missing:
      self._train(missing, evals, share, stage)
    return [{name: self._known[key][name] for name in evals} for key in names]

  def _train(
    self, missing: Mapping[tuple[str, str], Knobs], evals: Sequence[str], share: float, stage: str
  ) -> None:
    members = {name: self.member(knobs) for name, knobs in missing.items()}
    owner = {id(member): name for name, member in members.items()}
    until = {id(m): max(1, round(share * m.experiment.steps)) for m in members.values()}
    done = 0
    for chunk in self.cohort.chunks([(m, (m.step, until[id(m)])) for m in members.values()]):
      begin = time.monotonic()
      self.trained += sum(max(0, until[id(m)] - m.step) for m in chunk)
      self.cohort.train(chunk, until[id(chunk[0])])
      found: list[Results] = [{} for _ in chunk]
      for name in evals:
        for results, metrics in zip(found, self.cohort.evaluate(chunk, name), strict=True):
          results[name] = metrics
      seconds = time.monotonic() - begin
      for member, results in zip(chunk, found, strict=True):
        key, at = owner[id(member)]
        self._known.setdefault((key, at), {}).update(results)
        self._write({
          'key': key, 'share': at, 'stage': stage, 'knobs': dict(missing[key, at]),
          'steps': member.step, 'seconds': round(seconds / len(chunk), 3),
          'train_loss': member.losses[-1] if member.losses else None, 'results': results,
        })  # fmt: skip
        if share == 1.0:
          member.state = None  # Its end: kept in the journal, not in memory.
          self._members.pop(key, None)
      done += len(chunk)
      logging.info('%s: %d of %d runs, the last %.1f s', stage, done, len(members), seconds)

  def _write(self, row: dict[str, Any]) -> None:
    if self._file is None:
      return
    with self._file.open('a') as file:
      file.write(json.dumps(row) + '\n')
      file.flush()
      os.fsync(file.fileno())


def _rows(file: epath.Path) -> list[dict[str, Any]]:
  """Reads a journal; mends one whose last line was cut off."""
  if not file.exists():
    return []
  text = file.read_text()
  rows = []
  for line in text.splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      logging.warning('%s: a line was cut off when a run was killed; it is passed over', file)
  if text and not text.endswith('\n'):
    with file.open('a') as end:
      end.write('\n')
  return rows
