"""A fit finds the law that losses were made by, and refuses runs that can't tell it."""

import dataclasses

import numpy as np
import pytest
import toys

from bigtrain import tuning

LAW = tuning.ScalingLaw(limit=1.69, a=406.4, b=410.7, alpha=0.34, beta=0.28)
N = np.repeat([1e5, 3e5, 1e6, 3e6], 4)
D = np.tile([2e6, 6e6, 2e7, 6e7], 4)


def noisy(seed, scale=3e-3):
  return LAW.loss(N, D) * np.exp(scale * np.random.default_rng(seed).normal(size=N.shape))


def test_a_law_without_noise_is_found():
  found = tuning.fit_scaling_law(N, D, LAW.loss(N, D))
  for name in ('limit', 'a', 'b', 'alpha', 'beta'):
    assert getattr(found, name) == pytest.approx(getattr(LAW, name), rel=1e-3)


def test_the_exponents_lie_in_the_intervals_of_refits():
  losses = noisy(0)
  law = tuning.fit_scaling_law(N, D, losses)
  refits = tuning.refit_scaling_law(N, D, losses, range(len(N)), law=law, refits=30)
  for name in ('alpha', 'beta'):
    low, high = np.percentile([getattr(r, name) for r in refits], [2.5, 97.5])
    assert low < getattr(LAW, name) < high
    assert high - low < 0.15
  larger = [r.loss(1.2e7, 2.4e8) for r in refits]
  assert np.percentile(larger, 2.5) < LAW.loss(1.2e7, 2.4e8) < np.percentile(larger, 97.5)


def test_one_run_that_went_wrong_moves_the_law_little():
  losses = noisy(1, 1e-4)
  losses[3] *= 1.2
  found = tuning.fit_scaling_law(N, D, losses)
  assert found.alpha == pytest.approx(LAW.alpha, abs=0.02)
  assert found.beta == pytest.approx(LAW.beta, abs=0.02)


def test_the_optimum_is_the_least_loss_of_a_budget():
  cost = tuning.Cost(6.0, 0.9)
  n, d = LAW.optimum(1e15, cost)
  assert cost(n) * d == pytest.approx(1e15)
  for other in (0.9 * n, 1.1 * n):
    assert LAW.loss(n, d) < LAW.loss(other, 1e15 / cost(other))


def test_a_cost_is_read_off_runs():
  sizes = np.array([1e4, 1e5, 1e6])
  cost = tuning.Cost.fitted(sizes, 6 * sizes**0.9)
  assert (cost.factor, cost.power) == (pytest.approx(6), pytest.approx(0.9))


@pytest.mark.parametrize(
  ('n', 'd', 'losses', 'start'),
  [
    (N[:8], D[:8], LAW.loss(N, D)[:8], 'a scaling law takes at least 3 sizes, got 2'),
    (N, np.full_like(N, 1e6), LAW.loss(N, D), 'a scaling law takes at least 3 lengths, got 1'),
    (N, 20 * N, LAW.loss(N, 20 * N), 'sizes and lengths grow in step'),
    (N, D, np.where(N < 2e5, np.nan, 1.0), 'a scaling law is of losses that are finite'),
  ],
)
def test_runs_that_cannot_tell_are_refused(n, d, losses, start):
  toys.check_sentence(lambda: tuning.fit_scaling_law(n, d, losses), [], start)


def test_a_law_is_doubted_where_an_exponent_is_at_its_bound_or_lost_in_its_interval():
  sure = {'alpha': (0.3, 0.4), 'beta': (0.25, 0.3), 'limit': (1.6, 1.8)}
  assert tuning.law_doubts(LAW, sure) == []
  [lost] = tuning.law_doubts(LAW, {**sure, 'beta': (0.1, 0.6)})
  assert lost.startswith(
    'beta is 0.28, and its interval, 0.1 to 0.6, is wider than that: give more'
  )
  [limit] = tuning.law_doubts(LAW, {**sure, 'limit': (0.0, 2.0)})
  assert 'the limit is 1.69' in limit
  for bound in (0.01, 3.0):
    law = dataclasses.replace(LAW, alpha=bound)
    [said] = tuning.law_doubts(law, {**sure, 'alpha': (bound, bound)})
    assert said.startswith(f'alpha is {bound:g}, at the bound')
    assert said.endswith('Give sizes further apart')
