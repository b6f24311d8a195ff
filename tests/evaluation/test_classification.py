"""The evaluator's numbers are scikit-learn's, and what is not defined is as documented."""

import math
import warnings

import jax
import numpy as np
import pytest
from sklearn import metrics

from bigtrain import evaluation

N, C = 300, 4


def table(n=N, classes=C, seed=0):
  rng = np.random.default_rng(seed)
  label = rng.integers(0, classes, n)
  logits = rng.normal(size=(n, classes)).astype(np.float32)
  logits[np.arange(n), label] += 1
  log_probability = np.array(jax.nn.log_softmax(logits))
  return {'log_probability': log_probability, 'label': label}


def test_the_report_is_scikit_learns():
  rows = table()
  report = evaluation.Classification().report(rows)
  label, score = rows['label'], np.exp(rows['log_probability'].astype(np.float64))
  score /= score.sum(axis=1, keepdims=True)
  predicted = score.argmax(axis=1)
  expected = {
    'accuracy': metrics.accuracy_score(label, predicted),
    'balanced_accuracy': metrics.balanced_accuracy_score(label, predicted),
    'macro_precision': metrics.precision_score(label, predicted, average='macro'),
    'macro_recall': metrics.recall_score(label, predicted, average='macro'),
    'macro_f1': metrics.f1_score(label, predicted, average='macro'),
    'roc_auc': metrics.roc_auc_score(label, score, multi_class='ovr'),
    'log_loss': metrics.log_loss(label, score),
  }
  assert {name: report[name] for name in expected} == pytest.approx(expected, rel=1e-5)
  for name in expected:
    assert report[f'{name}_low'] < report[name] < report[f'{name}_high']
  assert all(type(value) is float for value in report.values())
  confusion = evaluation.Classification().confusion(rows)
  np.testing.assert_array_equal(confusion, metrics.confusion_matrix(label, predicted))


def test_two_classes_are_judged_by_class_1():
  rows = table(classes=2)
  expected = metrics.roc_auc_score(rows['label'], rows['log_probability'][:, 1])
  assert evaluation.Classification().report(rows)['roc_auc'] == pytest.approx(expected)


def test_the_order_of_the_table_does_not_matter():
  rows = table()
  order = np.random.default_rng(1).permutation(N)
  turned = {key: column[order] for key, column in rows.items()}
  a, b = (evaluation.Classification().report(x) for x in (rows, turned))
  assert a == pytest.approx(b, rel=1e-9)


def test_predict_gives_rows_that_report_takes():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(8, 3)).astype(np.float32)
  batch = {'image': np.zeros((8, 2, 2, 1)), 'label': rng.integers(0, 3, 8)}
  rows = evaluation.Classification().predict(lambda x: logits, batch)
  np.testing.assert_allclose(np.exp(rows['log_probability']).sum(axis=1), 1, rtol=1e-6)
  accuracy = evaluation.Classification().report(jax.device_get(rows))['accuracy']
  assert accuracy == np.mean(logits.argmax(axis=1) == batch['label'])


@pytest.mark.parametrize('shape', [(6,), (6, 1)])
def test_one_logit_is_of_class_1_against_class_0(shape):
  logit = np.linspace(-2, 2, 6).astype(np.float32).reshape(shape)
  batch = {'features': np.zeros((6, 2)), 'label': np.array([0, 0, 1, 0, 1, 1])}
  rows = evaluation.Classification().predict(lambda x: logit, batch)
  expected = 1 / (1 + np.exp(-logit.ravel()))
  np.testing.assert_allclose(np.exp(rows['log_probability'])[:, 1], expected, rtol=1e-5)


def test_what_is_not_defined_is_nan():
  nothing = {'log_probability': np.zeros((0, C)), 'label': np.zeros(0, int)}
  diverged = table()
  diverged['log_probability'][5, 2] = np.nan
  for rows in (nothing, diverged):
    report = evaluation.Classification().report(rows)
    assert report.keys() == evaluation.Classification().report(table()).keys()
    assert all(math.isnan(value) for value in report.values())
  assert evaluation.Classification().confusion(nothing).sum() == 0


def test_a_class_that_does_not_occur_is_left_out():
  rows = table(classes=3)
  wider = np.concatenate([rows['log_probability'], np.full((N, 1), -50.0)], axis=1)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    report = evaluation.Classification().report({**rows, 'log_probability': wider})
  assert report == pytest.approx(evaluation.Classification().report(rows))
  one = {'log_probability': rows['log_probability'], 'label': np.zeros(N, int)}
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    report = evaluation.Classification().report(one)
  assert math.isnan(report['roc_auc'])
  assert report['balanced_accuracy'] == report['accuracy']
  assert 0 < report['macro_recall'] < report['accuracy']  # Predicted, never a label: recall 0.


def test_certainty_is_not_cut_off():
  rows = {'log_probability': np.array([[0.0, -100.0]] * 2), 'label': np.array([0, 1])}
  assert evaluation.Classification().report(rows)['log_loss'] == 50


@pytest.mark.parametrize('bad', [-1, C])
def test_a_label_without_a_class_is_named(bad):
  rows = table()
  rows['label'][7] = bad
  with pytest.raises(ValueError, match=f'of 4 classes, got {bad} in row 7'):
    evaluation.Classification().report(rows)


def test_the_interval_covers_the_truth_as_often_as_it_says():
  rng = np.random.default_rng(0)
  covered = 0
  for trial in range(200):
    values = rng.random(100) < 0.8
    low, high = evaluation.bootstrap_interval(values, resamples=300, seed=trial)
    covered += low <= 0.8 <= high
  # Percentile intervals of 100 draws cover a little less than they say; 3 standard errors of 200.
  assert 0.93 - 0.055 < covered / 200 < 0.93 + 0.055


def test_rows_that_come_four_times_tell_as_much_as_once():
  rows = table()
  alone = evaluation.Classification().report(rows)
  four = {key: np.repeat(column, 4, axis=0) for key, column in rows.items()}
  clustered = evaluation.Classification().report({**four, 'cluster': np.repeat(np.arange(N), 4)})
  naive = evaluation.Classification().report(four)
  for name in ('accuracy', 'log_loss', 'brier', 'macro_f1', 'kappa'):
    assert clustered[name] == pytest.approx(alone[name])
    widths = [r[f'{name}_high'] - r[f'{name}_low'] for r in (alone, clustered, naive)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert widths[2] == pytest.approx(widths[0] / 2, rel=0.15)
  assert math.isnan(clustered['roc_auc_low'])


def test_the_interval_is_the_normal_one_for_many_examples():
  values = np.random.default_rng(0).normal(3, 2, 5000)
  low, high = evaluation.bootstrap_interval(values)
  half = 1.96 * values.std() / math.sqrt(5000)
  assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 5)
  assert evaluation.bootstrap_interval(values) == (low, high)
  assert evaluation.bootstrap_interval(np.ones(9)) == (1, 1)
  assert all(map(math.isnan, evaluation.bootstrap_interval(np.ones(1))))
  assert all(map(math.isnan, evaluation.bootstrap_interval(np.array([1, np.nan]))))


def test_the_picture_shows_every_count(tmp_path):
  counts = np.array([[5, 1, 0], [0, 0, 0], [2, 0, 7]])
  figure = evaluation.draw_confusion(counts, ['shirt', 'dress', 'bag'])
  figure.savefig(tmp_path / 'confusion.png')
  assert (tmp_path / 'confusion.png').stat().st_size > 1000
  shown = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in figure.axes[0].texts}
  assert shown == {(0, 0): '5', (0, 1): '1', (2, 0): '2', (2, 2): '7'}
  with pytest.raises(ValueError, match='square'):
    evaluation.draw_confusion(np.ones((2, 3)))
  with pytest.raises(ValueError, match='names must hold 3'):
    evaluation.draw_confusion(counts, ['a'])
