"""Folds hold every record out once, keep groups whole and classes even; a split by time cuts where
the time changes."""

import itertools

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain import data
from bigtrain.data.cross_validation import folds, split_by_time

LABELS = st.lists(st.sampled_from('aabc'), min_size=6, max_size=60)
GROUPS = st.lists(st.integers(0, 12), min_size=60, max_size=60)


def source(labels, groups=()):
  rows = np.arange(len(labels))
  return data.arrays(id=rows, label=list(labels), group=[*groups, *rows][: len(labels)])


def ids(part):
  return data.column(part, 'id').tolist()


@settings(max_examples=60, deadline=None)
@given(LABELS, GROUPS, st.integers(2, 6), st.integers(0, 99), st.booleans(), st.booleans())
def test_folds_are_disjoint_and_cover(labels, groups, count, seed, stratified, grouped):
  whole = source(labels, groups)
  if grouped and len(set(data.column(whole, 'group').tolist())) < count:
    return
  keys = {'stratify': 'label' if stratified else None, 'group': 'group' if grouped else None}
  pairs = folds(whole, count, seed=seed, **keys)
  assert len(pairs) == count
  assert sorted(i for _, held_out in pairs for i in ids(held_out)) == list(range(len(labels)))
  for train, held_out in pairs:
    assert ids(held_out)
    assert ids(train) == sorted(set(range(len(labels))) - set(ids(held_out)))
    if grouped:
      assert not set(data.column(train, 'group')) & set(data.column(held_out, 'group'))
  sizes = [len(held_out) for _, held_out in pairs]
  if not grouped:
    assert max(sizes) - min(sizes) <= 1
  elif not stratified:
    assert max(sizes) - min(sizes) <= np.bincount(data.column(whole, 'group')).max()


@settings(max_examples=40, deadline=None)
@given(LABELS, st.integers(2, 6), st.integers(0, 99))
def test_each_fold_has_its_share_of_every_class(labels, count, seed):
  for _, held_out in folds(source(labels), count, seed=seed, stratify='label'):
    for label in set(labels):
      assert abs((data.column(held_out, 'label') == label).sum() - labels.count(label) / count) < 1


def test_whole_groups_are_stratified_as_nearly_as_they_allow():
  rng = np.random.default_rng(0)
  group = rng.integers(0, 60, 1500)
  label = (rng.random(1500) < np.where(group % 6, 0.05, 0.5)).astype(int)  # Rare, and in clusters.
  whole = data.arrays(id=np.arange(1500), label=label, group=group)

  def spread(**keys):
    rates = [data.column(held, 'label').mean() for _, held in folds(whole, 5, **keys)]
    return max(rates) - min(rates)

  assert spread(group='group', stratify='label') < 0.015 < 0.03 < spread(group='group')
  lone = data.arrays(label=np.arange(50), group=np.arange(50))
  pairs = folds(lone, 5, stratify='label', group='group')
  assert [len(held_out) for _, held_out in pairs] == [10] * 5


def test_seeds_differ_and_repeat():
  whole = source('ab' * 30)
  for keys in ({}, {'stratify': 'label'}, {'group': 'group'}):
    a, b, c = (ids(folds(whole, 3, seed=seed, **keys)[0][1]) for seed in (0, 0, 1))
    assert a == b != c


def test_folds_copy_nothing_and_can_be_split_again():
  whole = source('ab' * 30)
  train, held_out = folds(whole, 3)[0]
  assert train.source is held_out.source is whole
  inner_train, inner = folds(train, 4)[0]
  assert inner.source is train
  assert sorted(ids(inner_train) + ids(inner) + held_out.indices.tolist()) == list(range(60))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=8, max_size=60), st.sampled_from([0.1, 0.25]))
def test_time_parts_are_in_order_and_share_no_time(times, share):
  whole = data.arrays(id=np.arange(len(times)), time=times)
  # Where the time changes, and of these the nearest to what is asked.
  edges = sorted({sum(t < time for t in times) for time in times} | {len(times)})
  begins = [int(round((1 - part * share) * len(times), 6)) for part in (2, 1)]
  cuts = [0, *(min(edges, key=lambda e: abs(e - begin)) for begin in begins), len(times)]
  if len(set(cuts)) < 4:
    with pytest.raises(ValueError, match='is empty'):
      split_by_time(whole, share, share)
    return
  parts = split_by_time(whole, share, share)
  assert [len(part) for part in parts] == np.diff(cuts).tolist()
  assert sorted(i for part in parts for i in ids(part)) == list(range(len(times)))
  for part in parts:
    assert ids(part) == sorted(ids(part))
  for old, new in itertools.pairwise(parts):
    assert data.column(old, 'time').max() < data.column(new, 'time').min()


def test_time_may_be_a_date_and_lie_behind_another_source():
  days = np.datetime64('2024-01-01') + np.random.default_rng(0).permutation(100)
  train, held_out, test = split_by_time(data.arrays(when=days), 0.2, 0.1, key='when')
  assert (len(train), len(held_out), len(test)) == (70, 20, 10)
  assert data.column(test, 'when').min() == np.datetime64('2024-03-31')
  records = toys.Records(*({'time': 1_700_000_000_000 + i} for i in (5, 1, 3, 2, 4)))
  _, held_out = split_by_time(records, 0.4)
  assert sorted(data.column(held_out, 'time') - 1_700_000_000_000) == [4, 5]


SOURCE = source('ab' * 5, [0, 1] * 5)
BAD = {
  'one fold': (lambda: folds(SOURCE, 1), ['count', 'got 1']),
  'few records': (lambda: folds(SOURCE, 11), ['10 records', '11 folds']),
  'few groups': (lambda: folds(SOURCE, 3, group='group'), ['2 groups', '3 folds']),
  'no records': (lambda: folds(toys.Records(), 3), ['no record']),
  'no key': (lambda: folds(SOURCE, 3, stratify='class'), ["'class'", 'label']),
  'no class': (
    lambda: folds(data.arrays(label=np.ones(9)), 3, stratify='label'),
    ["'label'", 'float32', 'None'],
  ),
  'share': (lambda: split_by_time(SOURCE, 0.6, 0.5), ['split_by_time', 'held_out=0.6']),
  'no time': (lambda: split_by_time(SOURCE), ["'time'"]),
  'text': (lambda: split_by_time(SOURCE, key='label'), ["'label'", 'datetime64']),
  'unknown time': (
    lambda: split_by_time(data.arrays(time=[1, 2, np.nan, 4])),
    ['1 records', 'first record 2'],
  ),
  'unknown date': (
    lambda: split_by_time(data.arrays(time=np.array(['2024-01-01', 'NaT'], 'M8[D]'))),
    ['1 records', 'first record 1'],
  ),
  'one time': (lambda: split_by_time(data.arrays(time=np.ones(9)), 0.3), ['is empty']),
}


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  toys.check_sentence(do, words, r'^data')
