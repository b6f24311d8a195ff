"""Image variation does to pixels what Pillow does, where the draws say, and nothing else."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from bigtrain.data.draws import Draws
from bigtrain.data.image_variation import color, rand_augment, random_erase, random_resized_crop

ROWS = 64


def images(height=9, width=7, channels=3, kind=np.uint8):
  drawn = np.random.default_rng(0).integers(0, 256, (ROWS, height, width, channels), np.uint8)
  return {
    'image': drawn if kind == np.uint8 else drawn.astype(kind) / 255,
    'label': np.arange(ROWS),
  }


def draws(start=0, stop=None, rows=ROWS):
  return Draws(7, 0, rows, start, stop)


def pillow(image_BHWC):
  return [Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in image_BHWC]


def stacked(pictures, like):
  return np.stack([np.asarray(picture) for picture in pictures]).reshape(like.shape)


def apart(a, b):
  return np.abs(a.astype(float) - b).max()


class Drawn:
  """Draws that are all the same."""

  def __init__(self, value, choice=0):
    self.value, self.choice = value, choice

  def random(self, *shape):
    return np.full((ROWS, *shape), self.value, np.float32)

  def integers(self, low, high, *shape):
    return np.full((ROWS, *shape), self.choice)


MAPS = {
  'color': color(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
  'random_erase': random_erase(),
  'random_resized_crop': random_resized_crop((5, 6)),
  'rand_augment': rand_augment(3, 20),
}


@pytest.mark.parametrize('name', MAPS)
def test_a_row_is_the_same_however_many_hosts_there_are(name):
  batch, vary = images(), MAPS[name]
  before = batch['image'].copy()
  whole = vary(batch, draws())
  assert np.array_equal(batch['image'], before)
  assert whole['label'] is batch['label']
  assert whole['image'].dtype == np.uint8
  assert whole['image'].shape != before.shape or apart(whole['image'], before) > 50
  for hosts in (2, ROWS):
    rows = ROWS // hosts
    parts = [
      vary({'image': before[i : i + rows], 'label': batch['label']}, draws(i, i + rows))['image']
      for i in range(0, ROWS, rows)
    ]
    assert np.array_equal(np.concatenate(parts), whole['image'])


@pytest.mark.parametrize('name', ['color', 'random_erase', 'random_resized_crop'])
def test_floats_become_what_bytes_become(name):
  floats = MAPS[name](images(kind=np.float32), draws())['image']
  assert floats.dtype == np.float32
  assert apart(floats * 255, MAPS[name](images(), draws())['image']) <= 0.501


def test_colours_without_bounds_change_nothing():
  assert np.array_equal(color()(images(), draws())['image'], images()['image'])


@pytest.mark.parametrize('name', ['brightness', 'contrast', 'saturation'])
@pytest.mark.parametrize('draw', [0.1, 0.8])
def test_colours_are_mixed_as_pillow_mixes_them(name, draw):
  batch = images()
  enhance = {'saturation': 'Color'}.get(name, name.capitalize())
  factor = 1 + 0.8 * (2 * draw - 1)
  expected = [getattr(ImageEnhance, enhance)(p).enhance(factor) for p in pillow(batch['image'])]
  got = color(**{name: 0.8})(batch, Drawn(draw))['image']
  assert apart(got, stacked(expected, got)) <= 2  # Pillow rounds the greys first.


def test_hue_turns_as_colorsys_turns_it():
  batch = images(kind=np.float32)
  got = color(hue=0.4)(batch, Drawn(0.75))['image']
  for before, after in zip(batch['image'].reshape(-1, 3), got.reshape(-1, 3), strict=True):
    hue, saturation, value = colorsys.rgb_to_hsv(*before.tolist())
    assert np.allclose(colorsys.hsv_to_rgb((hue + 0.2) % 1, saturation, value), after, atol=1e-5)


def test_an_erased_image_differs_in_one_rectangle():
  batch = images(30, 20)
  batch['image'] = np.minimum(batch['image'], 254)
  erased = random_erase(probability=0.5, area=(0.1, 0.3), ratio=(0.5, 2), fill=255)
  gone = (erased(batch, draws())['image'] == 255).all(-1)
  assert np.array_equal(gone, (erased(batch, draws())['image'] != batch['image']).any(-1))
  corners = set()
  for row in gone[gone.any((1, 2))]:
    down, across = np.flatnonzero(row.any(1)), np.flatnonzero(row.any(0))
    assert row[down[0] : down[-1] + 1, across[0] : across[-1] + 1].all()
    assert row.sum() == len(down) * len(across)
    assert 0.08 < row.mean() < 0.34
    assert 0.4 < len(down) / len(across) < 2.5
    corners.add((down[0], across[0]))
  assert 20 < gone.any((1, 2)).sum() < 44
  assert len(corners) > 15


def test_what_is_written_over_is_random_and_whole():
  batch = {'image': np.zeros((ROWS, 30, 20, 3), np.uint8)}
  whole = {'probability': 1, 'area': (1, 1), 'ratio': (1.5, 1.5)}
  noise = random_erase(**whole)(batch, draws())['image']
  assert abs(noise.mean() - 127.5) < 1
  assert abs(noise.std() - 255 / 12**0.5) < 1
  assert not random_erase(probability=0)(batch, draws())['image'].any()
  assert (random_erase(**whole, fill=3)(batch, draws())['image'] == 3).all()


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(('area', 'size'), [(0.3, (16, 12)), (0.7, (5, 4))])
def test_a_resized_crop_is_what_pillow_makes_of_its_box(channels, area, size):
  batch = images(24, 18, channels)
  height, width = (area * 24 * 18 * 1.2) ** 0.5, (area * 24 * 18 / 1.2) ** 0.5
  top, left = 0.25 * (24 - height), 0.25 * (18 - width)
  crop = random_resized_crop(size, area=(area, area), ratio=(1.2, 1.2))
  got = crop(batch, Drawn(0.25))['image']
  box = (left, top, left + width, top + height)
  expected = [
    p.resize(size[::-1], Image.Resampling.BILINEAR, box=box) for p in pillow(batch['image'])
  ]
  assert got.shape == (ROWS, *size, channels)
  assert apart(got, stacked(expected, got)) <= 1.01  # Pillow rounds between the two axes.


def test_a_crop_of_everything_changes_nothing():
  batch = images(8, 8)
  got = random_resized_crop(area=(1, 1), ratio=(1, 1))(batch, draws())['image']
  assert np.array_equal(got, batch['image'])


def test_crops_cover_the_shares_that_are_asked_for():
  # An image that holds its own places, so that the corners of a crop can be read off it.
  y, x = np.mgrid[:64, :64].astype(np.float32)
  batch = {'image': np.broadcast_to(np.stack([y, x], -1), (ROWS, 64, 64, 2))}
  got = random_resized_crop(area=(0.1, 0.9))(batch, draws())['image']
  sides = (got[:, -8, -8] - got[:, 8, 8]) * 64 / 48
  share, ratio = sides.prod(-1) / 64**2, sides[:, 0] / sides[:, 1]
  assert 0.09 < share.min() < 0.25
  assert 0.7 < share.max() < 0.91
  assert 0.74 < ratio.min() < 0.9
  assert 1.1 < ratio.max() < 1.34
  # One rectangle in ten fits here; most images get one all the same, not one cut to the image.
  got = random_resized_crop(area=(0.9, 1), ratio=(1 / 2, 2))(batch, draws())['image']
  assert (((got[:, -8, -8] - got[:, 8, 8]) * 64 / 48).prod(-1) / 64**2 > 0.895).mean() > 0.4


# What Pillow does for an operation at two thirds of the magnitude.
M = 2 / 3
PILLOW = {
  'identity': lambda p: p,
  'auto_contrast': ImageOps.autocontrast,
  'equalize': ImageOps.equalize,
  'posterize': lambda p: ImageOps.posterize(p, 5),
  'solarize': lambda p: ImageOps.solarize(p, 86),
  'brightness': lambda p: ImageEnhance.Brightness(p).enhance(1 + 0.9 * M),
  'contrast': lambda p: ImageEnhance.Contrast(p).enhance(1 + 0.9 * M),
  'saturation': lambda p: ImageEnhance.Color(p).enhance(1 + 0.9 * M),
  'sharpness': lambda p: ImageEnhance.Sharpness(p).enhance(1 + 0.9 * M),
  'rotate': lambda p: p.rotate(-30 * M, Image.Resampling.BILINEAR),
  'shear_x': lambda p: moved(p, (1, -0.3 * M, 0.3 * M * 20, 0, 1, 0)),
  'shear_y': lambda p: moved(p, (1, 0, 0, -0.3 * M, 1, 0.3 * M * 15)),
  'translate_x': lambda p: moved(p, (1, 0, -0.45 * M * 30, 0, 1, 0)),
  'translate_y': lambda p: moved(p, (1, 0, 0, 0, 1, -0.45 * M * 40)),
}


def moved(picture, matrix):
  how = Image.Transform.AFFINE
  return picture.transform(picture.size, how, matrix, Image.Resampling.BILINEAR)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('name', PILLOW)
def test_an_operation_does_what_pillow_does(name, channels):
  batch = images(40, 30, channels)
  # Values that fill no range, fewer as they grow but many at the end, so that stretching and
  # equalising matter.
  batch['image'] = np.minimum(batch['image'].astype(int) ** 2 // 400 + 20, 130).astype(np.uint8)
  moves = name in ('rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y')
  if moves:  # At an edge Pillow repeats pixels, where zeros are mixed in here: the same on a frame.
    batch['image'][:, [0, -1]] = 0
    batch['image'][:, :, [0, -1]] = 0
  got = rand_augment(1, 30 * M, choices=[name])(batch, Drawn(0.9))['image']
  expected = stacked([PILLOW[name](p) for p in pillow(batch['image'])], got)
  assert (
    name == 'identity' or (name, channels) == ('saturation', 1) or apart(got, batch['image']) > 6
  )
  assert apart(got, expected) <= (0 if name in ('equalize', 'posterize', 'solarize') else 2)


def test_each_image_goes_through_the_operations_that_were_drawn_for_it():
  batch, names = images(20, 20), ['rotate', 'equalize', 'solarize', 'brightness']
  got = rand_augment(1, 15, choices=names)(batch, draws())['image']
  choice = draws().integers(0, 4, 1)[:, 0]
  for number, name in enumerate(names):
    rng = draws()
    rng.integers(0, 4, 1)  # The same sign follows, whatever there is to choose from.
    amounts = np.where(rng.random(1) < 0.5, 0.1, 0.9)

    class Signs(Drawn):
      def random(self, *shape, amounts=amounts):
        return amounts

    alone = rand_augment(1, 15, choices=[name])(batch, Signs(0))['image']
    assert (choice == number).sum() > 5
    assert np.array_equal(got[choice == number], alone[choice == number])


def test_operations_without_magnitude_change_nothing():
  batch = images()
  still = [name for name in PILLOW if name not in ('auto_contrast', 'equalize')]
  got = rand_augment(3, 0, choices=still)(batch, draws())['image']
  assert np.array_equal(got, batch['image'])
  tiny = {'image': batch['image'][:, :1, :2]}
  assert rand_augment(4, 30)(tiny, draws())['image'].shape == (ROWS, 1, 2, 3)


@pytest.mark.parametrize(
  ('do', 'words'),
  [
    (lambda: color(hue=0.6), ['color: hue', '0.5', '0.6']),
    (lambda: color(contrast=-1), ['color: contrast', '-1']),
    (
      lambda: color(hue=0.1)(images(channels=1), draws()),
      ["'image'", '(64, 9, 7, 1)', '3 channel'],
    ),
    (lambda: random_erase(probability=50), ['random_erase: probability', '50']),
    (lambda: random_erase(area=(0.4, 0.1)), ['area', '(0.4, 0.1)', 'least']),
    (lambda: random_resized_crop(ratio=(0, 1)), ['ratio', '0.01', '(0, 1)']),
    (lambda: random_resized_crop((0, 4)), ['size', '(0, 4)']),
    (lambda: random_resized_crop(key='x')(images(), draws()), ["'x'", 'image, label']),
    (lambda: rand_augment(0), ['operations', 'got 0']),
    (lambda: rand_augment(magnitude=31), ['magnitude', '30', '31']),
    (lambda: rand_augment(choices=['rotat']), ["'rotat'", 'rotate, ']),
    (lambda: rand_augment()(images(kind=np.float32), draws()), ['float32', 'uint8', 'data.scale']),
  ],
)
def test_a_sentence(do, words):
  with pytest.raises(ValueError, match=r'^data\.') as caught:
    do()
  assert [word for word in words if word not in str(caught.value)] == []
