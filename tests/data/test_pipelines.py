"""A batch is a pure function of the step: streams resume, and hosts do not matter."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from bigtrain import data


def numbers(n=53):
  return data.arrays(
    x=np.arange(n, dtype=np.int32), y=np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3)
  )


def noisy(batch, rng):
  return {**batch, 'y': batch['y'] + rng.normal(2, 3), 'z': rng.integers(0, 1000)}


def equal(a, b):
  return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def take(iterator, count):
  return [next(iterator) for _ in range(count)]


@pytest.mark.parametrize(('n', 'batch'), [(53, 8), (5, 16), (1, 3), (64, 64)])
def test_forever_sees_every_record_once_an_epoch(n, batch):
  seen = np.concatenate(
    [each['x'] for each in take(data.forever(numbers(n), batch).iterator(), 3 * n)]
  )
  for epoch in range(len(seen) // n):
    assert sorted(seen[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_forever_rows_are_whole_records():
  source = numbers()
  for batch in take(data.forever(source, 8).iterator(), 20):
    assert np.array_equal(batch['y'], source.column('y')[batch['x']])


@pytest.mark.parametrize('make', [data.forever, data.once])
@pytest.mark.parametrize('shards', [1, 2, 4])
def test_hosts_together_hold_the_global_batch(make, shards):
  batches = make(numbers(), 8, seed=3, map=noisy)
  hosts = [batches.iterator(shard, shards) for shard in range(shards)]
  for step in range(7):
    rows = [next(host) for host in hosts]
    joined = {key: np.concatenate([each[key] for each in rows]) for key in rows[0]}
    assert equal(joined, batches[step])


@pytest.mark.parametrize('make', [data.forever, data.once])
@pytest.mark.parametrize('stop', [0, 3, 5])
def test_resumed_equals_uninterrupted(make, stop):
  batches = make(numbers(), 8, seed=3, map=noisy)
  whole = take(batches.iterator(), 7)
  first = batches.iterator()
  take(first, stop)
  state = json.loads(json.dumps(first.get_state()))  # As a checkpoint keeps it.
  resumed = batches.iterator(1, 2)
  resumed.set_state(state)
  assert resumed.get_state() == state
  for got, expected in zip(take(resumed, 7 - stop), whole[stop:], strict=True):
    assert equal(got, {key: value[4:] for key, value in expected.items()})


def test_a_state_can_be_set_again_and_backwards():
  batches = data.forever(numbers(), 8, map=noisy)
  iterator = batches.iterator()
  start = iterator.get_state()
  first = take(iterator, 4)
  iterator.set_state(start)
  assert all(equal(a, b) for a, b in zip(take(iterator, 4), first, strict=True))


def test_a_restored_end_is_an_end():
  batches = data.once(numbers(), 8)
  iterator = batches.iterator()
  assert len(list(iterator)) == len(batches) == 7
  again = batches.iterator()
  again.set_state(iterator.get_state())
  assert list(again) == []


@pytest.mark.parametrize(
  ('change', 'word'),
  [
    (lambda: data.forever(numbers(54), 8), 'records'),
    (lambda: data.forever(numbers(), 4), 'batch'),
    (lambda: data.forever(numbers(), 8, seed=1), 'seed'),
  ],
)
def test_a_state_of_another_order_is_refused(change, word):
  state = data.forever(numbers(), 8).iterator().get_state()
  with pytest.raises(ValueError, match=f'{word}='):
    change().iterator().set_state(state)


def test_seeds_and_steps_draw_differently():
  a, b = (
    data.forever(numbers(), 8, seed=0, map=noisy),
    data.forever(numbers(), 8, seed=1, map=noisy),
  )
  assert not equal(a[0], b[0])
  assert not np.array_equal(a[0]['z'], a[1]['z'])
  c, d = (data.once(numbers(), 8, seed=seed, map=noisy) for seed in (0, 1))
  assert np.array_equal(c[0]['x'], d[0]['x'])
  assert not np.array_equal(c[0]['z'], d[0]['z'])


@pytest.mark.parametrize('batch', [8, 5000])
def test_a_late_step_read_in_turn_is_the_step_read_alone(batch):
  batches = data.forever(numbers(), batch)
  iterator = batches.iterator()
  for step in range(1100 if batch == 8 else 4):
    got = next(iterator)
    if step % 511 < 3:
      assert equal(got, batches[step])


def test_once_keeps_order_and_weighs_padding_zero():
  source = numbers()
  batches = list(data.once(source, 8))
  x = np.concatenate([batch['x'] for batch in batches])
  weight = np.concatenate([batch['weight'] for batch in batches])
  assert weight.dtype == np.float32
  assert all(len(batch['x']) == 8 for batch in batches)
  assert x[weight == 1].tolist() == list(range(53))
  assert weight[53:].tolist() == [0, 0, 0]
  assert set(x[53:]) <= set(range(53))


def test_once_multiplies_the_weight_of_the_records():
  own = np.arange(10, dtype=np.float64)
  (first, second) = data.once(data.arrays(x=own, weight=own), 6)
  assert first['weight'].tolist() == [0, 1, 2, 3, 4, 5]
  assert second['weight'].tolist() == [6, 7, 8, 9, 0, 0]
  (batch,) = data.once(data.arrays(x=np.ones(2), weight=np.ones((2, 3), np.int32)), 3)
  assert batch['weight'].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
  assert batch['weight'].dtype == np.float32


def test_once_smaller_than_a_batch():
  (batch,) = data.once(numbers(3), 8)
  assert batch['weight'].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize('make', [data.forever, data.once])
def test_spec_tells_what_comes_and_moves_nothing(make):
  batches = make(numbers(), 8, map=noisy)
  iterator = batches.iterator(0, 2)
  before = iterator.get_state()
  spec = batches.spec
  assert iterator.get_state() == before
  batch = batches[0]
  assert spec == {key: (value.shape, value.dtype) for key, value in batch.items()}
  assert spec['y'] == ((8, 2, 3), np.dtype('float32'))


def test_numbers_are_narrowed_to_32_bits():
  spec = data.forever(data.arrays(a=np.arange(4), b=np.ones(4), c=np.ones(4, bool)), 2).spec
  assert {key: str(kind) for key, (_, kind) in spec.items()} == {
    'a': 'int32',
    'b': 'float32',
    'c': 'bool',
  }


@pytest.mark.parametrize('indices', [slice(None), slice(0, 1)])
def test_slow_sources_give_the_same_batches(indices):
  class Slow:
    def __len__(self):
      return 53

    def __getitem__(self, index):
      return numbers()[index]

  class Listed(Slow):
    def __getitems__(self, indices):
      return [self[i] for i in indices]

  for source in (Slow(), Listed()):
    for step in range(*indices.indices(8)):
      assert equal(
        data.forever(source, 8, map=noisy)[step], data.forever(numbers(), 8, map=noisy)[step]
      )
      assert equal(data.in_memory(source).columns, numbers().columns)


def test_workers_make_the_same_batches():
  batches = data.forever(numbers(), 8, map=data.compose(noisy), workers=1)
  plain = data.forever(numbers(), 8, map=data.compose(noisy))
  iterator = batches.iterator()
  iterator.set_state({**plain.iterator().get_state(), 'step': 11})
  try:
    assert all(equal(next(iterator), plain[step]) for step in range(11, 14))
    state = iterator.get_state()
  finally:
    iterator.close()
  resumed = plain.iterator()
  resumed.set_state(state)
  assert equal(next(resumed), plain[14])


@pytest.mark.parametrize(
  ('batches', 'limit'),
  [
    (lambda: data.forever(data.digits(), 64), 100e-6),
    (
      lambda: data.forever(data.pack(data.arrays(text=['to be or not ' * 9000]), 64, stride=1), 12),
      200e-6,
    ),
  ],
  ids=['digits', 'tokens'],
)
def test_a_small_batch_is_cheap(batches, limit):
  iterator = batches().iterator()
  take(iterator, 5)
  fastest = np.inf
  for _ in range(30):  # The least disturbed of many runs: other processes share the machine.
    start = time.perf_counter()
    take(iterator, 50)
    fastest = min(fastest, (time.perf_counter() - start) / 50)
  assert fastest < limit


@pytest.mark.parametrize(
  ('given', 'expected'),
  [
    (dict(steps=7), 7),
    (dict(epochs=1), 7),
    (dict(epochs=2), 14),
    (dict(epochs=0.1), 1),
    (dict(examples=16), 2),
    (dict(examples=17), 3),
  ],
)
def test_durations(given, expected):
  assert data.steps(numbers(), 8, **given) == expected


def test_an_epoch_of_steps_shows_every_record():
  count = data.steps(numbers(), 8, epochs=1)
  seen = np.concatenate(
    [batch['x'] for batch in take(data.forever(numbers(), 8).iterator(), count)]
  )
  assert set(seen) == set(range(53))


ORPHANS = """
import os
import numpy as np
from bigtrain import data
if __name__ == '__main__':
  batches = data.forever(data.arrays(x=np.arange(10)), 2, workers=2)
  iterator = batches.iterator()
  next(iterator)
  os.kill(os.getpid(), 9)
"""


def test_workers_end_with_a_trainer_that_was_killed(tmp_path):
  file = tmp_path / 'killed.py'
  file.write_text(ORPHANS)
  # The workers hold the other end of the pipe: it is closed when the last of them has ended.
  done = subprocess.run([sys.executable, str(file)], stdout=subprocess.PIPE, timeout=60)
  assert done.returncode == -9
