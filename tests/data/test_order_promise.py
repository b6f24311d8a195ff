"""The promise of the order: with mixing, packing and shuffling on, the global batch of a step is
the same bit for bit, however many hosts and workers there are and wherever a run was resumed."""

import functools
import json
from typing import Any

import numpy as np
import pytest

from bigtrain import data

BATCH, STEPS = 8, 12  # More than an epoch of each source.


def texts(word, count):
  return data.arrays(text=[f'{word} {i} ' * (1 + i * 7 % 5) for i in range(count)])


def noisy(batch, rng):
  return {**batch, 'noise': rng.random(3)}


def stream(how: Any = 'concat', workers=0):
  """Returns documents packed, mixed along a curriculum, shuffled and augmented."""
  pack: Any = data.pack if how == 'windows' else functools.partial(data.pack_documents, method=how)
  parts = {name: pack(texts(name, n), 16) for name, n in (('a', 17), ('bb', 9), ('ccc', 5))}
  mixture = data.mix(
    parts,
    schedule={0: {'a': 1, 'bb': 1}, 6: {'a': 1, 'bb': 2, 'ccc': 3}},
    between='linear',
    key='source',
  )
  change = data.compose(noisy, data.token_dropout(0, 0.1)) if how == 'windows' else noisy
  return data.forever(mixture, BATCH, seed=5, map=change, workers=workers)


def check(batches, expected):
  for got, want in zip(batches, expected, strict=True):
    assert got.keys() == want.keys()
    for key, values in want.items():
      assert got[key].dtype == values.dtype
      assert got[key].tobytes() == values.tobytes(), key


def on_hosts(batches, hosts, first, last, state=None):
  """Returns the global batches of the steps from first on to last, as the hosts together hold
  them, and the states that they end in."""
  iterators = [batches.iterator(host, hosts) for host in range(hosts)]
  for each in iterators:
    if state is not None:
      each.set_state(json.loads(json.dumps(state)))  # As a checkpoint keeps it.
  joined = []
  for _ in range(first, last):
    rows = [next(each) for each in iterators]
    joined.append({key: np.concatenate([row[key] for row in rows]) for key in rows[0]})
  states = [each.get_state() for each in iterators]
  for each in iterators:
    each.close()
  return joined, states


@pytest.mark.parametrize('how', ['windows', 'concat', 'best_fit'])
def test_hosts_hold_the_same_global_batches(how):
  batches = stream(how)
  whole = [batches[step] for step in range(STEPS)]
  assert len({batch['inputs'].tobytes() for batch in whole}) == STEPS
  assert {0, 1} <= set(whole[0]['source'].tolist())
  assert 2 in whole[-1]['source']
  for hosts in (1, 2, 4):
    got, states = on_hosts(stream(how), hosts, 0, STEPS)
    check(got, whole)
    assert all(state == states[0] for state in states)


@pytest.mark.parametrize(('before', 'after'), [(1, 4), (4, 2), (2, 1)])
def test_a_run_resumes_mid_epoch_on_another_number_of_hosts(before, after):
  batches = stream('best_fit')
  whole = [batches[step] for step in range(STEPS)]
  stop = 7
  first, states = on_hosts(stream('best_fit'), before, 0, stop)
  rest, _ = on_hosts(stream('best_fit'), after, stop, STEPS, states[-1])
  check(first + rest, whole)


def test_workers_change_neither_batches_nor_states():
  here = stream('concat')
  whole = [here[step] for step in range(STEPS)]
  stop = 5
  first, states = on_hosts(stream('concat', workers=2), 1, 0, stop)
  check(first, whole[:stop])
  # Resumed without workers on another number of hosts, and the other way round.
  rest, _ = on_hosts(stream('concat'), 2, stop, STEPS, states[0])
  check(rest, whole[stop:])
  _, states = on_hosts(stream('concat'), 4, 0, stop)
  rest, _ = on_hosts(stream('concat', workers=2), 1, stop, STEPS, states[0])
  check(rest, whole[stop:])
