"""Pictures that show nothing go, and the others become the same in channels and range."""

import functools
import pickle
from typing import Any

import numpy as np
import pytest
import toys
from PIL import Image

from bigtrain import data
from bigtrain.data.cleaning import Drop
from bigtrain.data.image_cleaning import drop_blank, drop_tiny, to_channels, to_range


def picture(channels, dtype: Any = np.uint8, seed=0, size=(6, 5)):
  levels = np.random.default_rng(seed).integers(0, 256, (*size, channels))
  white = {'uint8': 255, 'uint16': 65535}.get(np.dtype(dtype).name, 1)
  return (levels / 255 * white).round(0 if white > 1 else 9).astype(dtype)


def done(step, image) -> Any:
  got = step({'image': image, 'label': 3})
  if isinstance(got, Drop):
    return got.reason
  assert got['label'] == 3
  return got['image']


def pillow(image, mode):
  had = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}[image.shape[2]]
  opened = Image.fromarray(image[..., 0] if had == 'L' else image, had)
  if had in ('LA', 'RGBA'):
    white = Image.new('RGBA', opened.size, 'white')
    opened = Image.alpha_composite(white, opened.convert('RGBA')).convert('RGB')
  return np.asarray(opened.convert(mode)).reshape(*image.shape[:2], -1)


@pytest.mark.parametrize('had', [1, 2, 3, 4])
@pytest.mark.parametrize('wanted', [1, 3])
def test_channels_are_those_of_pillow(had, wanted):
  image = picture(had)
  got = done(to_channels(wanted), image)
  assert got.shape == (6, 5, wanted)
  assert got.dtype == np.uint8
  want = pillow(image, {1: 'L', 3: 'RGB'}[wanted])
  assert np.abs(got.astype(int) - want).max() <= 1  # Pillow rounds twice.
  for dtype, white in ((np.uint16, 65535), (np.float32, 1)):
    other = done(to_channels(wanted), picture(had, dtype))
    assert other.dtype == dtype
    assert np.allclose(other / white, got / 255, atol=0.5 / 255 + 1e-4)


def test_channels_that_are_right_stay_and_grey_survives_colour():
  grey, colour = picture(1), picture(3)
  assert done(to_channels(3), colour) is colour
  assert np.array_equal(done(to_channels(1), done(to_channels(3), grey)), grey)
  assert np.array_equal(done(to_channels(1), grey[..., 0]), grey)
  clear = np.concatenate([colour, np.zeros((6, 5, 1), np.uint8)], 2)
  assert (done(to_channels(3), clear) == 255).all()
  assert np.array_equal(
    done(to_channels(3), np.where([1, 1, 1, 0], clear, 255).astype('u1')), colour
  )


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32', 'float64'])
def test_every_range_becomes_the_same_levels(dtype):
  assert np.array_equal(done(to_range(), picture(3, dtype)), picture(3))
  assert done(to_range(), picture(3, dtype)).dtype == np.uint8


def test_white_is_what_is_said():
  levels = picture(1)
  assert np.array_equal(done(to_range(255), levels.astype(np.float32)), levels)
  assert np.array_equal(done(to_range(4080), levels.astype(np.uint16) * 16), levels)
  assert np.array_equal(done(to_range(1), (levels > 99).astype(np.uint8)), 255 * (levels > 99))
  assert np.array_equal(done(to_range(), levels > 99), 255 * (levels > 99))
  assert done(to_range(), levels) is levels


@pytest.mark.parametrize(
  ('value', 'reason'),
  [(np.nan, 'not finite'), (np.inf, 'not finite'), (1.01, 'out of range'), (-0.01, 'out of range')],
)
def test_a_value_that_is_no_level_drops_the_picture(value, reason):
  image = picture(3, np.float32)
  image[2, 3, 1] = value
  assert done(to_range(), image) == reason
  image[2, 3, 1] = 1 + 1e-4  # What resizing leaves.
  assert done(to_range(), image)[2, 3, 1] == 255


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_blank_means_flat_in_every_channel(dtype):
  image = np.full((20, 20, 3), picture(1, dtype)[0, 0, 0]) * np.array([0, 1, 0.5])
  assert done(drop_blank(), image.astype(dtype)) == 'blank'  # One colour, though no grey.
  image[:10, :, 1] *= 0.5
  assert done(drop_blank(), image.astype(dtype)) is not image
  assert isinstance(done(drop_blank(0.4), image.astype(dtype)), str)
  noise = np.random.default_rng(0).normal(0.5, 0.05, (50, 50, 1))
  white = {'uint8': 255, 'uint16': 65535, 'float32': 1}[dtype]
  noisy = (noise * white).astype(dtype)
  assert done(drop_blank(0.045), noisy) is noisy
  assert done(drop_blank(0.055), noisy) == 'blank'


def test_no_real_digit_is_blank_and_a_planted_one_is():
  images = data.column(data.digits(), 'image')[:200].copy()
  images[[3, 50]] = 0.4
  images[60, 0, 0] = np.nan
  cleaned = data.clean(data.arrays(image=images, label=np.arange(200)), drop_blank())
  assert cleaned.ledger.counts['drop_blank', 'dropped', 'blank'] == 2
  assert cleaned.ledger.counts['drop_blank', 'dropped', 'not finite'] == 1
  assert len(cleaned) == 197


def test_steps_go_together_and_to_other_processes():
  images = [
    picture(4, np.uint16),
    picture(1, np.float32),
    np.zeros((6, 5, 3)),
    picture(3, size=(5, 5)),
    picture(3, size=(6, 4)),
    picture(3),
  ]
  steps = (drop_tiny(6, 5), drop_blank(), to_channels(3), to_range())
  assert all(isinstance(pickle.loads(pickle.dumps(step)), functools.partial) for step in steps)
  cleaned = data.clean(toys.Records(*({'image': image} for image in images)), *steps)
  assert data.in_memory(cleaned).column('image').shape == (3, 6, 5, 3)
  assert data.in_memory(cleaned).column('image').dtype == np.uint8
  assert cleaned.ledger.counts['drop_tiny', 'dropped', 'tiny'] == 2
  assert cleaned.ledger.counts['drop_blank', 'dropped', 'blank'] == 1


WIDE = {'image': np.zeros((4, 4), np.int32)}
BAD = {
  'share': (lambda: drop_blank(2.5), ['least_std', '2.5']),
  'size': (lambda: drop_tiny(0, 4), ['drop_tiny', '0 by 4']),
  'channels': (lambda: to_channels(4), ['channels', '4']),  # type: ignore
  'white': (lambda: to_range(0), ['white', '0']),
  'shape': (lambda: to_range()({'image': np.zeros((2, 2, 5))}), ['float64[2, 2, 5]', '[H, W,']),
  'no picture': (lambda: drop_tiny(1, 1)({'x': 1}), ["'image'", 'x']),
  'unknown white': (lambda: to_range()(WIDE), ['int32', 'white']),
  'unknown white of blank': (lambda: drop_blank()(WIDE), ['drop_blank', 'int32']),
}


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  toys.check_sentence(do, words, r'^data\.')
