"""Intervals hold the truth as often as they say; paired and clustered ones know what they share."""

import math

import numpy as np
import pytest

from bigtrain import evaluation


def coverage(draw, interval, truth, trials=1_000):
  covered = 0
  for trial in range(trials):
    low, high = interval(draw(np.random.default_rng(trial)), trial)
    covered += low <= truth <= high
  return covered / trials


def test_bootstrap_covers_95_percent():
  def draw(rng):
    return rng.exponential(size=200)

  def interval(values, seed):
    return evaluation.bootstrap_interval(values, resamples=500, seed=seed)

  assert 0.93 <= coverage(draw, interval, 1.0) <= 0.97


def test_t_intervals_over_three_seeds_cover_95_percent():
  found = coverage(
    lambda rng: rng.normal(2.0, 3.0, 3), lambda v, _: evaluation.t_interval(v), 2.0, 4_000
  )
  assert 0.93 <= found <= 0.97
  assert all(map(math.isnan, evaluation.t_interval(np.ones(1))))


def test_clusters_are_drawn_as_a_whole_and_cover_95_percent():
  cluster = np.repeat(np.arange(80), 5)

  def draw(rng):
    return rng.normal(size=80).repeat(5) + rng.normal(size=400)

  def interval(values, seed, **options):
    return evaluation.bootstrap_interval(values, resamples=500, seed=seed, **options)

  assert 0.93 <= coverage(draw, lambda v, s: interval(v, s, cluster=cluster), 0.0) <= 0.97
  assert coverage(draw, interval, 0.0, 200) < 0.85  # What ignoring them would claim.
  with pytest.raises(ValueError, match='one of 3 items, got 2'):
    interval(np.arange(3), 0, cluster=np.arange(2))


def test_pairs_cover_95_percent_and_find_what_single_intervals_hide():
  def draw(rng):
    hard = 5 * rng.normal(size=150)
    return hard + rng.normal(size=150), hard + 0.3 + rng.normal(size=150)

  def interval(pair, seed):
    found = evaluation.paired_bootstrap(*pair, resamples=500, seed=seed)
    return found.low, found.high

  assert 0.93 <= coverage(draw, interval, 0.3) <= 0.97
  a, b = draw(np.random.default_rng(0))
  found = evaluation.paired_bootstrap(a, b)
  assert found.value == pytest.approx(np.mean(b - a))
  assert found.p < 0.05
  assert evaluation.paired_bootstrap(a, a).p == 1
  with pytest.raises(ValueError, match='same items'):
    evaluation.paired_bootstrap(a, b[1:])


def test_chance_alone_is_called_a_difference_one_time_in_twenty():
  def p(seed):
    rng = np.random.default_rng(seed)
    return evaluation.paired_bootstrap(*rng.normal(size=(2, 100)), resamples=400, seed=seed).p

  assert 0.02 < np.mean([p(seed) < 0.05 for seed in range(500)]) < 0.085


def test_many_items_are_drawn_from_the_normal_distribution_of_sums():
  rng = np.random.default_rng(0)
  columns = rng.normal(size=(30_000, 2)) @ np.array([[1.0, 0.5], [0.0, 0.3]]) + 2
  many = evaluation.resampled_sums(columns)
  np.testing.assert_allclose(many.mean(0), columns.sum(0), atol=30)
  np.testing.assert_allclose(np.cov(many.T), np.cov(columns.T) * 30_000, rtol=0.1)


def test_items_that_all_weigh_differently_are_a_ratio():
  rng = np.random.default_rng(0)
  values, weight = rng.normal(size=300), rng.integers(1, 4, 300)
  low, high = evaluation.bootstrap_interval(values, weight=weight)
  assert low < np.average(values, weights=weight) < high
