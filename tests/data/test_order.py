"""The order of records is a fresh, even permutation in each epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain.data import order


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**63), st.integers(0, 50))
def test_each_epoch_holds_every_record_once(n, seed, epoch):
  records = order.shuffled(np.arange(n) + epoch * n, n, seed)
  assert sorted(records) == list(range(n))


@pytest.mark.parametrize('n', [2, 3, 7, 16])
def test_each_record_comes_equally_often_at_each_place(n):
  epochs = 4000
  records = order.shuffled(np.arange(n * epochs), n, 3).reshape(epochs, n)
  counts = np.stack([np.bincount(records[:, place], minlength=n) for place in range(n)])
  expected = epochs / n
  chi2 = ((counts - expected) ** 2 / expected).sum()
  freedom = (n - 1) ** 2
  assert chi2 < freedom + 6 * (2 * freedom) ** 0.5


@pytest.mark.parametrize('n', [5, 12])
def test_each_pair_follows_each_other_equally_often(n):
  epochs = 6000
  records = order.shuffled(np.arange(n * epochs), n, 9).reshape(epochs, n)
  counts = np.zeros((n, n))
  np.add.at(counts, (records[:, 0], records[:, 1]), 1)
  off = counts[~np.eye(n, dtype=bool)]
  expected = epochs / (n * (n - 1))
  chi2 = ((off - expected) ** 2 / expected).sum()
  freedom = n * (n - 1) - 1
  assert chi2 < freedom + 6 * (2 * freedom) ** 0.5


def test_neighbours_in_the_source_are_strangers_in_the_stream():
  n = 10_007
  records = order.shuffled(np.arange(n), n, 1)
  steps = np.abs(np.diff(records))
  # For a random permutation the mean distance is n / 3, give or take about sqrt(n) / 4.
  assert abs(steps.mean() - n / 3) < n**0.5 * 1.5
  assert abs(np.corrcoef(records[:-1], records[1:])[0, 1]) < 0.05
  assert abs(np.corrcoef(records, np.arange(n))[0, 1]) < 0.05


def test_epochs_and_seeds_differ():
  n = 1000
  first = order.shuffled(np.arange(n), n, 0)
  assert (order.shuffled(np.arange(n) + n, n, 0) == first).mean() < 0.02
  assert (order.shuffled(np.arange(n), n, 1) == first).mean() < 0.02
  assert (order.shuffled(np.arange(n), n, -1) == first).mean() < 0.02


def test_a_position_alone_gives_what_the_block_gives():
  block = order.shuffled(np.arange(500), 37, 5)
  alone = [order.shuffled(np.array(p), 37, 5).item() for p in range(500)]
  assert block.tolist() == alone


def test_large_sources_and_late_positions_stay_in_range():
  n = 10**12 + 39
  records = order.shuffled(np.arange(1000) + 7 * n, n, 2)
  assert records.min() >= 0
  assert records.max() < n
  assert len(set(records.tolist())) == 1000
