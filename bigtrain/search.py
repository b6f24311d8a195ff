"""A search for the best knobs: trials by optuna, shared by workers, never on the test split.

The search lives in a journal file in the workdir, or in a database. A worker is any process that
runs the same command. What a killed one left half done is failed by the next that starts, and
another trial takes its place: in a file, a worker signs with its machine and process, and is dead
where that machine has no such process; in a database it also gives signs of life. Trials train as
`Trials` do: those that differ in numbers alone share a compiled program.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import logging

from bigtrain.evaluation import is_test
from bigtrain.kinds import text
from bigtrain.search_storage import opened
from bigtrain.tuning.spaces import Choice, Range

if TYPE_CHECKING:
  import optuna

  from bigtrain.build import Build
  from bigtrain.trials import Trials

_FACTOR = 3  # Of ASHA: one of so many goes on at each rung.
_RUNGS = 1, 3, 9  # Where ASHA looks, in shares of the last.
_BEAT = 60  # Seconds between a database worker's signs of life.
_WORKER = 'worker'  # The user attribute that holds host and process.

Space = Mapping[str, Range | Choice]


class Surplus(Exception):
  """Another worker had begun the last of the trials."""


def read_space(build: Build) -> dict[str, Range | Choice]:
  """Returns the SPACE of an experiment's file.

  Raises:
    ValueError: There is none, it has a knob that isn't there, or values which can't be.
  """
  space = build.table('SPACE')
  if not space:
    raise ValueError(
      f'{build.name} has no SPACE: add SPACE = {{"lr": tuning.log(1e-4, 1e-1)}} to its file'
    )
  for knob, values in space.items():
    place = f'the SPACE of {build.name}, {knob}'
    if not isinstance(values, (Range, Choice)):
      raise ValueError(
        f'{place}: {values!r} is no set of values: use tuning.log, uniform, integers or choice'
      )
    try:
      values.check()
    except ValueError as error:
      raise ValueError(f'{place}: {error}') from None
    for value in values.values if isinstance(values, Choice) else (values.low, values.high):
      build.check({knob: value}, place)
    if knob in build.explicit:
      raise ValueError(
        f'--{knob} is given, but the SPACE of {build.name} searches it: leave it out'
      )
    if knob == 'seed':
      raise ValueError(f'{place}: a seed is not to be chosen: take it out of SPACE')
  return space


def choosing(build: Build, metric: str) -> str:
  """Returns the evaluation of a metric, such as `held_out` of `held_out/loss`.

  Raises:
    ValueError: It isn't there, or it is one that is touched once, as a test split is.
  """
  evals = build().evals
  name, slash, rest = metric.partition('/')
  allowed = [key for key, made in evals.items() if not is_test(key) and made.every]
  if name not in allowed or not slash or not rest:
    why = f', and {name} is made once, after training' if name in evals and rest else ''
    raise ValueError(
      f'--metric={metric} must be an evaluation made during training and its metric, such as '
      f'held_out/loss{why}; evaluations for choosing: {", ".join(allowed) or "none"}'
    )
  return name


class Search:
  """The trials of one search, shared by all its workers.

  Args:
    build: Makes the experiments.
    trials: Trains them.
    space: What is searched.
    metric: What is judged, as evaluation/metric.
    higher: Whether more of it is better.
    storage: Of optuna; a database's URL, or a journal's path.
    sampler: tpe, sobol or random.
    pruner: none or asha.

  Raises:
    ValueError: The storage holds a search of something else, or cannot be opened.
  """

  def __init__(
    self, build: Build, trials: Trials, space: Space, *,
    metric: str, higher: bool, storage: str, sampler: str, pruner: str,
  ):  # fmt: skip
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    self.build, self.trials, self.space = build, trials, space
    self._eval, _, self._name = metric.partition('/')
    self._worst = -math.inf if higher else math.inf
    self._shares = [rung / _RUNGS[-1] for rung in _RUNGS] if pruner == 'asha' else [1.0]
    with warnings.catch_warnings():  # Sobol and heartbeats are called experimental.
      warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
      self.study = optuna.create_study(
        study_name=build.name,
        storage=opened(storage, _BEAT),
        sampler=_sampler(sampler),
        pruner=_pruner(pruner),
        direction='maximize' if higher else 'minimize',
        load_if_exists=True,
      )
    about = json.dumps({
      'knobs': build.key({}), 'metric': metric, 'higher': higher, 'pruner': pruner,
      'space': {k: str(v) if isinstance(v, Choice) else '' for k, v in space.items()},
    })  # fmt: skip
    if self.study.user_attrs.setdefault('about', about) != about:
      raise ValueError(
        f'{"--storage" if "://" in storage else storage} holds a search with other knobs, choices, '
        'metric, pruner or code: choose another --workdir or --storage'
      )
    self.study.set_user_attr('about', about)
    self.reaped = self._reap()

  def _reap(self) -> int:
    """Fails what dead workers of this machine, or silent ones of a database, left running."""
    import optuna

    found = 0
    for trial in self.running():
      host, _, process = trial.user_attrs.get(_WORKER, '').rpartition(':')
      if not process:  # It was killed before it could sign, or is about to.
        gone = (datetime.datetime.now() - trial.datetime_start).total_seconds() > _BEAT
      else:
        gone = host == platform.node() and (int(process) == os.getpid() or not _alive(int(process)))
      if gone:
        self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        found += 1
    before = len(self.running())
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
      optuna.storages.fail_stale_trials(self.study)
    return found + before - len(self.running())

  def running(self) -> list[Any]:
    """Returns the trials that a worker is at."""
    return [t for t in self.study.get_trials(deepcopy=False) if t.state.name == 'RUNNING']

  def counted(self) -> list[Any]:
    """Returns every trial that has ended or may still end: not those that failed."""
    found = self.study.get_trials(deepcopy=False)
    return [t for t in found if t.state.name in ('RUNNING', 'COMPLETE', 'PRUNED')]

  def run(self, trials: int) -> None:
    """Tries knobs until the search has so many trials in all, those of other workers included."""
    while len(self.counted()) < trials or self._reap():
      self.study.optimize(lambda trial: self.attempt(trial, trials), n_trials=1, catch=(Surplus,))

  def attempt(self, trial: optuna.Trial, trials: int) -> float:
    """Trains one trial, and returns its metric.

    Raises:
      Surplus: There are `trials` others before it.
      optuna.TrialPruned: It is not worth more steps.
      ValueError: The evaluation has no such metric.
    """
    import optuna

    trial.set_user_attr(_WORKER, f'{platform.node()}:{os.getpid()}')
    if sum(other.number <= trial.number for other in self.counted()) > trials:
      raise Surplus
    knobs = self.knobs({knob: _suggest(trial, knob, v) for knob, v in self.space.items()})
    value = self._worst
    for share in self._shares:
      metrics = self.trials.measure([knobs], [self._eval], share=share, stage='tune')[0][self._eval]
      if self._name not in metrics:
        raise ValueError(f'{self._eval} has no metric {self._name}: it has {", ".join(metrics)}')
      value = metrics[self._name]
      value = self._worst if math.isnan(value) else value
      trial.report(value, round(share * _RUNGS[-1]))
      if share < 1 and trial.should_prune():
        self.trials.forget([knobs])
        raise optuna.TrialPruned
    logging.info('trial %d: %s %.5g with %s', trial.number, self._name, value, knobs)
    return value

  def knobs(self, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns knobs from what optuna stores, where choices are kept as text."""
    found = {}
    for knob, value in params.items():
      values = self.space[knob]
      if isinstance(values, Choice):
        value = next(known for known in values.values if text(known) == value)
      found[knob] = value
    return found

  def best(self) -> Any:
    """Returns the best trial that ran to its end.

    Raises:
      ValueError: Every one of them diverged or none ended.
    """
    if not self.finished() or not math.isfinite(self.study.best_value):
      raise ValueError('no trial ended with a finite metric: lower the ends of SPACE')
    return self.study.best_trial

  def finished(self) -> list[Any]:
    """Returns the trials that ran to their end."""
    return [t for t in self.study.get_trials(deepcopy=False) if t.state.name == 'COMPLETE']

  def shown(self) -> list[tuple[Any, float]]:
    """Returns each trial whose last known metric is finite, with this."""
    last = [
      (t, t.intermediate_values[max(t.intermediate_values)])
      for t in self.counted()
      if t.intermediate_values
    ]
    return [(t, value) for t, value in last if math.isfinite(value)]

  def edges(self, best: Mapping[str, Any]) -> list[str]:
    """Returns a warning for each of the best values that is at an end of its range."""
    found = []
    for knob, values in self.space.items():
      end = values.edge(best[knob]) if isinstance(values, Range) else ''
      if end:
        found.append(
          f'The best {knob}, {best[knob]:.4g}, is at the {end} edge of {values}: widen it'
        )
    return found


def _suggest(trial: optuna.Trial, knob: str, values: Range | Choice) -> Any:
  if isinstance(values, Choice):
    return trial.suggest_categorical(knob, [text(value) for value in values.values])
  if values.whole:
    return trial.suggest_int(knob, int(values.low), int(values.high), log=values.log)
  return trial.suggest_float(knob, values.low, values.high, log=values.log)


def _sampler(name: str) -> Any:
  from optuna import samplers

  # Without seeds: workers of one seed would all try the same.
  if name == 'sobol':
    return samplers.QMCSampler(warn_independent_sampling=False)
  return samplers.TPESampler() if name == 'tpe' else samplers.RandomSampler()


def _pruner(name: str) -> Any:
  from optuna import pruners

  if name == 'asha':
    return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_FACTOR)
  return pruners.NopPruner()


def _alive(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:  # Somebody else's.
    pass
  return True
