"""Scenes made of real images are pure functions of seed and number, and hold those images whole."""

import numpy as np
import pytest
from toys import check_sentence

from bigtrain import data


def bright(count=6, size=(4, 3)):
  """Images of one grey level each, which tells them apart."""
  image = np.ones((count, *size, 1), np.uint8) * np.arange(1, count + 1).reshape(-1, 1, 1, 1)
  return data.arrays(image=image.astype(np.uint8), label=np.arange(count))


MAKES = {
  'moving': lambda seed=0, **more: data.moving_images(
    bright(), frames=5, canvas=(20, 16), count=50, seed=seed, **more
  ),
  'composed': lambda seed=0, **more: data.composed_images(
    bright(), canvas=(20, 16), count=50, seed=seed, **more
  ),
}


@pytest.mark.parametrize('name', MAKES)
def test_a_record_is_a_function_of_seed_and_number(name):
  source, again = MAKES[name](), MAKES[name]()
  for index in (49, 3, 0):
    one, two = source[index], again[index]
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)
  key = 'video' if name == 'moving' else 'image'
  assert len({source[i][key].tobytes() for i in range(50)}) == 50
  assert not np.array_equal(MAKES[name](seed=1)[0][key], source[0][key])
  assert np.array_equal(source[-1][key], source[49][key])
  with pytest.raises(IndexError):
    source[50]
  assert len(list(data.once(source, 16))) == 4


def test_images_move_straight_on_and_bounce():
  source = data.moving_images(
    bright(), frames=200, canvas=(20, 16), images=1, speed=(0.7, 0.7), count=20
  )
  for index in range(20):
    clip = source[index]
    level = clip['label'][0] + 1
    places = []
    for frame in clip['video'][..., 0]:
      assert (frame == level).sum() == 12  # Whole in every frame.
      assert (frame > 0).sum() == 12
      places.append(np.argwhere(frame)[0])
    steps = np.diff(places, axis=0)
    assert np.abs(steps).max() <= 1
    # To and fro: over long, each axis turns about as often as its speed says, and keeps its pace.
    for axis, room in enumerate((16, 13)):
      moved = np.abs(steps[:, axis]).sum()
      turns = len(steps) * 0.7 / room + 2
      signs = steps[:, axis][steps[:, axis] != 0]
      assert (np.diff(signs) != 0).sum() <= turns
      assert np.ptp(np.array(places)[:, axis]) <= room
      if moved > 1.5 * room:
        assert (np.diff(signs) != 0).any()
    speed = np.hypot(*np.abs(steps).sum(0)) / len(steps)
    assert abs(speed - 0.7) < 0.05


def test_where_images_overlap_the_brighter_is_seen():
  source = data.moving_images(bright(), frames=1, canvas=(4, 3), images=2, count=30)
  for index in range(30):
    clip = source[index]
    assert (clip['video'] == clip['label'].max() + 1).all()
    assert clip['label'].shape == (2,)


def test_boxes_say_where_images_lie():
  source = data.composed_images(bright(), canvas=(12, 9), images=9, layout='grid', count=30)
  for index in range(30):
    scene = source[index]
    assert (scene['image'] > 0).sum() == 9 * 12  # None over another.
    for (top, left, bottom, right), label in zip(scene['box'], scene['label'], strict=True):
      assert (scene['image'][top:bottom, left:right] == label + 1).all()
  corners = np.stack([MAKES['composed'](images=1)[i]['box'][0, :2] for i in range(50)])
  assert np.ptp(corners, axis=0).tolist() > [10, 9]  # Anywhere on the canvas.
  assert (corners >= 0).all()
  assert (corners <= [16, 13]).all()


def test_labels_and_classes_are_those_of_the_images():
  source = data.moving_images(data.digits(), frames=2, canvas=24, images=3, count=4)
  clip = source[0]
  assert clip['video'].shape == (2, 24, 24, 1)
  assert clip['video'].dtype == np.float32
  assert clip['label'].dtype == np.int32
  assert source.about['classes'][9] == '9'
  assert 'label' not in data.composed_images(data.arrays(image=np.ones((2, 4, 4, 1))), count=1)[0]


def test_sentences():
  source = bright()
  wrong: dict = {'layout': 'row'}
  for do, words in (
    (lambda: data.moving_images(source, frames=0), ['frames=0']),
    (lambda: data.moving_images(source, speed=(3, 2)), ['speed=(3, 2)']),
    (lambda: data.moving_images(source, key='x'), ["'x'", 'image']),
    (lambda: data.composed_images(source, images=0), ['images=0']),
    (lambda: data.composed_images(source, **wrong), ["'row'"]),
    (lambda: data.composed_images(source, canvas=3)[0], ['(4, 3, 1)', '(3, 3)']),
    (
      lambda: data.composed_images(source, canvas=8, images=5, layout='grid')[0],
      ['4 cells', '5 images'],
    ),
  ):
    check_sentence(do, words, 'data.')
