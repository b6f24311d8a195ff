"""A thousand random cases against scikit-learn, and what may not matter to any metric."""

import math
import warnings

import jax
import numpy as np
import pytest
from sklearn import metrics

from bigtrain import evaluation

QUICK = {'resamples': 2}


def case(seed):
  """Ties, absent classes, weights, one class only, one example: whatever the seed draws."""
  rng = np.random.default_rng(seed)
  size, classes = int(rng.choice([1, 2, 3, 7, 40, 150])), int(rng.integers(2, 6))
  among = rng.choice(classes, int(rng.integers(1, classes + 1)), replace=False)
  label = rng.choice(among, size)
  logits = rng.normal(size=(size, classes)) + np.eye(classes)[label]
  if rng.random() < 0.4:
    logits = np.round(logits)
  log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  table = {'log_probability': log_probability, 'label': label}
  if rng.random() < 0.4:
    table['weight'] = rng.integers(1, 5, size) / 2
  return table


def quietly(function, *args, **kwargs):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    return function(*args, **kwargs)


def expected(table):
  label, weight = table['label'], table.get('weight')
  score = np.exp(table['log_probability'])
  predicted, classes = table['log_probability'].argmax(axis=1), score.shape[1]
  own = {'sample_weight': weight}
  mean = {}
  for average in ('macro', 'weighted'):
    found = metrics.precision_recall_fscore_support(
      label, predicted, average=average, zero_division=0, **own
    )
    mean |= {
      f'{average}_{k}': v for k, v in zip(('precision', 'recall', 'f1'), found, strict=False)
    }
  occurs = np.unique(label)
  tall = np.average(
    [
      metrics.recall_score(label, predicted, labels=[c], average='macro', zero_division=0, **own)
      for c in occurs
    ]
  )
  areas, precisions = [], []
  for c in [1] if classes == 2 else range(classes):
    is_c = label == c
    line = table['log_probability'][:, 1] - table['log_probability'][:, 0]
    line = line if classes == 2 else table['log_probability'][:, c]
    if 0 < is_c.sum() < len(label):
      areas.append(metrics.roc_auc_score(is_c, line, **own))
    if is_c.any():
      precisions.append(metrics.average_precision_score(is_c, line, **own))
  one = label[0] if len(set(label) | set(predicted)) == 1 else None
  return {
    **mean,
    'accuracy': metrics.accuracy_score(label, predicted, **own),
    'balanced_accuracy': tall,
    'matthews': metrics.matthews_corrcoef(label, predicted, **own),
    'kappa': math.nan
    if one is not None
    else metrics.cohen_kappa_score(label, predicted, sample_weight=weight),
    'log_loss': metrics.log_loss(label, score, labels=range(classes), **own),
    'brier': np.average(
      (1 - score[np.arange(len(label)), label]) ** 2
      if classes == 2
      else ((score - np.eye(classes)[label]) ** 2).sum(1),
      weights=weight,
    ),
    'roc_auc': np.mean(areas) if areas else math.nan,
    'average_precision': np.mean(precisions) if precisions else math.nan,
  }


@pytest.mark.parametrize('part', range(4))
def test_a_thousand_random_cases_are_scikit_learns(part):
  for seed in range(250 * part, 250 * (part + 1)):
    table = case(seed)
    report = evaluation.Classification(**QUICK).report(table)
    known = quietly(expected, table)
    for name, value in known.items():
      assert report[name] == pytest.approx(value, abs=1e-6, nan_ok=True), (seed, name)


def test_the_rest_of_the_report_is_scikit_learns():
  table = case(11)
  rng = np.random.default_rng(0)
  label = rng.integers(0, 5, 400)
  log_probability = np.log(rng.dirichlet(np.ones(5), 400))
  table = {'log_probability': log_probability, 'label': label}
  score = np.exp(log_probability)
  report = evaluation.Classification(top=(2, 3), beta=2.0, **QUICK).report(table)
  assert report['top_2_accuracy'] == pytest.approx(metrics.top_k_accuracy_score(label, score, k=2))
  ovo = metrics.roc_auc_score(label, score / score.sum(1, keepdims=True), multi_class='ovo')
  assert report['roc_auc_ovo'] == pytest.approx(ovo)
  predicted = score.argmax(1)
  assert report['macro_f2'] == pytest.approx(
    metrics.fbeta_score(label, predicted, beta=2, average='macro')
  )
  assert report['brier'] == pytest.approx(
    metrics.brier_score_loss(label, score / score.sum(1, keepdims=True))
  )
  each = evaluation.Classification().per_class(table)
  np.testing.assert_allclose(each['recall'], metrics.recall_score(label, predicted, average=None))
  assert 'top_5_accuracy' not in evaluation.Classification(**QUICK).report(table)


def test_of_equal_scores_the_first_class_is_ahead():
  table = {'log_probability': np.log(np.full((4, 4), 0.25)), 'label': np.arange(4)}
  report = evaluation.Classification(top=(1, 2, 3), **QUICK).report(table)
  assert [report[f'top_{k}_accuracy'] for k in (1, 2, 3)] == [0.25, 0.5, 0.75]
  assert report['accuracy'] == 0.25


@pytest.mark.parametrize('classes', [2, 3])
def test_standard_errors_of_ranks_are_the_bootstraps(classes):
  rng = np.random.default_rng(0)
  label = rng.integers(0, classes, 400)
  score = rng.normal(size=(400, classes)) + np.eye(classes)[label]
  score = np.round(score, 1)  # With ties.
  confidence, right = rng.random(400), rng.random(400) < 0.7
  drawn = [rng.integers(0, 400, 400) for _ in range(400)]
  many = [evaluation.rank_classes(label[d], score[d]) for d in drawn]
  ranking = evaluation.rank_classes(label, score)
  for name in ('roc_auc', 'roc_auc_ovo', 'average_precision'):
    spread = np.std([getattr(one, name) for one in many])
    assert getattr(ranking, f'{name}_error') == pytest.approx(spread, rel=0.15), name
  errors = [evaluation.calibration_error(confidence[d], right[d]) for d in drawn]
  found = evaluation.calibration_spread(confidence, right, resamples=500)
  assert found == pytest.approx(np.std(errors), rel=0.15)


def regression_case(seed):
  rng = np.random.default_rng(seed)
  size = int(rng.choice([2, 5, 60]))
  label = rng.normal(size=size) * 3 + 1000
  table = {'label': label, 'prediction': label + rng.normal(size=size) + 0.5}
  if rng.random() < 0.5:
    table['weight'] = rng.integers(1, 4, size).astype(float)
  return table


def test_regression_is_scikit_learns():
  for seed in range(200):
    table = regression_case(seed)
    args = (table['label'], table['prediction'])
    own = {'sample_weight': table.get('weight')}
    known = {
      'rmse': metrics.root_mean_squared_error(*args, **own),
      'mae': metrics.mean_absolute_error(*args, **own),
      'r2': metrics.r2_score(*args, **own),
      'explained_variance': metrics.explained_variance_score(*args, **own),
    }
    report = evaluation.Regression(**QUICK).report(table)
    assert {name: report[name] for name in known} == pytest.approx(known, rel=1e-6, abs=1e-6)
  flat = {'label': np.ones(3), 'prediction': np.arange(3.0)}
  assert math.isnan(evaluation.Regression(**QUICK).report(flat)['r2'])
  full = evaluation.Regression().report(regression_case(2))
  assert full['mae_low'] < full['mae'] < full['mae_high']
  nothing = {'label': np.ones(0), 'prediction': np.ones(0)}
  assert all(map(math.isnan, evaluation.Regression().report(nothing).values()))


def test_several_questions_are_scikit_learns():
  rng = np.random.default_rng(0)
  label = (rng.random((80, 4)) < [0.5, 0.2, 0.8, 0.0]).astype(float)
  logit = rng.normal(size=(80, 4)) + label
  report = evaluation.MultiLabel(**QUICK).report({'logit': logit, 'label': label})
  said = logit > 0
  for average in ('micro', 'macro'):
    known = metrics.f1_score(label, said, average=average, zero_division=0)
    assert report[f'{average}_f1'] == pytest.approx(known)
  areas = [metrics.roc_auc_score(label[:, c], logit[:, c]) for c in range(3)]
  assert report['macro_roc_auc'] == pytest.approx(np.mean(areas))
  assert report['exact_match'] == pytest.approx(metrics.accuracy_score(label, said))
  probability = 1 / (1 + np.exp(-logit))
  nats = -np.log(np.where(label > 0, probability, 1 - probability)).mean()
  assert report['log_loss'] == pytest.approx(nats)


def test_several_questions_at_random_are_scikit_learns():
  for seed in range(100):  # Ties, questions of one answer only, one example, one question.
    rng = np.random.default_rng(seed)
    size, classes = int(rng.choice([1, 2, 9, 60])), int(rng.integers(1, 4))
    label = (rng.random((size, classes)) < rng.random(classes)).astype(float)
    logit = np.round(rng.normal(size=(size, classes)), 1)
    report = evaluation.MultiLabel(**QUICK).report({'logit': logit, 'label': label})
    said = logit > 0
    areas, precisions = [math.nan], [math.nan]
    for yes, line in zip(label.T, logit.T, strict=True):
      if 0 < yes.sum() < size:
        areas.append(metrics.roc_auc_score(yes, line))
      if yes.any():
        precisions.append(metrics.average_precision_score(yes, line))
    known = {
      'exact_match': np.mean((label == said).all(axis=1)),
      'macro_roc_auc': quietly(np.nanmean, areas),
      'macro_average_precision': quietly(np.nanmean, precisions),
      **{
        f'{average}_f1': np.mean([
          metrics.f1_score(y, s, zero_division=0) for y, s in zip(label.T, said.T, strict=True)
        ])
        if average == 'macro'
        else metrics.f1_score(label.ravel(), said.ravel(), zero_division=0)
        for average in ('micro', 'macro')
      },
    }  # fmt: skip
    for name, value in known.items():
      assert report[name] == pytest.approx(value, abs=1e-6, nan_ok=True), (seed, name)


def test_retrieval_is_scikit_learns():
  rng = np.random.default_rng(0)
  score, gain = (
    rng.normal(size=(30, 12)),
    rng.integers(0, 3, (30, 12)) * (rng.random((30, 12)) < 0.4),
  )
  gain[3] = 0  # Nothing to be found: left out.
  found = evaluation.retrieval_items(score, gain, at=(1, 5))
  some = gain.any(axis=1)
  for k in (1, 5):
    assert found[f'ndcg@{k}'].mean() == pytest.approx(
      metrics.ndcg_score(gain[some], score[some], k=k)
    )
  ranks = [
    1 + min(list(np.argsort(-s)).index(i) for i in np.flatnonzero(g))
    for s, g in zip(score[some], gain[some], strict=True)
  ]
  assert found['mrr'].mean() == pytest.approx(np.mean(1 / np.array(ranks)))
  single = np.eye(12)[rng.integers(0, 12, 30)]
  hits = metrics.top_k_accuracy_score(single.argmax(1), score, k=5, labels=range(12))
  found = evaluation.retrieval_items(score, single, at=(5,))
  assert found['recall@5'].mean() == pytest.approx(hits)
  same = np.eye(6, 4, dtype=np.float32) + 0.1
  report = evaluation.Retrieval(at=(1,), **QUICK).report({'image': same[:4], 'text': same[:4]})
  assert report['image_to_text/recall@1'] == report['text_to_image/mrr'] == 1
  names = np.stack([np.eye(3), np.eye(3) + 0.1], axis=1)
  assert evaluation.zero_shot(np.eye(3), names).argmax(1).tolist() == [0, 1, 2]


def logits_of(x):
  return x @ np.array([[1.0, -0.5, 0.2], [0.3, 0.8, -1.0]], np.float32)


@pytest.mark.parametrize('batch', [1, 7, 64, 100])
def test_no_metric_depends_on_batches_padding_or_order(batch):
  from bigtrain.data import arrays, once
  from bigtrain.evaluation import Classification, softmax_cross_entropy

  rng = np.random.default_rng(0)
  features = rng.normal(size=(100, 2)).astype(np.float32)
  label = rng.integers(0, 3, 100)
  order = rng.permutation(100)
  whole = None
  for rows in (np.arange(100), order):
    evaluator, total, tables = Classification(resamples=50), None, []
    for one in once(arrays(features=features[rows], label=label[rows]), batch).iterator(0, 1):
      means = softmax_cross_entropy(logits_of, one)
      hosts = {key: mean.host() for key, mean in means.items()}
      total = {key: total[key] + hosts[key] for key in hosts} if total else hosts
      table = jax.device_get(evaluator.predict(logits_of, one))
      tables.append({key: column[one['weight'] > 0] for key, column in table.items()})
    table = {key: np.concatenate([t[key] for t in tables]) for key in tables[0]}
    found = evaluator.report(table)
    assert found['log_loss'] == pytest.approx(float(total['loss'].value), abs=1e-6)
    assert found['accuracy'] == pytest.approx(float(total['accuracy'].value), abs=1e-6)
    whole = whole or evaluator.report(
      {'log_probability': np.asarray(jax.nn.log_softmax(logits_of(features))), 'label': label}
    )
    assert found == pytest.approx(whole, abs=1e-6)
