"""Toy runs give a law and go on where they were cut; a prediction stays as it was."""

import dataclasses
import json
import pathlib

import numpy as np
import optax
import pytest
import toys
from flax import linen as nn

from bigtrain import data, evaluation, ladder, prediction, tuning
from bigtrain.build import Build
from bigtrain.experiment import Eval, Experiment
from bigtrain.verbs.scale import scale


class Wide(nn.Module):
  """One hidden layer."""

  width: int

  @nn.compact
  def __call__(self, x, *, train: bool):
    return nn.Dense(3)(nn.relu(nn.Dense(self.width)(x.reshape(x.shape[0], -1))))


def experiment(
  *, width: int = 2, steps: int = 8, lr: float = 0.05, falls: bool = False, seed: int = 0
) -> Experiment:
  """Returns an experiment on points of 3 classes."""
  rng = np.random.default_rng(1)
  label = rng.integers(0, 3, 400)
  image = rng.normal(size=(400, 2, 2, 1)) + np.eye(4)[label].reshape(400, 2, 2, 1)
  image = image.astype(np.float32)
  train, held_out = (data.arrays(image=image[p], label=label[p]) for p in (slice(300), slice(300)))
  schedule = tuning.warmup_linear(lr, steps) if falls else tuning.constant(lr)
  objective = evaluation.softmax_cross_entropy
  return Experiment(
    data=data.forever(train, 20, seed=seed),
    model=Wide(width),
    objective=objective,
    optimizer=optax.sgd(schedule),
    schedule=schedule,
    steps=steps,
    evals={'held_out': Eval(data.once(held_out, 100), objective, every=10),
           'test': Eval(data.once(held_out, 100), objective)},
    seed=seed,
  )  # fmt: skip


LADDER = {'sizes': ('width=2', '4', '8'), 'examples': (80.0, 320.0), 'points': 2, 'refits': 10}
LARGE = 'width=16 steps=32'


@pytest.fixture(scope='module')
def found(tmp_path_factory):
  folder = str(tmp_path_factory.mktemp('scale'))
  return folder, scale(Build.of(experiment), workdir=folder, predict=LARGE, **LADDER)


def journal(folder):
  return [json.loads(line) for line in (pathlib.Path(folder) / 'trials.jsonl').open()]


def test_every_size_is_run_for_every_length_with_its_points(found):
  folder, result = found
  seen = {(r['knobs']['width'], r['knobs']['steps'], r['steps']) for r in journal(folder)}
  ends = {(n, n // 2) for n in (4, 16)} | {(n, n) for n in (4, 16)}
  assert seen == {(width, *end) for width in (2, 4, 8) for end in ends}
  assert {name for row in journal(folder) for name in row['results']} == {'held_out'}
  assert result.outcome is None
  assert result.doubts == tuning.law_doubts(result.law, result.intervals)
  assert (pathlib.Path(folder) / 'law.png').stat().st_size > 5_000


def test_the_prediction_stays_as_it_was_and_is_compared(found):
  folder, result = found
  rows = len(journal(folder))
  [file] = pathlib.Path(folder).glob('prediction-*.json')
  before = file.read_text()
  again = scale(Build.of(experiment), workdir=folder, predict=LARGE, run=True, **LADDER)
  assert file.read_text() == before
  assert again.predicted == result.predicted
  assert dataclasses.replace(again, outcome=None) == result
  new = journal(folder)[rows:]
  assert [r['results']['held_out']['loss'] for r in new] == [again.outcome]
  assert again.outcome == pytest.approx(json.loads(before)['loss'], rel=0.3)


def test_what_is_known_cannot_be_predicted_nor_a_prediction_changed(tmp_path):
  folder = str(tmp_path)
  made = prediction.freeze(folder, 'k' * 16, {'loss': 1.5}, known=False)
  assert prediction.freeze(folder, 'k' * 16, {'loss': 2.5}, known=True) == made
  path = pathlib.Path(prediction.path_of(folder, 'k' * 16))
  path.write_text(path.read_text().replace('1.5', '1.6'))
  toys.check_sentence(
    lambda: prediction.freeze(folder, 'k' * 16, {}, known=True), ['was changed'], '.*prediction-'
  )
  toys.check_sentence(
    lambda: prediction.freeze(folder, 'other', {}, known=True), ['before it was predicted'], 'this'
  )


@pytest.mark.parametrize(
  ('options', 'words'),
  [
    ({'sizes': ('width=2', '4')}, 'at least 3 sizes, got 2'),
    ({'sizes': ('2', '4', '8')}, '--sizes=2: write a size as knob=value'),
    ({'sizes': ('widht=2', '4', '8')}, 'did you mean width'),
    ({'sizes': ('width=2', '4', '2')}, 'width=2 is given twice'),
    ({'ratios': (5.0,)}, 'one of --examples, --ratios and --budgets'),
    ({'examples': (10.0, 80.0)}, 'give longer runs'),
    ({'metric': 'test/loss'}, 'evaluations for choosing: held_out'),
    ({'run': True}, '--run makes the run that --predict names'),
  ],
)
def test_a_ladder_that_makes_no_sense_is_refused(options, words, tmp_path):
  with pytest.raises(ValueError, match=words):
    scale(Build.of(experiment), workdir=str(tmp_path), **{**LADDER, **options})
  assert list(tmp_path.iterdir()) == []


def test_points_within_a_run_take_a_rate_that_stays():
  one = ladder.Rung('width=2', {'width': 2}, 1, 160, 1.0, 8)
  ladder.check_courses(Build.of(experiment), [one], 0.5)
  with pytest.raises(ValueError, match='the rate falls within the run'):
    ladder.check_courses(Build.of(experiment, falls=True), [one], 0.5)


def test_a_budget_gives_each_size_the_same_operations():
  from bigtrain.trials import Trials

  trials = Trials(Build.of(experiment))
  runs = ladder.rungs(trials, {'a': {'width': 4}, 'b': {'width': 16}}, budgets=[1e6])
  assert [one.flops for one in runs] == [pytest.approx(1e6, rel=0.1)] * 2
  assert runs[0].steps > 3 * runs[1].steps
