"""Augmentation moves whole images by what was drawn, and nothing else."""

import numpy as np
import pytest

from bigtrain import data


def images(rows=64, height=9, width=7, channels=3):
  rng = np.random.default_rng(0)
  return {
    'image': rng.integers(1, 255, (rows, height, width, channels), np.uint8),
    'label': np.arange(rows, dtype=np.int32),
  }


def draws(step=0, rows=64, start=0, stop=None):
  return data.Draws(7, step, rows, start, stop)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('mode', ['constant', 'edge', 'reflect'])
def test_a_crop_is_one_window_of_the_padded_image(channels, mode):
  batch = images(channels=channels)
  before = batch['image'].copy()
  got = data.random_crop(2, mode=mode)(batch, draws())
  padded = np.pad(before, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=mode)
  offsets = set()
  for row in range(64):
    found = [
      (y, x)
      for y in range(5)
      for x in range(5)
      if np.array_equal(padded[row, y : y + 9, x : x + 7], got['image'][row])
    ]
    assert found
    offsets.add(found[0])
  assert len(offsets) > 15
  assert np.array_equal(batch['image'], before)
  assert got['image'].dtype == np.uint8
  assert got['label'] is batch['label']


class Drawn:
  """Draws that are all the same."""

  def __init__(self, value):
    self.value = value

  def random(self, *shape):
    return np.full((64, *shape), self.value, np.float32)


def test_an_affine_map_without_bounds_changes_nothing():
  batch = images()
  assert np.array_equal(data.random_affine()(batch, draws())['image'], batch['image'])


def test_an_affine_map_turns_moves_and_scales_as_it_says():
  batch = images(height=8, width=8)
  image = batch['image']

  def mapped(draw, **bounds):
    got = data.random_affine(**bounds)(batch, Drawn(draw))['image']
    assert got.dtype == np.uint8
    return got

  assert np.array_equal(mapped(1, rotate=90), np.rot90(image, -1, axes=(1, 2)))
  assert np.array_equal(mapped(0, rotate=90), np.rot90(image, axes=(1, 2)))
  # Down and right by one pixel; zeros come in.
  moved = np.pad(image, ((0, 0), (1, 0), (1, 0), (0, 0)))[:, :8, :8]
  assert np.array_equal(mapped(1, shift=1), moved)
  halfway = (image[:, :, :-1].astype(float) + image[:, :, 1:]) / 2
  between = mapped(0.75, shift=1)[:, 1:, 1:].astype(float)  # Half a pixel each way.
  assert np.abs(between - (halfway[:, :-1] + halfway[:, 1:]) / 2).max() <= 0.5
  # At half the size, a pixel is the mean of four, and the frame is empty.
  small = mapped(0, scale=0.5)
  four = image.reshape(64, 4, 2, 4, 2, 3).mean((2, 4))
  assert np.abs(small[:, 2:6, 2:6] - four).max() <= 0.5
  assert not small[:, 0].any()
  # Rows go sideways by as much as they lie below the middle; the middle lies between two rows.
  slanted = mapped(1, shear=2)
  assert np.array_equal(slanted[:, 4, 1:], image[:, 4, :-1])
  assert np.array_equal(slanted[:, 3, :-1], image[:, 3, 1:])


def test_no_padding_changes_nothing():
  assert np.array_equal(data.random_crop(0)(images(), draws())['image'], images()['image'])


def test_a_flip_mirrors_about_half():
  before = images()
  got = data.random_flip()(before, draws())['image']
  mirrored = (got == before['image'][:, :, ::-1]).all((1, 2, 3))
  same = (got == before['image']).all((1, 2, 3))
  assert (mirrored ^ same).all()
  assert 16 < mirrored.sum() < 48
  assert (
    data.random_flip(probability=1)(before, draws())['image'] == before['image'][:, :, ::-1]
  ).all()
  assert (data.random_flip(probability=0)(before, draws())['image'] == before['image']).all()


def test_scale_takes_bytes_to_the_unit_interval():
  batch = {'image': np.array([[0, 51, 255]], np.uint8)}
  assert np.allclose(data.scale()(batch, draws())['image'], [[0, 0.2, 1]])
  assert data.scale(factor=2 / 255, offset=-1)(batch, draws())['image'].max() == 1
  assert data.scale()(batch, draws())['image'].dtype == np.float32


def test_compose_applies_in_order():
  def double(batch, rng):
    return {'x': batch['x'] * 2}

  def add(batch, rng):
    return {'x': batch['x'] + 1}

  assert data.compose(double, add)({'x': np.array([3])}, draws())['x'] == 7


@pytest.mark.parametrize('name', ['random', 'normal'])
def test_draws_of_rows_are_rows_of_the_draws(name):
  whole = draws()
  parts = [draws(0, 64, start, start + 16) for start in (0, 16, 32, 48)]
  for shape in ((), (3,), (2, 2)):  # Also the later draws of one step agree.
    expected = getattr(whole, name)(*shape)
    assert expected.shape == (64, *shape)
    assert expected.dtype == np.float32
    assert np.array_equal(np.concatenate([getattr(part, name)(*shape) for part in parts]), expected)


def test_draws_are_spread_as_they_say():
  rng = draws(rows=20_000)
  uniform, normal, integers = rng.random(), rng.normal(), rng.integers(2, 5)
  assert abs(uniform.mean() - 0.5) < 0.01
  assert abs(uniform.var() - 1 / 12) < 0.005
  assert abs(normal.mean()) < 0.03
  assert abs(normal.std() - 1) < 0.03
  assert np.allclose(np.bincount(integers) / 20_000, [0, 0, 1 / 3, 1 / 3, 1 / 3], atol=0.02)
  assert not np.array_equal(draws(0).random(), draws(1).random())
