"""Folds of a whole experiment: each record judges once, by a model that has not seen it."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from bigtrain import data, evaluation
from bigtrain.build import Build
from bigtrain.experiment import Eval
from bigtrain.folding import deal
from bigtrain.program import Program
from bigtrain.train import fit
from bigtrain.verbs.crossvalidate import crossvalidate
from tests import toys


def experiment(*, steps: int = 2, seed: int = 0, lazy: bool = False):
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(40, 4, 4, 1)).astype(np.float32)
  columns = {'image': rows, 'label': np.arange(40) % 4, 'row': np.arange(40)}
  parts = [data.select(data.arrays(**columns), np.arange(40)[piece])
           for piece in (slice(0, 24), slice(24, 36), slice(36, 40))]  # fmt: skip
  if lazy:  # A person's own source: records one by one.
    parts = [toys.Records(*(part[i] for i in range(len(part)))) for part in parts]
  train, held_out, test = parts
  objective = evaluation.softmax_cross_entropy
  return dataclasses.replace(
    toys.experiment(steps=steps, seed=seed), data=data.forever(train, 8, seed=seed),
    evals={'held_out': Eval(data.once(held_out, 8), objective, every=1),
           'test': Eval(data.once(test, 8), objective)},
  )  # fmt: skip


@pytest.mark.parametrize('lazy', [False, True])
def test_each_record_is_held_out_once_and_none_of_the_test_split_is_seen(lazy):
  folds = deal(Build.of(experiment, lazy=lazy), 3)
  held = []
  for each in folds:
    assert set(each.evals) == {'held_out'}
    rows, own = (data.column(d.source, 'row') for d in (each.evals['held_out'].data, each.data))
    assert sorted([*rows, *own]) == list(range(36))
    assert np.bincount(data.column(each.evals['held_out'].data.source, 'label')).tolist() == [3] * 4
    held += rows.tolist()
  assert sorted(held) == list(range(36))


def test_folds_are_trained_kept_and_not_trained_again(tmp_path, capsys):
  build, place = Build.of(experiment), str(tmp_path)
  found = crossvalidate(build, workdir=place, folds=2)
  made = deal(build, 2)
  alone = [fit(Program(each)).results['held_out']['loss'] for each in made]
  assert found['loss'] == pytest.approx(alone, rel=1e-5)
  kept = json.loads(pathlib.Path(place, 'folds.json').read_text())['metrics']['loss']
  assert kept['mean'] == pytest.approx(np.mean(alone), rel=1e-5)
  # Of two folds: t of 1 degree of freedom, and the records that they share count, 1 / 2 + 1 / 1.
  half = 12.7062 * np.std(alone, ddof=1) * 1.5**0.5
  assert kept['high'] - kept['mean'] == pytest.approx(half, rel=1e-3)
  lines = pathlib.Path(place, 'fold_1', 'metrics.jsonl').read_text()
  assert crossvalidate(build, workdir=place, folds=2) == found
  assert pathlib.Path(place, 'fold_1', 'metrics.jsonl').read_text() == lines
  assert 'fold 1' in capsys.readouterr().out
  with pytest.raises(ValueError, match='--fold=0,2, not --fold=0,3'):
    crossvalidate(build, workdir=place, folds=3)
  with pytest.raises(ValueError, match='holds a single run'):
    crossvalidate(build, workdir=f'{place}/fold_0', folds=2)


def test_what_is_joined_to_be_dealt_keeps_the_names_that_agree():
  a, b = (data.arrays(label=[0, 1]) for _ in range(2))
  for part in (a, b):
    part.about['classes'] = ('no', 'yes')
  b.about['features'] = ('x',)
  about = data.folds(data.mix({'a': a, 'b': b}), 2)[0][0].about
  assert about['classes'] == ('no', 'yes')
  assert 'features' not in about


def test_what_cannot_be_dealt_is_refused():
  def windows(*, seed: int = 0):
    text = data.pack(data.arrays(text=['some words'] * 20), 8)
    made = experiment(seed=seed)
    return dataclasses.replace(made, data=data.forever(text, 8))

  with pytest.raises(ValueError, match='a knob fold'):
    deal(Build.of(windows), 3)
  with pytest.raises(ValueError, match='is a test split'):
    deal(Build.of(experiment), 3, evaluation='test')
  with pytest.raises(ValueError, match='it has held_out'):
    deal(Build.of(experiment), 3, evaluation='held')

  def own(*, fold: tuple[int, ...] = (), seed: int = 0):
    made = experiment(seed=seed)
    return dataclasses.replace(made, steps=100 * fold[1] + fold[0] + 1)

  assert [each.steps for each in deal(Build.of(own), 3)] == [301, 302, 303]
  with pytest.raises(ValueError, match='leave --stratify'):
    deal(Build.of(own), 3, group='row')
