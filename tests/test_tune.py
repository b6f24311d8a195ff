"""A search finds a good rate, shares it out to workers, goes on, and never sees the test split."""

import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
import toys

from bigtrain import data, evaluation, flags, tuning
from bigtrain.build import Build
from bigtrain.experiment import Eval, Experiment
from bigtrain.search import Search, Surplus, choosing, read_space
from bigtrain.trials import Trials
from bigtrain.verbs.tune import tune

optuna = pytest.importorskip('optuna', reason='the extra of tune')

SPACE = {'lr': tuning.log(1e-5, 1.0), 'kind': tuning.choice('relu', 'still')}


class NeverRead:
  """A split that can be built, but whose records nobody may read."""

  def __len__(self):
    return 50

  def __getitem__(self, index):
    if index > 0:  # The first one says what shapes there are.
      raise AssertionError('the test split was read')
    return {'image': np.zeros((2, 2, 1), np.float32), 'label': np.int32(0)}


def experiment(
  *,
  lr: float = 1e-3,
  kind: Literal['relu', 'still'] = 'relu',  # still learns nothing.
  width: int = 4,
  steps: int = 18,
  seed: int = 0,
) -> Experiment:
  """Returns an experiment on points of 3 classes."""
  import optax

  rng = np.random.default_rng(1)
  label = rng.integers(0, 3, 200)
  image = rng.normal(size=(200, 2, 2, 1)) + 2 * np.eye(4)[label].reshape(200, 2, 2, 1)
  image = image.astype(np.float32)
  train, held_out = (
    data.arrays(image=image[p], label=label[p]) for p in (slice(100), slice(100, 200))
  )
  objective = evaluation.softmax_cross_entropy
  return Experiment(
    data=data.forever(train, 20, seed=seed),
    model=toys.Net(0.0, batch_norm=False),
    objective=objective,
    optimizer=optax.sgd(lr if kind == 'relu' else 0.0 * lr, momentum=0.9),
    steps=steps,
    evals={
      'held_out': Eval(data.once(held_out, 50), objective, every=10),
      'late': Eval(data.once(held_out, 50), objective),
      'test': Eval(data.once(NeverRead(), 50), objective, every=10),
    },
    seed=seed,
  )


def journal(folder):
  return [json.loads(line) for line in (pathlib.Path(folder) / 'trials.jsonl').open()]


@pytest.fixture(scope='module')
def found(tmp_path_factory):
  folder = str(tmp_path_factory.mktemp('tune'))
  return folder, tune(Build.of(experiment), workdir=folder, trials=8, sampler='sobol', seeds=3)


def test_the_best_is_a_rate_that_learns(found):
  _, result = found
  assert result.knobs['kind'] == 'relu'
  assert 3e-3 < result.knobs['lr'] <= 1.0
  assert result.mean < 0.9 < np.log(3)
  assert result.interval[0] < result.mean < result.interval[1]


def test_the_best_is_re_run_with_seeds_that_the_search_did_not_see(found):
  rows = journal(found[0])
  seeds = {stage: {r['knobs'].get('seed', 0) for r in rows if r['stage'] == stage}
           for stage in ('tune', 'fresh seeds')}  # fmt: skip
  assert len(seeds['fresh seeds']) == 3
  assert not seeds['tune'] & seeds['fresh seeds']
  again = [r['results']['held_out']['loss'] for r in rows if r['stage'] == 'fresh seeds'
           and r['knobs'].get('lr') == found[1].knobs['lr']]  # fmt: skip
  assert found[1].mean == pytest.approx(np.mean(again))


def test_the_test_split_is_never_evaluated(found):
  assert {name for row in journal(found[0]) for name in row['results']} == {'held_out'}


def test_best_txt_is_a_flag_file_that_the_command_line_reads(found):
  folder, result = found
  words = flags.expand([f'--flagfile={folder}/best.txt'])
  given, stray = flags.parse(flags.knobs(experiment), words)
  assert given == result.knobs
  assert not stray
  assert (pathlib.Path(folder) / 'slices.png').stat().st_size > 5_000


def test_a_rerun_adds_only_what_is_missing(found):
  folder, result = found
  before = len(journal(folder))
  again = tune(Build.of(experiment), workdir=folder, trials=8, sampler='sobol', seeds=3)
  assert len(journal(folder)) == before
  assert again == result
  tune(Build.of(experiment), workdir=folder, trials=10, sampler='sobol', seeds=3)
  rows = [r for r in journal(folder) if r['stage'] == 'tune']
  assert len(rows) == 10


def search(folder, **options):
  build = Build.of(experiment)
  usual = {'metric': 'held_out/loss', 'higher': False, 'sampler': 'random', 'pruner': 'none'}
  usual['storage'] = str(folder / 'search.journal')
  return Search(build, Trials(build), read_space(build), **{**usual, **options})


def test_trials_of_dead_workers_are_failed_and_those_of_living_ones_left(tmp_path):
  first = search(tmp_path)
  gone = subprocess.Popen([sys.executable, '-c', ''])
  gone.wait()
  for process in (gone.pid, os.getppid()):
    first.study.ask().set_user_attr('worker', f'{platform.node()}:{process}')
  first.study.ask().set_user_attr('worker', f'elsewhere:{gone.pid}')
  second = search(tmp_path)
  assert second.reaped == 1
  assert [t.number for t in second.running()] == [1, 2]
  assert len(second.counted()) == 2


def test_workers_together_make_no_more_trials_than_asked(tmp_path):
  one, two = search(tmp_path), search(tmp_path)
  two.study.ask().set_user_attr('worker', 'elsewhere:1')
  measured = []
  one.trials.measure = lambda runs, evals, **_: measured.append(runs) or [{evals[0]: {'loss': 1.0}}]
  one.study.tell(one.study.ask(), state=optuna.trial.TrialState.FAIL)  # One that was reaped.
  one.run(3)
  assert len(measured) == 2
  assert len(one.counted()) == 3
  late = one.study.ask()  # By a worker that counted before another one began the third.
  with pytest.raises(Surplus):
    one.attempt(late, 3)
  assert len(measured) == 2


def test_a_database_holds_the_search_as_well(tmp_path):
  place = {'storage': f'sqlite:///{tmp_path}/search.db'}
  one = search(tmp_path, **place)
  one.trials.measure = lambda runs, evals, **_: [{evals[0]: {'loss': runs[0]['lr']}}]
  one.run(3)
  two = search(tmp_path, **place)
  assert two.best().value == min(t.params['lr'] for t in one.study.trials)
  assert not (tmp_path / 'search.journal').exists()


def test_asha_prunes_by_intermediate_results(tmp_path):
  one = search(tmp_path, pruner='asha')
  shares = []

  def measure(runs, evals, *, share=1.0, stage=''):
    shares.append(share)
    return [{evals[0]: {'loss': abs(np.log(runs[0]['lr'] / 0.03))}}]

  one.trials.measure = measure
  one.run(18)
  states = [t.state.name for t in one.study.trials]
  assert states.count('PRUNED') >= 9
  assert shares.count(1.0) == states.count('COMPLETE') >= 1
  assert shares.count(1 / 9) == 18
  assert one.best().value == min(t.value for t in one.finished())


def test_a_trial_that_diverged_is_the_worst_and_an_edge_is_said(tmp_path):
  one = search(tmp_path)
  losses = iter([float('nan'), 2.0, 3.0])
  one.trials.measure = lambda runs, evals, **_: [{evals[0]: {'loss': next(losses)}}]
  one.run(3)
  assert one.best().value == 2.0
  assert one.edges({'lr': 0.9, 'kind': 'relu'}) == [
    'The best lr, 0.9, is at the upper edge of log(1e-05, 1.0): widen it'
  ]
  assert one.edges({'lr': 0.1, 'kind': 'relu'}) == []


def test_a_search_of_something_else_is_refused(tmp_path):
  search(tmp_path)
  toys.check_sentence(
    lambda: search(tmp_path, metric='held_out/x'), ['choose another'], '.*journal'
  )


@pytest.mark.parametrize(
  ('space', 'knobs', 'words'),
  [
    ({}, {}, 'has no SPACE'),
    ({'rl': tuning.log(1, 2)}, {}, 'rl is no knob'),
    ({'lr': tuning.log(1e-1, 1e-4)}, {}, r'lr: log\(0.1, 0.0001\) is empty'),
    ({'lr': (1e-4, 1e-1)}, {}, 'is no set of values'),
    ({'kind': tuning.choice('relu', 'rleu')}, {}, 'not of its type'),
    ({'width': tuning.uniform(1.5, 4.5)}, {}, 'not of its type'),
    ({'lr': tuning.log(1e-4, 1e-1)}, {'lr': 0.1}, '--lr is given'),
    ({'seed': tuning.integers(0, 9)}, {}, 'a seed is not to be chosen'),
  ],
)
def test_a_bad_space_is_refused_before_anything_is_made(space, knobs, words, tmp_path, monkeypatch):
  monkeypatch.setitem(globals(), 'SPACE', space)
  with pytest.raises(ValueError, match=words):
    tune(Build.of(experiment, **knobs), workdir=str(tmp_path / 'new'))
  assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('metric', ['test/loss', 'late/loss', 'held_out', 'loss', 'held_uot/loss'])
def test_the_metric_must_be_of_a_split_for_choosing(metric):
  with pytest.raises(ValueError, match=r'evaluations for choosing: held_out$'):
    choosing(Build.of(experiment), metric)
