"""Features are varied in the units and the shares that are asked for."""

import numpy as np
import pytest

from bigtrain.data.draws import Draws
from bigtrain.data.label_mixing import mixup
from bigtrain.data.table_variation import feature_dropout, feature_noise, feature_swap

ROWS, COLUMNS = 512, 6
DEVIATION = np.array([0, 1, 2, 5, 10, 100])


def draws(start=0, stop=None):
  return Draws(7, 0, ROWS, start, stop)


def batch():
  values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)) * DEVIATION
  return {'features': values.astype(np.float32), 'label': np.arange(ROWS, dtype=np.float32)}


def reference():
  """Row i holds the values 1000 column + i."""
  return (1000 * np.arange(COLUMNS) + np.arange(40)[:, None]).astype(np.float32) + 500


MAPS = {
  'feature_noise': feature_noise(DEVIATION, 0.5),
  'feature_swap': feature_swap(reference()),
  'feature_dropout': feature_dropout(0.3, fill=7),
}


@pytest.mark.parametrize('name', MAPS)
def test_a_row_is_the_same_however_many_hosts_there_are(name):
  before, vary = batch(), MAPS[name]
  whole = vary(before, draws())
  assert np.array_equal(before['features'], batch()['features'])
  assert whole['label'] is before['label']
  assert whole['features'].dtype == np.float32
  for hosts in (2, 64):
    rows = ROWS // hosts
    parts = [
      vary({k: v[i : i + rows] for k, v in before.items()}, draws(i, i + rows))['features']
      for i in range(0, ROWS, rows)
    ]
    assert np.array_equal(np.concatenate(parts), whole['features'])


def test_noise_is_in_units_of_each_column():
  noise = MAPS['feature_noise'](batch(), draws())['features'] - batch()['features']
  assert np.allclose(noise.std(0), DEVIATION / 2, rtol=0.1)
  assert (np.abs(noise.mean(0)) <= DEVIATION * 0.08).all()
  assert not noise[:, 0].any()
  assert np.abs(np.corrcoef(noise[:, 1:].T) - np.eye(COLUMNS - 1)).max() < 0.2
  alike = feature_noise(2, 0.5)(batch(), draws())['features'] - batch()['features']
  assert np.allclose(alike.std(0), 1, rtol=0.1)


def test_a_feature_is_swapped_within_its_column():
  got = feature_swap(reference(), 0.2)(batch(), draws())['features']
  swapped = got != batch()['features']
  assert np.allclose(swapped.mean(0), 0.2, atol=0.06)
  row = got - 500 - 1000 * np.arange(COLUMNS)
  taken = row[swapped]
  assert taken.min() == 0
  assert taken.max() == 39
  assert np.array_equal(taken, np.rint(taken))
  both = swapped[:, 0] & swapped[:, 1]
  assert 0 < both.mean() < 0.1
  assert (row[both, 0] != row[both, 1]).mean() > 0.8  # From a row of its own each.


def test_a_dropped_feature_is_filled():
  fill = np.arange(COLUMNS) + 1000
  got = feature_dropout(0.3, fill=fill)(batch(), draws())['features']
  gone = got != batch()['features']
  assert np.allclose(gone.mean(0), 0.3, atol=0.07)
  assert (gone[:, 0] & gone[:, 1]).mean() < 0.15
  assert np.array_equal(got[gone], np.broadcast_to(fill, got.shape)[gone])
  assert np.array_equal(feature_dropout(0)(batch(), draws())['features'], batch()['features'])


def test_rows_mix_with_numbers_as_labels():
  before = {'features': np.repeat(batch()['label'][:, None], 3, 1), 'label': batch()['label']}
  got = mixup(1, key='features')(before, draws())
  assert np.allclose(got['features'], got['label'][:, None], atol=1e-3)
  assert not np.allclose(got['label'], before['label'], atol=1)


@pytest.mark.parametrize(
  ('do', 'words'),
  [
    (lambda: feature_noise([1, -1]), ['feature_noise', '-1']),
    (lambda: feature_noise([1, 2])(batch(), draws()), ['6 columns', '(2,)']),
    (lambda: feature_swap(np.ones(3)), ['reference', '(3,)', '[N, F]']),
    (lambda: feature_swap(reference(), 2), ['feature_swap: probability', '2']),
    (lambda: feature_swap(reference()[:, :1])(batch(), draws()), ['6 columns', '(1,)']),
    (lambda: feature_dropout(key='label')(batch(), draws()), ["'label'", '(512,)', '[B, F]']),
    (lambda: feature_dropout(key='x')(batch(), draws()), ["'x'", 'features, label']),
  ],
)
def test_a_sentence(do, words):
  with pytest.raises(ValueError, match=r'^data\.') as caught:
    do()
  assert [word for word in words if word not in str(caught.value)] == []
