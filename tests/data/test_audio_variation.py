"""Audio is covered, drowned, scaled and moved as the draws say."""

import numpy as np
import pytest

from bigtrain.data.audio_variation import add_noise, random_gain, spec_augment, time_shift
from bigtrain.data.draws import Draws

ROWS = 64


def draws(start=0, stop=None):
  return Draws(7, 0, ROWS, start, stop)


def batch(kind=np.float32):
  rng = np.random.default_rng(0)
  sound = rng.normal(size=(ROWS, 400)) * rng.uniform(0.1, 0.3, (ROWS, 1))
  return {
    'audio': sound.astype(kind) if kind != np.int16 else (sound * 9000).astype(np.int16),
    'features': rng.normal(5, 1, (ROWS, 50, 20)).astype(np.float32),
    'label': np.arange(ROWS),
  }


MAPS = {
  'spec_augment': (spec_augment(frequency=6, time=12), 'features'),
  'add_noise': (add_noise(), 'audio'),
  'random_gain': (random_gain(), 'audio'),
  'time_shift': (time_shift(30), 'audio'),
  'time_shift of frames': (time_shift(7, key='features'), 'features'),
}


@pytest.mark.parametrize('name', MAPS)
@pytest.mark.parametrize('kind', [np.float32, np.int16])
def test_a_row_is_the_same_however_many_hosts_there_are(name, kind):
  before, (vary, key) = batch(kind), MAPS[name]
  whole = vary(before, draws())
  assert np.array_equal(before[key], batch(kind)[key])
  assert whole['label'] is before['label']
  assert whole[key].dtype == before[key].dtype
  assert whole[key].shape == before[key].shape
  assert not np.array_equal(whole[key], before[key])
  for hosts in (2, ROWS):
    rows = ROWS // hosts
    parts = [
      vary({k: v[i : i + rows] for k, v in before.items()}, draws(i, i + rows))[key]
      for i in range(0, ROWS, rows)
    ]
    assert np.array_equal(np.concatenate(parts), whole[key])


def runs(flags):
  """Returns where true values begin and how long they go on."""
  edges = np.flatnonzero(np.diff(np.pad(flags.astype(int), 1)))
  return edges[::2], edges[1::2] - edges[::2]


@pytest.mark.parametrize('channels', [(), (2,)])
def test_masks_cover_bands_and_stretches_and_nothing_else(channels):
  values = np.random.default_rng(0).normal(5, 1, (ROWS, 50, 20, *channels)).astype(np.float32)
  got = spec_augment(frequency=6, time=12, time_masks=1)({'features': values}, draws())['features']
  covered = (got == 0).reshape(ROWS, 50, 20, -1)
  assert (covered == covered[..., :1]).all()
  covered = covered[..., 0]
  assert np.array_equal(got[~covered], values[~covered])
  frames, bands = covered.all(2), covered.all(1)
  assert bands.any(0).all()  # The first and the last among them.
  assert np.array_equal(covered, frames[:, :, None] | bands[:, None, :])
  wide, tall, begins = set(), set(), set()
  for row in range(ROWS):
    start, length = runs(frames[row])
    assert len(start) <= 1
    wide.update(length)
    begins.update(start)
    start, length = runs(bands[row])
    assert len(start) <= 2
    assert bands[row].sum() <= 12
    tall.update(length[: len(start) == 1])
  assert max(wide) == 12
  assert min(wide) == 1
  assert max(begins) > 35
  assert min(begins) < 5
  assert min(tall) == 1


def test_a_mask_over_time_is_at_most_a_share_of_the_frames():
  loud = {'features': np.ones((ROWS, 50, 20), np.float32)}
  got = spec_augment(frequency_masks=0, time_masks=1, share=0.1)(loud, draws())['features']
  assert (got == 0).all(2).sum(1).max() == 5
  everything = spec_augment(time_masks=0, frequency_masks=0)(loud, draws())['features']
  assert (everything == 1).all()


def test_a_mask_can_hold_the_mean():
  before = batch()
  got = spec_augment(frequency=6, time=12, fill=None)(before, draws())['features']
  covered = got != before['features']
  expected = np.broadcast_to(before['features'].mean((1, 2), keepdims=True), got.shape)
  assert covered.any()
  assert np.allclose(got[covered], expected[covered])


def test_noise_has_the_ratio_that_is_asked_for():
  before = batch()
  before['audio'][0] = 0
  noise = add_noise(20, 20)(before, draws())['audio'] - before['audio']
  power = (before['audio'] ** 2).mean(-1) / np.maximum((noise**2).mean(-1), 1e-30)
  assert np.allclose(10 * np.log10(power[1:]), 20, atol=0.01)
  assert not noise[0].any()
  assert np.abs(np.corrcoef(noise[1:])[np.triu_indices(ROWS - 1, 1)]).max() < 0.3
  noise = add_noise(0, 30)(before, draws())['audio'] - before['audio']
  decibels = 10 * np.log10((before['audio'][1:] ** 2).mean(-1) / (noise[1:] ** 2).mean(-1))
  assert -0.1 < decibels.min() < 4
  assert 26 < decibels.max() < 30.1
  some = add_noise(probability=0.5)(before, draws())['audio']
  assert 20 < (some == before['audio']).all(-1).sum() < 44


def test_gain_is_uniform_in_decibels():
  before = batch()
  got = random_gain(6)(before, draws())['audio']
  factor = (got * before['audio']).sum(-1) / (before['audio'] ** 2).sum(-1)
  decibels = 20 * np.log10(factor)
  assert np.allclose(got, factor[:, None] * before['audio'], atol=1e-5)
  assert -6 <= decibels.min() < -4
  assert 4 < decibels.max() <= 6
  assert abs(decibels.mean()) < 1
  loud = {'audio': np.full((ROWS, 9), 30_000, np.int16)}
  assert random_gain(6)(loud, draws())['audio'].max() == 32767


@pytest.mark.parametrize('mode', ['constant', 'wrap'])
@pytest.mark.parametrize('shape', [(40,), (40, 3)])
def test_a_shift_moves_a_row_as_a_whole(mode, shape):
  values = np.random.default_rng(0).normal(size=(ROWS, *shape)).astype(np.float32)
  got = time_shift(5, mode=mode)({'audio': values}, draws())['audio']
  moves = set()
  for row in range(ROWS):
    for by in range(-5, 6):
      expected = np.roll(values[row], by, 0)
      if mode == 'constant' and by:
        expected[:by] = np.where(by > 0, 0, expected[:by])
        expected[by:] = np.where(by < 0, 0, expected[by:])
      if np.array_equal(got[row], expected):
        moves.add(by)
        break
    else:
      raise AssertionError(f'row {row} is no shift')
  assert moves == set(range(-5, 6))
  assert np.array_equal(time_shift(0)({'audio': values}, draws())['audio'], values)


@pytest.mark.parametrize(
  ('do', 'words'),
  [
    (lambda: spec_augment(time=-1), ['time', '-1']),
    (lambda: spec_augment(share=2), ['share', '2']),
    (lambda: spec_augment(key='x')(batch(), draws()), ["'x'", 'audio, features, label']),
    (lambda: spec_augment(key='audio')(batch(), draws()), ['(64, 400)', '[B, T, F]']),
    (lambda: add_noise(5, 2), ['least', '5', '2']),
    (lambda: add_noise(probability=-1), ['probability', '-1']),
    (lambda: random_gain(-1), ['decibels', '-1']),
    (lambda: time_shift(-2), ['most', '-2']),
    (lambda: time_shift(2, key='label')(batch(), draws()), ['(64,)', '[B, T]']),
  ],
)
def test_a_sentence(do, words):
  with pytest.raises(ValueError, match=r'^data\.') as caught:
    do()
  assert [word for word in words if word not in str(caught.value)] == []
