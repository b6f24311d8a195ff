"""`evaluate` as a person meets it: intervals, slices, temperature, pictures, and who looked."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import data, evaluation
from bigtrain.build import Build
from bigtrain.evaluation.audit import looks
from bigtrain.experiment import Eval, Experiment
from bigtrain.program import Program
from bigtrain.search import choosing
from bigtrain.train import fit
from bigtrain.verbs.evaluate import evaluate
from bigtrain.verbs.study import study
from bigtrain.verbs.train import train
from tests import toys


def toy(evaluator=None, objective=evaluation.softmax_cross_entropy) -> Experiment:
  rng = np.random.default_rng(0)
  columns = toys.source(90).columns
  source = data.arrays(**columns, group=['town', 'sea', 'hill'] * 30)
  source.about['classes'] = tuple('abcdefghij')
  seen = data.arrays(image=columns['image'], label=columns['label'], rest=rng.random(90))
  evals = {
    name: Eval(data.once(source, 16, map=_without_text), objective, evaluator)
    for name in ('held_out', 'test')
  }
  return Experiment(
    data=data.forever(seen, 8), model=toys.Net(), objective=evaluation.softmax_cross_entropy,
    optimizer=optax.adam(0.01), steps=2, evals=evals,
  )  # fmt: skip


def _without_text(batch, draws):
  del draws
  return {key: value for key, value in batch.items() if key != 'group'}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  place = str(tmp_path_factory.mktemp('run'))
  fit(Program(toy()), place, progress=False)
  return place


def test_every_number_has_its_interval_and_pictures_of_it(run, capsys):
  evaluator = evaluation.Classification(resamples=50)
  results = evaluate(toy(evaluator), workdir=run, slice='group', temperature='held_out')
  printed = capsys.readouterr().out
  alone = {
    name for name in results['test']
    if not name.endswith(('_low', '_high')) and f'{name}_low' not in results['test']
  }  # fmt: skip
  assert alone == {'temperature'}
  # The same data: what is fitted on held_out can only be better.
  assert results['test']['scaled_log_loss'] <= results['test']['log_loss']
  assert 'The worst, of those with 10 examples or more: group=' in printed
  folder = f'{run}/evaluation/test'
  with open(f'{folder}/metrics.json') as file:
    kept = json.load(file)
  assert (kept['step'], kept['examples']) == (2, 90)
  assert kept['metrics']['accuracy']['value'] == results['test']['accuracy']
  assert kept['metrics']['accuracy']['low'] == results['test']['accuracy_low']
  with open(f'{folder}/slices.json') as file:
    sliced = json.load(file)
  assert set(sliced['slices']) == {'town', 'sea', 'hill'}
  mean = np.mean([s['accuracy']['value'] for s in sliced['slices'].values()])
  assert mean == pytest.approx(results['test']['accuracy'])  # Slices of one size.
  lowest = min(sliced['slices'].values(), key=lambda s: s['accuracy']['value'])
  assert sliced['slices'][sliced['worst']]['accuracy'] == lowest['accuracy']


def test_any_objective_has_intervals_and_one_over_whole_batches_none(run):
  results = evaluate(toy(), workdir=run, only=('held_out',), pictures=False)['held_out']
  assert results['loss_low'] < results['loss'] < results['loss_high']
  grouped = evaluate(toy(), workdir=run, only=('held_out',), cluster='group', pictures=False)
  assert grouped['held_out']['loss'] == results['loss']
  assert grouped['held_out']['loss_low'] != results['loss_low']  # Drawn by group.

  def whole(apply, batch):
    logits = apply(batch['image'])
    means = evaluation.softmax_cross_entropy(apply, batch)
    spread = evaluation.JointMean.of(logits - logits.mean(axis=0), batch['weight'])
    # Divided by the batch's weight before it is added: its terms do not add up.
    share = evaluation.Mean(means['loss'].value, jnp.ones(()))
    return {**means, 'spread': spread, 'share': share}

  spread = evaluate(toy(objective=whole), workdir=run, only=('held_out',), pictures=False)
  assert 'spread_low' not in spread['held_out']  # Each example sees the others of its batch.
  assert spread['held_out']['loss_low'] == results['loss_low']
  assert 'share_low' not in spread['held_out']


def test_terms_add_up_to_the_means():
  rng = np.random.default_rng(0)
  batch = {'features': rng.normal(size=(9, 3)).astype(np.float32), 'label': np.arange(9) % 3}
  batch['weight'] = np.array([1, 1, 0, 1, 2, 1, 1, 1, 0.5], np.float32)
  objective = functools.partial(evaluation.softmax_cross_entropy, smoothing=0.1)
  means, items = jax.jit(lambda batch: evaluation.itemise(objective, lambda x: x, batch))(batch)
  for row in range(9):
    one = {key: value[row : row + 1] for key, value in batch.items()}
    for name, mean in objective(lambda x: x, one).items():
      expected = [float(mean.total), float(mean.weight)]
      assert items[name][row] == pytest.approx(expected, rel=1e-5)
  for name, mean in means.items():
    expected = [float(mean.total), float(mean.weight)]
    assert items[name].sum(axis=0) == pytest.approx(expected, rel=1e-5)
  losses = evaluation.item_values(items, 'loss')
  assert losses is not None
  assert np.flatnonzero(np.isnan(losses)).tolist() == [2]


def test_who_looked_is_written_down_and_choosing_by_test_refused(run):
  before = len(looks(run))
  evaluate(toy(), workdir=run, pictures=False)
  assert [(x['verb'], x['evaluation']) for x in looks(run)[before:]] == [('evaluate', 'test')]
  with pytest.raises(ValueError, match='choose by the test split'):
    evaluate(toy(), workdir=run, temperature='test')
  with pytest.raises(ValueError, match="no key 'grp'"):
    evaluate(toy(), workdir=run, slice='grp', only=('held_out',))
  with pytest.raises(ValueError, match='its evaluator keeps none'):
    evaluate(toy(), workdir=run, temperature='held_out')


def test_training_looks_at_the_test_split_once_and_says_so(tmp_path, capsys):
  for _ in range(2):  # The second start has nothing left to do, and looks at nothing.
    train(toy(), workdir=str(tmp_path), progress='off')
    assert [(x['verb'], x['evaluation'], x['step']) for x in looks(str(tmp_path))] == [
      ('train', 'test', 2)
    ]
  assert 'Done at step 2' in capsys.readouterr().out
  with pytest.raises(ValueError, match='split anew'):
    train(toy(), workdir=str(tmp_path / 'other'), leaks='refuse')
  assert not (tmp_path / 'other').exists()


def test_nothing_chooses_by_a_test_split_whatever_its_name():
  def build(*, seed: int = 0):
    made = toys.experiment(seed=seed)
    return dataclasses.replace(made, evals={'clean_test': made.evals['held_out']})

  with pytest.raises(ValueError, match='evaluations for choosing: none'):
    choosing(Build.of(build), 'clean_test/loss')
  with pytest.raises(ValueError, match=r'evaluations for choosing: $'):
    study(Build.of(build), metric='clean_test/loss', levers=('seed=1',), workdir='')


def test_regression_text_and_tables_are_drawn(tmp_path):
  rng = np.random.default_rng(0)
  source = data.arrays(features=rng.normal(size=(20, 10)), label=rng.normal(size=20))

  def total(apply, batch):
    return evaluation.mean_squared_error(lambda x: apply(x).sum(axis=-1), batch)

  class Sum(evaluation.Regression):
    def predict(self, apply, batch):
      return super().predict(lambda x: apply(x).sum(axis=-1), batch)

  experiment = dataclasses.replace(
    toy(), data=data.forever(source, 8), objective=total, steps=1,
    evals={'held_out': Eval(data.once(source, 8), total, Sum(resamples=50))},
  )  # fmt: skip
  fit(Program(experiment), str(tmp_path), progress=False)
  results = evaluate(experiment, workdir=str(tmp_path))['held_out']
  assert results['rmse'] == pytest.approx(results['loss'] ** 0.5, rel=1e-5)
  drawn = {path.name for path in (tmp_path / 'evaluation' / 'held_out').iterdir()}
  assert drawn == {'metrics.json', 'residuals.png', 'worst.png'}
