"""Each source has its due share of every prefix, and a mixed batch is a pure function of the
step."""

import json
import os
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Records

from bigtrain import data
from bigtrain.data import dealing, documents, mixtures

SIZES = {'a': 53, 'b': 7, 'c': 200}


def parts(sizes=SIZES):
  """Returns sources of numbers: source k holds 1000 k, 1000 k + 1, ..."""
  return {
    name: data.arrays(x=1000 * k + np.arange(n), y=np.ones((n, 2), np.float32))
    for k, (name, n) in enumerate(sizes.items())
  }


def equal(a, b):
  return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def astray(dealt, due):
  """Returns how far any source is from its due [N, K] after any number of rows, at most."""
  counts = np.cumsum(np.eye(due.shape[1])[dealt], axis=0)
  return np.abs(counts - np.cumsum(due, axis=0)).max()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_prefix_holds_each_source_as_due_to_within_one(drawn):
  count, phases = drawn.draw(st.integers(1, 7)), drawn.draw(st.integers(1, 5))
  some = st.lists(st.integers(0, 5), min_size=count, max_size=count).filter(any)
  rates = np.array([np.array(drawn.draw(some)) ** 2 for _ in range(phases)])
  # Pieces of a few periods and pieces of many, that are dealt out differently.
  lengths = drawn.draw(st.lists(st.integers(1, 900), min_size=phases, max_size=phases))
  starts = np.cumsum(lengths) - lengths
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(dealing, '_GRAIN', 64)
    rates = dealing.rates(rates)
  plan = dealing.Plan(starts, rates)
  positions = np.arange(sum(lengths) + 500)
  part, turn = plan(positions)
  due = rates[np.searchsorted(starts, positions, 'right') - 1] / rates[0].sum()
  assert astray(part, due) < 1 - 1e-9
  # Any position at once, in any order, by a plan that has seen no other.
  place = drawn.draw(st.integers(0, len(positions) - 1))
  alone = dealing.Plan(starts, rates)(positions[place : place + 1])
  assert (alone[0][0], alone[1][0]) == (part[place], turn[place])
  assert turn[place] == (part[:place] == part[place]).sum()
  assert plan.counts(place).tolist() == np.bincount(part[:place], minlength=count).tolist()


@pytest.mark.parametrize('length', [12, 44, 1004])
def test_what_is_due_soon_under_weights_to_come_is_dealt_out_before(length):
  rates = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 2, 2, 2, 2]])
  # Half a record of each is due when the weights change; two rows later, all of the last four.
  part, _ = dealing.Plan(np.array([0, length]), rates)(np.arange(length + 50))
  assert astray(part, np.repeat(rates / 8, [length, 50], axis=0)) < 1
  assert sorted(part[length - 4 : length]) == [4, 5, 6, 7]


@pytest.mark.parametrize('between', ['constant', 'linear'])
def test_a_curriculum_follows_the_integral_of_its_weights(between):
  schedule = {0: {'a': 1}, 40: {'a': 1, 'b': 1}, 90: {'c': 3, 'a': 1}}
  mixture = mixtures.mix(parts(), schedule=schedule, between=between, key='source')
  at = {0: [1, 0, 0], 40: [0.5, 0.5, 0], 90: [0.25, 0, 0.75]}
  steps = np.arange(130)
  if between == 'linear':
    expected = np.stack([np.interp(steps, [*at], [w[k] for w in at.values()]) for k in range(3)], 1)
  else:
    expected = np.array([at[max(each for each in at if each <= step)] for step in steps])
  shares = np.array([list(mixture.shares(int(step)).values()) for step in steps])
  assert np.abs(shares - expected).max() < 2 / 2**14
  batches = data.forever(mixture, 8)
  dealt = np.concatenate([batches[step]['source'] for step in steps.tolist()])
  assert astray(dealt, np.repeat(shares, 8, axis=0)) < 1
  assert list(mixture.counts(130, 8).values()) == np.bincount(dealt).tolist()


def test_a_long_line_is_climbed_in_stairs():
  mixture = mixtures.mix(
    parts(), schedule={0: {'a': 1}, 10**6: {'b': 1}, 2 * 10**6: {'a': 1}}, between='linear'
  )
  assert len(mixture._steps) == 513
  for step in (0, 123_456, 10**6, 1_700_000):
    assert abs(mixture.shares(step)['b'] - (1 - abs(step / 10**6 - 1))) < 1 / 256
  assert mixture.shares(2 * 10**6)['b'] == 0


@pytest.mark.parametrize(
  ('given', 'expected'),
  [
    ({}, [53 / 260, 7 / 260, 200 / 260]),
    (dict(temperature=1), [53 / 260, 7 / 260, 200 / 260]),
    (dict(temperature=2), np.sqrt([53, 7, 200]) / np.sqrt([53, 7, 200]).sum()),
    (dict(temperature=np.inf), [1 / 3, 1 / 3, 1 / 3]),
    (dict(limit=50), [50 / 107, 7 / 107, 50 / 107]),
    (dict(weights={'a': 0.7, 'b': 0.2, 'c': 0.1}), [0.7, 0.2, 0.1]),
    (dict(weights={'c': 3, 'a': 1}), [0.25, 0, 0.75]),
    (dict(schedule={0: 2}), np.sqrt([53, 7, 200]) / np.sqrt([53, 7, 200]).sum()),
  ],
)
def test_shares(given, expected):
  shares = list(mixtures.mix(parts(), **given).shares().values())
  exact = given.get('temperature', 1) != 2 and 'schedule' not in given
  assert np.allclose(shares, expected, rtol=0, atol=1e-15 if exact else 1 / 2**14)
  assert abs(sum(shares) - 1) < 1e-12


def test_a_small_share_is_not_lost():
  many = {str(k): 1e-9 for k in range(99)}
  rates = dealing.rates(np.array([[*many.values(), 1.0]]))
  assert rates.min() == 1
  assert rates.sum() == 2**14


def test_each_source_is_read_whole_before_any_record_comes_again():
  mixture = mixtures.mix(parts(), weights={'a': 5, 'b': 3, 'c': 2}, key='source')
  batches = data.forever(mixture, 16, seed=5)
  seen = [batches[step] for step in range(90)]
  x, part = (np.concatenate([batch[key] for batch in seen]) for key in ('x', 'source'))
  assert np.array_equal(x // 1000, part)
  for k, size in enumerate(SIZES.values()):
    own = x[part == k] - 1000 * k
    epochs = [own[i : i + size].tolist() for i in range(0, len(own) - size + 1, size)]
    assert epochs
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert len(epochs) == 1 or epochs[0] != epochs[1]
    assert epochs[0] != sorted(epochs[0])


def test_the_order_within_a_source_hangs_on_its_name_and_the_seed_alone():
  def order(name, seed, sizes=SIZES):
    mixture = mixtures.mix(parts(sizes), temperature=np.inf, key='source')
    batches = [data.forever(mixture, 16, seed=seed)[step] for step in range(20)]
    x, part = (np.concatenate([batch[key] for batch in batches]) for key in ('x', 'source'))
    return (x[part == list(sizes).index(name)] % 1000)[:53].tolist()

  assert order('a', 1) == order('a', 1, {'d': 90, **SIZES})
  assert order('a', 1) != order('a', 2)
  assert order('a', 1) != order('d', 1, {'a': 53, 'd': 53})


def changing(**given):
  return mixtures.mix(
    parts(), schedule={0: {'a': 1, 'b': 2}, 5: {'b': 1, 'c': 3}}, between='linear', **given
  )


def packed(**given):
  text = ['to be or not to be\n' * 3, 'that is the question', 'whether'] * 9
  rows = {
    name: documents.pack_documents(data.arrays(text=texts), 16, method=method)
    for name, texts, method in [('a', text, 'concat'), ('b', text[4:11], 'best_fit')]
  }
  return mixtures.mix(rows, weights={'a': 2, 'b': 1}, **given)


@pytest.mark.parametrize('make', [changing, packed])
@pytest.mark.parametrize('shards', [1, 2, 4])
def test_hosts_together_hold_the_global_batch(make, shards):
  batches = data.forever(make(key='source'), 8, seed=3)
  hosts = [data.forever(make(key='source'), 8, seed=3).iterator(i, shards) for i in range(shards)]
  for step in range(12):
    rows = [next(host) for host in hosts]
    assert equal({k: np.concatenate([each[k] for each in rows]) for k in rows[0]}, batches[step])


@pytest.mark.parametrize('make', [changing, packed])
@pytest.mark.parametrize('stop', [0, 3, 11])
def test_resumed_equals_uninterrupted(make, stop):
  whole = data.forever(make(), 8, seed=3).iterator()
  expected = [next(whole) for _ in range(15)]
  first = data.forever(make(), 8, seed=3).iterator()
  for _ in range(stop):
    next(first)
  state = json.loads(json.dumps(first.get_state()))
  resumed = data.forever(make(), 8, seed=3).iterator(1, 2)
  resumed.set_state(state)
  for batch in expected[stop:]:
    assert equal(next(resumed), {key: values[4:] for key, values in batch.items()})


@pytest.mark.parametrize(
  'other',
  [
    lambda: mixtures.mix(parts(), weights={'a': 1, 'b': 2}),
    lambda: mixtures.mix(parts({'a': 54, 'b': 6, 'c': 200})),
    lambda: mixtures.mix(parts({'a': 53, 'd': 7, 'c': 200})),
    lambda: mixtures.mix(parts(), schedule={0: 1, 9: 2}),
  ],
)
def test_a_state_of_another_mixture_is_refused(other):
  state = data.forever(mixtures.mix(parts()), 8).iterator().get_state()
  data.forever(mixtures.mix(parts()), 8).iterator().set_state(state)
  with pytest.raises(ValueError, match='mixture='):
    data.forever(other(), 8).iterator().set_state(state)


def test_spec_length_and_one_pass_are_those_of_any_source():
  mixture = mixtures.mix(parts(), key='source')
  batches = data.forever(mixture, 8)
  assert batches.spec == {k: (v.shape, v.dtype) for k, v in batches[3].items()}
  assert len(mixture) == data.steps(mixture, 1, epochs=1) == 260
  seen = list(data.once(mixture, 8))
  x = np.concatenate([batch['x'] for batch in seen])
  weight = np.concatenate([batch['weight'] for batch in seen])
  assert x[weight == 1].tolist() == mixture.column('x').tolist()
  assert mixture[59]['x'] == 1006
  assert mixture[59]['source'] == 1


def test_a_hundred_sources_are_cheap():
  many = {str(k): data.arrays(x=np.arange(100 + 37 * k)) for k in range(100)}
  iterator = data.forever(mixtures.mix(many, temperature=3), 256).iterator()
  next(iterator)
  fastest = np.inf
  for _ in range(20):
    start = time.perf_counter()
    next(iterator)
    fastest = min(fastest, time.perf_counter() - start)
  assert fastest < 0.1


def test_neither_threads_nor_files_nor_memory_grow_with_the_sources(tmp_path):
  data.write_records(data.arrays(x=np.arange(300)), tmp_path / 'set')
  lines = [tmp_path / f'{k}.jsonl' for k in range(200)]
  for path in lines:
    path.write_text('{"x": 1}\n' * 9)

  def drawn(count):
    """Returns threads, open files and the most memory while two mixtures are drawn from."""
    tracemalloc.start()
    kept = [data.read_records(tmp_path / 'set') for _ in range(count)]
    kept = [kept, [data.json_lines(path) for path in lines[:count]]]
    for parts in kept:
      named = {str(k): part for k, part in enumerate(parts)}
      mixture = mixtures.mix(named, schedule={0: 1, 40: 2}, between='linear')
      iterator = data.forever(mixture, 64).iterator()
      for _ in range(4):
        next(iterator)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [*(len(os.listdir(f'/proc/self/{each}')) for each in ('task', 'fd')), peak]

  drawn(2)
  few, many = drawn(2), drawn(200)
  assert many[0] <= few[0]
  assert many[1] <= few[1] + 200  # One for each shard.
  assert many[2] <= few[2] + 200 * 20_000


def test_a_late_step_of_a_hundred_sources_replays_nothing(monkeypatch):
  dealt = []
  real = dealing.Plan._deal
  monkeypatch.setattr(
    dealing.Plan, '_deal', lambda self, *args: dealt.append(args[4]) or real(self, *args)
  )
  many = {str(k): data.arrays(x=np.arange(100 + 37 * k)) for k in range(100)}
  mixture = mixtures.mix(many, schedule={0: 1, 10**7: 2})
  for step in (10**6, 10**9):
    data.forever(mixture, 256)[step]
  assert sum(dealt) <= 12 * 2**14


class Changing(Records):
  """A fast source whose batches are not what its records are."""

  def __getitems__(self, indices):
    return {'x': np.zeros(len(indices), np.float32)}


ONE = {'x': np.int32(1)}

# What is done, and the words that the sentence must hold.
CASES = {
  'no source': (lambda: mixtures.mix({}), ['no source', 'name at least one']),
  'empty': (lambda: mixtures.mix({'a': Records()}), ["'a'", 'no record']),
  'keys': (
    lambda: mixtures.mix({'a': Records(ONE), 'b': Records({'z': 1})}),
    ["'b'", 'z int64[]', "'a'", 'x int32[]', 'same keys'],
  ),
  'shapes': (
    lambda: mixtures.mix({'a': Records(ONE), 'b': Records({'x': np.ones(3, np.int32)})}),
    ["'b'", 'int32[3]', 'shapes'],
  ),
  'types': (
    lambda: mixtures.mix({'a': Records(ONE), 'b': Records({'x': np.float32(1)})}),
    ["'b'", 'float32', 'types'],
  ),
  'later records': (
    lambda: data.forever(mixtures.mix({'a': Records(ONE), 'b': Changing(ONE)}), 4)[0],
    ["'b'", 'float32', 'int32', 'same keys'],
  ),
  'taken key': (lambda: mixtures.mix(parts(), key='x'), ["'x' already", 'another key']),
  'two kinds': (
    lambda: mixtures.mix(parts(), weights={'a': 1}, temperature=2),
    ['weights and temperature', 'one of them'],
  ),
  'unknown name': (lambda: mixtures.mix(parts(), weights={'d': 1}), ["'d'", 'a, b, c']),
  'negative': (lambda: mixtures.mix(parts(), weights={'a': -1, 'b': 2}), ['-1', 'at least 0']),
  'all zero': (lambda: mixtures.mix(parts(), weights={'a': 0}), ['not all 0', 'above 0']),
  'no number': (lambda: mixtures.mix(parts(), weights={'a': np.nan}), ['nan', 'at least 0']),
  'cold': (lambda: mixtures.mix(parts(), temperature=0), ['temperature', '0', 'use 1']),
  'late start': (lambda: mixtures.mix(parts(), schedule={5: 1}), ['[5]', 'begin with step 0']),
  'no schedule': (lambda: mixtures.mix(parts(), schedule={}), ['[]', 'begin with step 0']),
  'between': (lambda: mixtures.mix(parts(), between='cubic'), ["'cubic'", "'linear'"]),
  'limit': (lambda: mixtures.mix(parts(), limit=0), ['limit', '0']),
}


@pytest.mark.parametrize('case', CASES)
def test_bad_mixtures_are_a_sentence(case):
  act, words = CASES[case]
  with pytest.raises(ValueError, match=r'^data') as caught:
    act()
  assert all(word in str(caught.value) for word in words), caught.value


def test_workers_make_the_same_batches():
  plain = data.forever(packed(), 8, seed=3)
  iterator = data.forever(packed(), 8, seed=3, workers=2).iterator()
  iterator.set_state({**plain.iterator().get_state(), 'step': 5})
  try:
    assert all(equal(next(iterator), plain[step]) for step in range(5, 9))
  finally:
    iterator.close()
