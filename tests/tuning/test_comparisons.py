"""Intervals cover, corrected p-values keep their promise, and sample sizes are those of theory."""

import math

import numpy as np
import pytest

from bigtrain.tuning.comparisons import holm, paired_effect, pairs_needed, smallest_effect


def test_the_interval_and_p_are_scipys():
  from scipy import stats

  a, b = np.random.default_rng(0).normal(size=(2, 9))
  effect = paired_effect(a - b)
  test = stats.ttest_rel(a, b)
  assert effect.p == pytest.approx(test.pvalue)
  assert (effect.low, effect.high) == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_the_interval_covers_as_often_as_it_says():
  values = np.random.default_rng(0).normal(1.0, 2.0, size=(2_000, 8))
  inside = [e.low < 1.0 < e.high for e in map(paired_effect, values)]
  assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_differences_without_spread_or_finiteness_are_told_apart():
  assert paired_effect([0.0, 0.0, 0.0]).p == 1
  assert paired_effect([0.5, 0.5, 0.5]).p == 0.25
  assert math.isnan(paired_effect([0.5, math.inf]).mean)
  with pytest.raises(ValueError, match='at least 2 pairs, got 1'):
    paired_effect([1.0])


def test_holms_correction_by_hand():
  assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
  assert holm([]) == []


def test_holm_errs_in_a_family_as_rarely_as_it_says():
  p = np.random.default_rng(0).random((4_000, 5))
  assert np.mean([min(holm(row)) < 0.05 for row in p]) <= 0.06
  assert np.mean(p.min(axis=1) < 0.05) > 0.2  # Uncorrected it would err.


def test_pairs_needed_find_the_effect_as_often_as_asked():
  pairs = pairs_needed(1.0, 1.5)
  assert pairs is not None
  rng = np.random.default_rng(0)
  found = [e.p < 0.05 for e in map(paired_effect, rng.normal(1.0, 1.5, size=(2_000, pairs)))]
  assert np.mean(found) == pytest.approx(0.8, abs=0.04)
  assert pairs_needed(0.0, 1.0) is None
  assert pairs_needed(1e-6, 1.0) is None
  assert smallest_effect(1.5, pairs) == pytest.approx(1.0, rel=0.05)
