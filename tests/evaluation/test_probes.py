"""Calibration, probes, slices, and who looked at the test split."""

import json
import math

import numpy as np
import pytest

from bigtrain import evaluation
from bigtrain.evaluation import audit

RNG = np.random.default_rng(0)


def test_a_temperature_undoes_a_scale_and_calibrates():
  logits = RNG.normal(size=(20_000, 4)) * 2
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  label = (p.cumsum(1) > RNG.random((20_000, 1))).argmax(1)
  assert evaluation.fit_temperature(logits * 3, label) == pytest.approx(3, rel=0.05)
  confidence, right = p.max(1), p.argmax(1) == label
  assert evaluation.calibration_error(confidence, right) < 0.02
  assert evaluation.calibration_error(np.ones(20_000), right) == pytest.approx(1 - right.mean())
  bins = evaluation.reliability([0.1, 0.15, 1.0], [1, 0, 1], bins=10)
  assert bins['weight'].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
  assert math.isnan(evaluation.calibration_error([], []))
  with pytest.raises(ValueError, match='at least one example'):
    evaluation.fit_temperature(np.zeros((0, 2)), np.zeros(0))


@pytest.mark.parametrize('width', [5, 80])
def test_the_probe_is_scikit_learns_ridge(width):
  from sklearn.linear_model import Ridge

  label = RNG.integers(0, 3, 60)
  features = RNG.normal(size=(60, width)) + np.eye(3, width)[label] * 4
  probe = evaluation.fit_linear_probe(features, label, 3, penalty=2.0)
  known = Ridge(alpha=2.0).fit(features, 2.0 * np.eye(3)[label] - 1)
  np.testing.assert_allclose(probe.scores(features), known.predict(features), atol=1e-8)
  few = evaluation.fit_linear_probe(features, label, 3, shots=5)
  assert np.mean(few.scores(features).argmax(1) == label) > 0.8
  with pytest.raises(ValueError, match='too few for shots=99'):
    evaluation.fit_linear_probe(features, label, 3, shots=99)


def test_neighbours_are_scikit_learns():
  from sklearn.neighbors import KNeighborsClassifier

  label, known = RNG.integers(0, 3, 90), RNG.normal(size=(90, 6))
  queries = RNG.normal(size=(20, 6))
  votes = evaluation.nearest_neighbours(known, label, queries, 3, count=7, temperature=1e6)
  near = KNeighborsClassifier(7, metric='cosine').fit(known, label)
  np.testing.assert_allclose(votes, near.predict_proba(queries), atol=1e-5)


def test_slices_are_the_whole_cut_up_and_the_worst_is_named():
  log_probability = np.log(RNG.dirichlet(np.ones(3), 60))
  label, place = log_probability.argmax(1), np.repeat([4, 5, 6], [30, 27, 3])
  label[30:45] = (label[30:45] + 1) % 3
  label[57:] = (label[57:] + 1) % 3
  batch = {'features': log_probability, 'label': label, 'place': place}
  sliced = evaluation.Sliced(evaluation.Classification(resamples=9), 'place')
  table = {k: np.asarray(x) for k, x in sliced.predict(lambda x: x, batch).items()}
  report = sliced.report(table)
  assert report['place=4/accuracy'] == 1
  assert report['place=5/accuracy'] == pytest.approx(12 / 27)
  assert report['place=6/accuracy'] == 0  # Of 3 examples: too few to be called the worst.
  assert report['worst_slice'] == 5
  assert report['accuracy'] == pytest.approx(42 / 60)
  with pytest.raises(ValueError, match="without 'town' to slice by"):
    evaluation.by_slice(sliced.evaluator, table, 'town')


def test_looks_at_the_test_split_are_counted_and_a_search_is_refused(tmp_path):
  place = str(tmp_path)
  note = {'verb': 'evaluate', 'revision': 'abc'}
  assert evaluation.note_test(place, 'held_out', step=1, **note) == 0
  assert not (tmp_path / audit.AUDIT).exists()
  assert evaluation.note_test(place, 'test', step=1, **note) == 0
  assert evaluation.note_test(place, 'test', step=1, **note) == 0
  assert evaluation.note_test(place, 'test', step=2, **note) == 1
  line = json.loads((tmp_path / audit.AUDIT).read_text().splitlines()[0])
  assert (line['verb'], line['evaluation'], line['step']) == ('evaluate', 'test', 1)
  evaluation.check_split('held_out', 'tune')
  evaluation.check_split('latest', 'tune')
  with pytest.raises(ValueError, match='would choose by the test split'):
    evaluation.check_split('test_clean', 'tune')
