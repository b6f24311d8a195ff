"""Splits share no record, lose none, and by hash never move one."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain import data


def labelled(n=400, classes=7, seed=0):
  rng = np.random.default_rng(seed)
  return data.arrays(
    id=np.arange(n), label=rng.integers(0, classes, n) ** 2, group=[f'g{i // 4}' for i in range(n)]
  )


def ids(part):
  return part.column('id').tolist()


SPLITS = {
  'stratified': lambda s, **kw: data.split_stratified(s, 0.2, 0.1, **kw),
  'hash': lambda s, **kw: data.split_by_hash(s, 0.2, 0.1, key='id', **kw),
  'content': lambda s, **kw: data.split_by_hash(s, 0.2, 0.1, **kw),
  'document': lambda s, **kw: data.split_by_document(s, 0.2, 0.1, key='group', **kw),
  'position': lambda s, **kw: data.split_by_position(s, 0.2, 0.1, **kw),
}


@pytest.mark.parametrize('name', SPLITS)
def test_parts_are_disjoint_and_complete(name):
  parts = SPLITS[name](labelled())
  assert len(parts) == 3
  assert sorted(i for part in parts for i in ids(part)) == list(range(400))
  assert 0.1 < len(parts[1]) / 400 < 0.3
  assert 0.04 < len(parts[2]) / 400 < 0.2


@pytest.mark.parametrize('name', SPLITS)
def test_a_split_can_be_split_again(name):
  seed = {} if name == 'position' else {'seed': 1}
  train, held_out, test = SPLITS[name](SPLITS[name](labelled())[0], **seed)
  assert len(train) > len(held_out) > len(test) > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.sampled_from([0.1, 0.25]))
def test_stratified_keeps_the_share_of_each_class(seed, classes, share):
  source = labelled(300, classes, seed)
  train, held_out, test = data.split_stratified(source, share, share, seed=seed)
  labels = source.column('label')
  assert len(held_out) == round(300 * share)
  for part in (held_out, test):
    for label in np.unique(labels):
      expected = share * (labels == label).sum()
      # Each class to within one record at either end of the part.
      assert abs((part.column('label') == label).sum() - expected) < 2
  assert len(train) == 300 - len(held_out) - len(test)


def test_stratified_seeds_differ_and_repeat():
  a, b, c = (data.split_stratified(labelled(), seed=seed)[1] for seed in (0, 0, 1))
  assert ids(a) == ids(b) != ids(c)


def test_texts_can_be_classes():
  source = data.arrays(label=['cat', 'dog'] * 20)
  _, held_out = data.split_stratified(source, 0.2, 0)
  assert sorted(held_out.column('label')) == ['cat'] * 4 + ['dog'] * 4


@pytest.mark.parametrize('name', ['hash', 'document', 'content'])
def test_adding_data_moves_no_old_record(name):
  few, many = labelled(200), labelled(400)
  few = data.select(many, np.arange(200))
  shuffled = data.select(many, np.random.default_rng(1).permutation(400))
  for old, new in zip(SPLITS[name](few), SPLITS[name](shuffled), strict=True):
    assert set(ids(old)) == set(ids(new)) & set(range(200))


def test_raising_a_share_only_takes_from_train():
  train, held_out, test = data.split_by_hash(labelled(), 0.1, 0.1, key='id')
  train2, held_out2, test2 = data.split_by_hash(labelled(), 0.3, 0.2, key='id')
  assert set(ids(held_out)) <= set(ids(held_out2))
  assert set(ids(test)) <= set(ids(test2))
  assert set(ids(train)) >= set(ids(train2))


def test_documents_stay_whole():
  parts = data.split_by_document(labelled(), 0.2, 0.1, key='group')
  groups = [set(part.column('group')) for part in parts]
  assert not groups[0] & groups[1]
  assert not groups[0] & groups[2]
  assert not groups[1] & groups[2]


def test_duplicates_share_a_part():
  source = data.arrays(x=np.repeat(np.random.default_rng(0).normal(size=(100, 3)), 2, axis=0))
  for part in data.split_by_hash(source, 0.3):
    values, counts = np.unique(part.column('x'), axis=0, return_counts=True)
    assert (counts == 2).all(), values


def test_a_hash_is_the_same_in_another_process_and_at_another_width():
  code = (
    'import numpy as np; from bigtrain import data;'
    's = data.arrays(id=np.arange(50, dtype=np.int16), name=[str(i) for i in range(50)]);'
    "print(data.split_by_hash(s, 0.3, key=['id', 'name'])[1].column('id').tolist())"
  )
  out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  source = data.arrays(id=np.arange(50), name=[str(i) for i in range(50)])
  here = data.split_by_hash(source, 0.3, key=['id', 'name'])[1].column('id').tolist()
  assert out.stdout.strip() == str(here)


def test_wide_identities_are_kept():
  source = data.arrays(id=np.arange(100) + 2**60)
  train, held_out = data.split_by_hash(source, 0.3, key='id')
  assert len(set(ids(train)) | set(ids(held_out))) == 100


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6), st.sampled_from([0.1, 0.3]))
def test_by_position_cuts_texts_in_characters(texts, share):
  total = ''.join(texts)
  if len(total) < 20:
    return
  source = data.arrays(text=texts, path=[str(i) for i in range(len(texts))])
  parts = data.split_by_position(source, share, share)
  assert ''.join(text for part in parts for text in part.column('text')) == total
  train = ''.join(parts[0].column('text'))
  assert len(train) == int(round((1 - 2 * share) * len(total), 6))
  assert all(set(part.column('path')) <= set(source.column('path')) for part in parts)


def test_by_position_rounds_no_record_away():
  # 1 - (0.4 + 0.2) is 0.3999... in floating point.
  parts = data.split_by_position(data.arrays(id=np.arange(10)), 0.4, 0.2)
  assert [ids(part) for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_by_position_cuts_where_nanogpt_does():
  train, held_out = data.split_by_position(data.arrays(text=['a' * 1_115_394]), 0.1)
  assert len(train.column('text')[0]) == int(1_115_394 * 0.9) == 1_003_854
  assert len(held_out.column('text')[0]) == 111_540
