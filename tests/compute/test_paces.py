"""A host that holds the others up is named; hosts that are alike are not."""

import numpy as np
import pytest

from bigtrain import compute
from bigtrain.compute.paces import stragglers


@pytest.mark.parametrize(
  ('loading', 'slow'),
  [
    ([0.1, 0.1, 0.21], [2]),
    ([0.1, 0.2], [1]),
    ([0.1, 0.1, 0.12, 0.09], []),
    ([0.3, 0.1, 0.1, 0.3, 0.1], [0, 3]),
    ([0.001, 0.004, 0.001], []),  # Four times as long, of a step that is ten times as long.
    ([0.0, 0.0], []),
  ],
)
def test_who_is_slow(loading, slow):
  assert list(stragglers(loading, 0.2)) == slow


def test_chance_names_nobody_and_twice_as_slow_is_named():
  draws = np.random.default_rng(0)
  for _ in range(1000):
    loading = draws.normal(0.05, 0.002, 8)
    assert stragglers(loading.tolist(), 0.2) == {}
    loading[3] *= 2
    assert list(stragglers(loading.tolist(), 0.2)) == [3]


def test_one_host_asks_nobody():
  assert compute.slow_hosts(1.0, 1.0) == {}
