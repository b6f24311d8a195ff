"""A study finds what was planted, claims nothing in vain, and goes on when killed."""

import json
import math
import pathlib

import numpy as np
import pytest
import toys

from bigtrain import data, evaluation
from bigtrain.build import Build
from bigtrain.experiment import Eval, Experiment
from bigtrain.gates import leak
from bigtrain.verbs.study import study
from bigtrain.verdict import NULL, conclude

LEVERS = {'data: labels as they are': dict(noise=0.0), 'architecture: dropout': dict(dropout=0.1)}


def experiment(
  *,
  noise: float = 0.9,  # Share of the training labels that are random.
  dropout: float = 0.0,
  leaked: bool = False,
  lr: float = 0.03,
  epochs: float = 6.0,
  seed: int = 0,
) -> Experiment:
  """Returns an experiment on points of 3 classes, with a defect that can be undone."""
  import optax

  rng = np.random.default_rng(1)
  label = rng.integers(0, 3, 300)
  image = rng.normal(size=(300, 2, 2, 1)) + 2 * np.eye(4)[label].reshape(300, 2, 2, 1)
  image = image.astype(np.float32)
  spoiled = np.where(rng.random(300) < noise, rng.integers(0, 3, 300), label)
  parts = slice(0, 100), slice(0 if leaked else 100, 200), slice(200, 300)
  train, held_out, test = (
    data.arrays(image=image[part], label=(spoiled if part.stop == 100 else label)[part])
    for part in parts
  )
  objective = evaluation.softmax_cross_entropy
  return Experiment(
    data=data.forever(train, 20, seed=seed),
    model=toys.Net(dropout, batch_norm=False),
    objective=objective,
    optimizer=optax.sgd(lr, momentum=0.9),
    steps=data.steps(train, 20, epochs=epochs),
    evals={k: Eval(data.once(v, 50), objective) for k, v in (('held_out', held_out),
                                                             ('test', test))},
    seed=seed,
  )  # fmt: skip


@pytest.fixture(scope='module')
def found(tmp_path_factory):
  folder = str(tmp_path_factory.mktemp('study'))
  return folder, study(Build.of(experiment), workdir=folder, seeds=4)


def test_the_planted_lever_is_the_key(found):
  folder, result = found
  assert result.key == 'data: labels as they are'
  assert result.ranking[0] == result.key
  assert result.key in result.answer
  assert 'better' in result.answer
  assert result.effects[result.key].high < 0
  page = (pathlib.Path(folder) / 'study.html').read_text()
  assert result.key in page
  assert '<svg' in page


def test_every_pair_of_the_comparison_has_seeds_that_the_screening_did_not(found):
  rows = [json.loads(line) for line in (pathlib.Path(found[0]) / 'trials.jsonl').open()]
  seeds = {stage: {r['knobs']['seed'] for r in rows if r['stage'] == stage}
           for stage in ('screening', 'comparison')}  # fmt: skip
  assert len(seeds['comparison']) == 4 + 4
  assert not seeds['screening'] & seeds['comparison']
  assert all('test' not in r['results'] for r in rows if r['stage'] == 'screening')


def test_a_killed_study_goes_on_and_ends_with_the_same_figures(found, tmp_path):
  folder, result = found
  lines = (pathlib.Path(folder) / 'trials.jsonl').read_text().splitlines(keepends=True)
  (tmp_path / 'trials.jsonl').write_text(''.join(lines[:-3]) + lines[-3][:40])
  again = study(Build.of(experiment), workdir=str(tmp_path), seeds=4)
  kept = (tmp_path / 'trials.jsonl').read_text()
  assert kept.startswith(''.join(lines[:-3]))
  assert len(kept.splitlines()) == len(lines) + 1  # The half line stands between.
  assert again.key == result.key
  for name, effect in result.effects.items():
    assert again.effects[name].mean == pytest.approx(effect.mean, rel=1e-3, abs=1e-4)
  trained = (tmp_path / 'trials.jsonl').stat().st_mtime_ns
  study(Build.of(experiment), workdir=str(tmp_path), seeds=4)
  assert (tmp_path / 'trials.jsonl').stat().st_mtime_ns == trained


def test_a_leak_ends_a_study(tmp_path):
  result = study(Build.of(experiment, leaked=True), workdir=str(tmp_path))
  assert result.key is None
  assert '100 of 200 records of held_out' in result.answer
  assert leak(experiment()).passed


def test_arguments_that_make_no_sense_are_refused(tmp_path):
  build = Build.of(experiment)
  bad = [
    (dict(metric='test/loss'), 'evaluations for choosing: held_out'),
    (dict(metric='loss'), 'held_out'),
    (dict(seeds=1), 'seeds=2'),
    (dict(levers=('dropuot=1',)), 'dropout'),
    (dict(levers=('dropout',)), 'knob=value'),
  ]
  for options, words in bad:
    with pytest.raises(ValueError, match=words):
      study(build, workdir=str(tmp_path), **options)
  assert list(tmp_path.iterdir()) == []


def decide(values, tests=None, **options):
  chosen = {'metric': 'm', 'higher': False, 'alpha': 0.05, 'ranking': list(values), **options}
  return conclude(values, tests or {}, **chosen)


def weigh(rng, shift, alpha=0.05, pairs=8):
  noise = {name: rng.normal(size=(2, pairs)) for name in ('a', 'b', 'c', NULL)}
  noise['a'][0] += shift
  values = {name: [(on, off)] for name, (on, off) in noise.items()}
  tests = {k: [(on + rng.normal(size=pairs), off + rng.normal(size=pairs))]
           for k, [(on, off)] in values.items()}  # fmt: skip
  return decide(values, tests, alpha=alpha)


def test_a_key_is_rarely_claimed_where_there_is_none_and_mostly_where_there_is():
  rng = np.random.default_rng(0)
  assert sum(weigh(rng, 0.0).key is not None for _ in range(200)) <= 200 * 0.05
  assert 'No key found' in weigh(rng, 0.0, alpha=1e-9).answer
  assert sum(weigh(rng, -4.0).key == 'a' for _ in range(50)) >= 45


def test_the_interval_of_whatever_looks_largest_covers_as_often_as_it_says():
  rng, inside = np.random.default_rng(0), 0
  for _ in range(400):
    values = {name: [(rng.normal(size=8), rng.normal(size=8))] for name in 'abc'}
    effects = decide(values).effects
    largest = max(effects.values(), key=lambda effect: abs(effect.mean))
    inside += largest.low < 0 < largest.high
  assert inside / 400 >= 0.93  # Intervals of 95 % each would cover in 86 of 100.


def test_a_lever_that_matters_at_its_own_rate_alone_is_no_key():
  rng = np.random.default_rng(0)
  off, noise = rng.normal(size=8), 0.1 * rng.normal(size=(2, 8))
  better, same, worse = off - 1 + noise[0], off + noise[1], off + 1 + noise[1]
  assert decide({'a': [(better, off)]}).key == 'a'
  assert decide({'a': [(better, off), (same, off)]}).key is None
  assert decide({'a': [(better, off), (worse, off)]}).key is None
  assert decide({'a': [(better, off), (better, off)]}).key == 'a'


def test_a_rate_that_was_found_is_a_key_only_where_it_helps():
  off = np.random.default_rng(0).normal(size=8)
  noise = 0.1 * np.random.default_rng(1).normal(size=8)
  for shift, higher, key in ((-1, False, 'a'), (1, False, None), (1, True, 'a')):
    found = decide({'a': [(off + shift + noise, off)]}, repairs=['a'], higher=higher)
    assert found.key == key


def test_a_run_that_diverged_is_no_key():
  rng = np.random.default_rng(0)
  values = {'a': [(np.full(8, math.nan), rng.normal(size=8))], NULL: [rng.normal(size=(2, 8))]}
  assert decide(values).key is None
