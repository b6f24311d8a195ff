"""Planted label errors are found, few right labels go, and training without them is better."""

import json
from typing import Any

import numpy as np
import pytest
import toys

from bigtrain import data
from bigtrain.data.label_errors import (
  drop_label_errors,
  find_label_errors,
  logistic_regression,
  out_of_fold,
)

METHODS: Any = ('confident_joint', 'class', 'noise_rate', 'both')


@pytest.fixture(scope='module')
def digits():
  """Returns a training part with 20 % of labels wrong, which, a clean part, and probabilities."""
  clean, test = data.split_stratified(data.digits(), 0.3, 0)
  rng = np.random.default_rng(0)
  label = clean.column('label').copy()
  wrong = rng.permutation(len(label))[: len(label) // 5]
  label[wrong] = (label[wrong] + rng.integers(1, 10, len(wrong))) % 10
  noisy = data.Arrays({**clean.columns, 'label': label}, clean.about)
  return noisy, wrong, test, out_of_fold(noisy, logistic_regression())


@pytest.mark.parametrize(
  ('method', 'precision', 'recall'),
  [  # Means of 4 seeds: 0.90 and 0.77, 0.87 and 0.95, 0.89 and 0.90, 0.92 and 0.88.
    ('confident_joint', 0.85, 0.72),
    ('class', 0.82, 0.9),
    ('noise_rate', 0.85, 0.86),
    ('both', 0.88, 0.84),
  ],
)
def test_planted_errors_are_found(digits, method: Any, precision, recall):
  noisy, wrong, _, probabilities = digits
  found = find_label_errors(probabilities, noisy.column('label'), method)
  right = np.isin(found.indices, wrong)
  assert right.mean() > precision
  assert right.sum() / len(wrong) > recall
  assert found.report['noise'] == pytest.approx(0.2, abs=0.05)
  assert right[: len(right) // 2].mean() > right[len(right) // 2 :].mean()  # The worst come first.
  assert (np.diff(found.margins) >= 0).all()
  assert json.loads(json.dumps(found.report)) == found.report


def test_training_without_them_is_better(digits):
  noisy, _, test, probabilities = digits
  left = drop_label_errors(noisy, find_label_errors(probabilities, noisy.column('label')))
  labels = test.column('label')
  accuracies = [
    (logistic_regression()(part, test).argmax(1) == labels).mean() for part in (noisy, left)
  ]
  assert accuracies[1] > accuracies[0] + 0.015
  assert left.about['label_errors']['suspected'] == len(noisy) - len(left)
  assert left.about['name'] == 'digits'


def test_right_labels_mostly_stay(digits):
  _, _, test, _ = digits
  found = find_label_errors(out_of_fold(test, logistic_regression()), test.column('label'))
  assert len(found.indices) < 0.05 * len(test)
  assert found.report['noise'] < 0.06


def test_the_confident_joint_is_that_of_the_paper():
  probabilities = np.array([
    [0.9, 0.1, 0.0],  # Given 0; thresholds are the means: 0.6, 0.75 and 0.5.
    [0.8, 0.2, 0.0],
    [0.1, 0.9, 0.0],  # Given 0, confidently 1.
    [0.55, 0.3, 0.15],  # Given 1, confidently nothing.
    [0.0, 1.0, 0.0],
    [0.05, 0.95, 0.0],
    [0.3, 0.2, 0.5],
    [0.45, 0.05, 0.5],
  ])  # fmt: skip
  labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
  found = find_label_errors(probabilities, labels, 'confident_joint')
  assert found.confident_joint.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 2]]
  # Calibrated, label 1 counts 3 records, all of class 1: of class 1 a quarter is labelled 0.
  assert np.allclose(found.noise, [[1, 0.25, 0], [0, 0.75, 0], [0, 0, 1]])
  assert found.indices.tolist() == [2]
  assert found.margins[0] == pytest.approx(-0.8)
  assert found.report['noise'] == pytest.approx(1 / 8)
  assert found.report['mistakes'] == [[0, 1, 1]]
  # Record 2 is the one of label 0 with the least probability of 0, and the nearest to 1.
  assert all(find_label_errors(probabilities, labels, m).indices.tolist() == [2] for m in METHODS)


def test_both_is_what_class_and_noise_rate_agree_on(digits):
  noisy, _, _, probabilities = digits
  found = {
    m: set(find_label_errors(probabilities, noisy.column('label'), m).indices) for m in METHODS
  }
  assert found['both'] == found['class'] & found['noise_rate']
  assert found['class'] != found['noise_rate']


def test_records_may_come_in_any_order(digits):
  noisy, _, _, probabilities = digits
  order = np.random.default_rng(1).permutation(len(noisy))
  labels = noisy.column('label')
  here, there = (
    find_label_errors(probabilities[rows], labels[rows]) for rows in (np.arange(len(noisy)), order)
  )
  assert np.array_equal(here.confident_joint, there.confident_joint)
  assert set(here.indices) == set(order[there.indices])


def test_a_class_without_labels_is_no_error():
  probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
  found = find_label_errors(probabilities, np.array([0, 1, 0]))
  assert found.confident_joint[:, 2].sum() == 0
  assert np.isfinite(found.noise).all()


def test_each_row_is_predicted_by_a_model_that_has_not_seen_it():
  labels = np.arange(40) % 4
  source = data.arrays(x=np.arange(40), label=labels, patient=np.arange(40) // 2)

  def fit_predict(train, held_out):
    seen, rows = data.column(train, 'x'), data.column(held_out, 'x')
    assert not set(seen.tolist()) & set(rows.tolist())
    assert len(seen) + len(rows) == 40
    assert np.bincount(data.column(held_out, 'label')).tolist() == [2, 2, 2, 2]
    return np.stack([rows, 1 - rows], 1)

  for part in (source, data.select(toys.Records(*(source[i] for i in range(40))), np.arange(40))):
    assert out_of_fold(part, fit_predict)[:, 0].tolist() == list(range(40))

  def patients(train, held_out):
    assert not set(data.column(train, 'patient')) & set(data.column(held_out, 'patient'))
    return np.ones((len(held_out), 1))

  out_of_fold(source, patients, group='patient')


def test_logistic_regression_reads_features_and_allows_for_a_rare_class():
  rng = np.random.default_rng(0)
  label = np.array([0, 1] * 30 + [2])
  source = data.arrays(features=(rng.normal(size=(61, 3)) + 9 * label[:, None]) * 1e4, label=label)
  probabilities = out_of_fold(source, logistic_regression(), 3)
  assert probabilities.shape == (61, 3)
  assert probabilities.dtype == np.float32
  assert (probabilities[:60].argmax(1) == label[:60]).mean() > 0.95
  assert np.allclose(probabilities.sum(1), 1, atol=1e-5)


GOOD = np.full((4, 2), 0.5)
LABELS = np.array([0, 1, 0, 1])
SOURCE = data.arrays(x=np.arange(8), label=np.arange(8) % 2)
BAD = {
  'logits': (lambda: find_label_errors(GOOD * 3, LABELS), ['record 0', 'softmax']),
  'nan': (lambda: find_label_errors(GOOD * [[1], [1], [np.nan], [1]], LABELS), ['record 2']),
  'negative': (lambda: find_label_errors(GOOD + np.array([0.6, -0.6]), LABELS), ['negative']),
  'one class': (lambda: find_label_errors(np.ones((4, 1)), LABELS), ['(4, 1)', '[N, C]']),
  'too few labels': (lambda: find_label_errors(GOOD, LABELS[:3]), ['int64[3]', '4 integers']),
  'soft labels': (lambda: find_label_errors(GOOD, LABELS * 1.0), ['float64', 'integers']),
  'from 1': (lambda: find_label_errors(GOOD, LABELS + 1), ['label 2', '2 classes', 'from 0']),
  'below 0': (lambda: find_label_errors(GOOD, LABELS - 1), ['label -1']),
  'method': (lambda: find_label_errors(GOOD, LABELS, 'all'), ['noise_rate', "'all'"]),  # type: ignore
  'shape': (
    lambda: out_of_fold(SOURCE, lambda train, held_out: np.ones((3, 2)), 4),
    ['fold 0', '(3, 2)', '(2, 2)'],
  ),
  'classes': (
    lambda: out_of_fold(SOURCE, lambda _, held: np.ones((2, 1 + held[0]['x'] % 8)), 4),
    ['fold 1', 'lacks'],
  ),
  'no input': (lambda: logistic_regression()(SOURCE, SOURCE), ["'features'", 'label, x']),
  'other source': (
    lambda: drop_label_errors(SOURCE, find_label_errors(GOOD, LABELS)),
    ['4 records', '8'],
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  toys.check_sentence(do, words, r'^data')
