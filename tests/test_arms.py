"""The screening finds each arm's rate, beyond its grid too, for a part of what the grid costs."""

import math
import types

import pytest

from bigtrain.arms import BASE, Arm, candidates, run_screening

OWN = 0.01
ARMS = [Arm(BASE, {}), Arm('a', {'arm': 'a'}), Arm('b', {'arm': 'b'}), Arm('c', {'lr': 1.0}, True)]
BEST = {None: OWN, 'a': OWN / 3**4, 'b': OWN * 3**6}  # The reach of the grid is 3**2.


@pytest.fixture(scope='module')
def screened():
  seen, costs = {}, []

  def score(runs, share):
    for run in runs:
      key = tuple(sorted(run.items()))
      costs.append(share - seen.get(key, 0))
      seen[key] = share
    return [
      2 - share + abs(math.log(run['lr'] / BEST[run.get('arm')])) + 0.01 * run['seed']
      for run in runs
    ]

  build = types.SimpleNamespace(knobs={'lr': OWN, 'seed': 0})
  trials = types.SimpleNamespace(build=build, forget=lambda runs: None)
  found = run_screening(trials, ARMS, rate='lr', spread=3.0, seeds=range(2), score=score)  # type: ignore[reportArgumentType]
  return found, sum(costs)


def test_each_arm_gets_the_rate_that_suits_it(screened):
  found, _ = screened
  assert found.rates == {BASE: OWN, 'a': pytest.approx(BEST['a'], rel=1e-3), 'b': OWN * 3**5}
  assert found.edges == ['b']
  assert found.scores[BASE] == found.written == pytest.approx(1.005)
  assert found.scores['c'] == pytest.approx(1.005 + math.log(1.0 / OWN))


def test_rates_that_do_badly_are_given_up_early(screened):
  grid = 3 * 5 * 2 + 2 + 5 * 2  # Arms, rates and seeds; the arm of its own rate; beyond the grid.
  assert screened[1] <= 0.4 * grid


def test_candidates_stand_in_the_order_of_their_effects(screened):
  found = candidates(screened[0], ARMS, 'lr', OWN)
  assert [c.name for c in found] == ['c', 'b', 'a']
  assert found[0].off == {}
  assert not found[0].apart('lr')
  assert found[1].apart('lr')
  on, off = found[1].same_rate('lr', better=False)
  assert (on['lr'], off['lr']) == (OWN, OWN)
  on, off = found[1].same_rate('lr', better=True)
  assert on['lr'] == off['lr'] == found[1].on['lr']
