"""Mixing takes from inputs and labels in the same shares."""

import numpy as np
import pytest

from bigtrain.data.augmentation import compose
from bigtrain.data.draws import Draws
from bigtrain.data.label_mixing import cutmix, mixup

ROWS, CLASSES = 64, 64


def batch(height=10, width=8):
  """Row i is of class i and holds the value i in every pixel."""
  label = np.arange(ROWS, dtype=np.int32)
  shape = (ROWS, height, width, 3)
  return {
    'image': np.broadcast_to(label[:, None, None, None], shape).astype(np.float32),
    'label': label,
    'weight': np.ones(ROWS, np.float32),
  }


def draws(start=0, stop=None, step=0, rows=ROWS):
  return Draws(7, step, rows, start, stop)


@pytest.mark.parametrize('mix', [mixup, cutmix])
def test_a_label_tells_what_the_image_holds(mix):
  before = batch()
  got = mix(0.8, classes=CLASSES)(before, draws())
  assert got['label'].dtype == np.float32
  assert got['label'].shape == (ROWS, CLASSES)
  assert np.allclose(got['label'].sum(-1), 1, atol=1e-6)
  # The mean over pixels of the class is the mean over the label, whatever the shares.
  assert np.allclose(got['image'].mean((1, 2, 3)), got['label'] @ np.arange(CLASSES), atol=1e-3)
  assert (got['label'] > 0).sum(-1).max() == 2
  assert (got['label'].max(-1) < 0.9).mean() > 0.3
  own = got['label'][np.arange(ROWS), np.arange(ROWS)]
  partner = np.where(own < 1, (got['label'] * (1 - np.eye(ROWS))).argmax(-1), -1)
  assert len(set((partner - np.arange(ROWS))[partner >= 0] % ROWS)) == 1
  assert np.array_equal(before['label'], np.arange(ROWS))
  assert got['weight'] is before['weight']


def test_cutmix_puts_in_one_rectangle_of_the_image():
  height, width = 30, 20
  got = cutmix(classes=CLASSES)(batch(height, width), draws())['image']
  taken = (got != np.arange(ROWS)[:, None, None, None]).all(-1)
  rng, touched = draws(), 0
  rng.random()
  sides = np.sqrt(1 - rng.random())  # Where alpha is 1, a share is the uniform number itself.
  for row, side in zip(taken, sides, strict=True):
    if not row.any():
      continue
    down, across = np.flatnonzero(row.any(1)), np.flatnonzero(row.any(0))
    assert row.sum() == len(down) * len(across)
    assert row[down[0] : down[-1] + 1, across[0] : across[-1] + 1].all()
    if down[0] > 0 and down[-1] < height - 1 and across[0] > 0 and across[-1] < width - 1:
      assert abs(len(down) - side * height) <= 1
      assert abs(len(across) - side * width) <= 1
    else:
      touched += 1
  assert touched > 10


def test_mixup_adds_pixels_in_the_share_of_the_label():
  before = {**batch(), 'image': np.random.default_rng(0).normal(size=(ROWS, 4, 4, 1))}
  got = mixup(1, classes=CLASSES)(before, draws())
  expected = np.einsum('bc,chwd->bhwd', got['label'], before['image'])
  assert np.allclose(got['image'], expected, atol=1e-6)
  assert got['image'].dtype == before['image'].dtype


@pytest.mark.parametrize('alpha', [0.2, 1, 4])
def test_shares_are_distributed_as_beta(alpha):
  rows = 4000
  flat = {'features': np.zeros((rows, 1), np.float32), 'label': np.zeros(rows, np.float32)}
  flat['label'][::2] = 1  # With an odd distance, own is 1 and partner 0, or the other way.
  for step in range(20):
    rng = draws(0, None, step, rows)
    rng.random(), rng.random()
    if int(rng.random()[0] * (rows - 1)) % 2 == 0:
      break
  share = mixup(alpha, key='features')(flat, draws(0, None, step, rows))['label'][::2]
  assert abs(share.mean() - 0.5) < 0.03
  assert abs(share.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


@pytest.mark.parametrize('mix', [mixup, cutmix])
def test_bytes_stay_bytes_and_a_probability_of_none_changes_only_the_label(mix):
  before = batch()
  before['image'] = before['image'].astype(np.uint8)
  assert mix(classes=CLASSES)(before, draws())['image'].dtype == np.uint8
  same = mix(classes=CLASSES, probability=0)(before, draws())
  assert np.array_equal(same['image'], before['image'])
  assert np.array_equal(same['label'], np.eye(CLASSES))
  some = mix(2.0, classes=CLASSES, probability=0.5)(before, draws())
  assert 20 < (some['label'].max(-1) == 1).sum() < 48


def test_soft_labels_are_mixed_again():
  both = compose(mixup(classes=CLASSES), cutmix())
  got = both(batch(), draws())
  assert np.allclose(got['label'].sum(-1), 1, atol=1e-6)
  assert np.allclose(got['image'].mean((1, 2, 3)), got['label'] @ np.arange(CLASSES), atol=1e-3)


@pytest.mark.parametrize('mix', [mixup, cutmix])
def test_on_more_hosts_only_the_partner_is_another(mix):
  whole = mix(classes=CLASSES)(batch(), draws())['label']
  for hosts in (4, ROWS):
    rows = ROWS // hosts
    for start in range(0, ROWS, rows):
      part = {key: values[start : start + rows] for key, values in batch().items()}
      got = mix(classes=CLASSES)(part, draws(start, start + rows))['label']
      again = mix(classes=CLASSES)(part, draws(start, start + rows))['label']
      assert np.array_equal(got, again)
      place = np.arange(start, start + rows)
      own = got[np.arange(rows), place]
      assert np.allclose(own, whole[place, place] if rows > 1 else 1, atol=1e-6)


@pytest.mark.parametrize(
  ('do', 'words'),
  [
    (lambda: mixup(0), ['mixup: alpha', 'got 0']),
    (lambda: cutmix(probability=2), ['cutmix: probability', '2']),
    (lambda: mixup()(batch(), draws()), ["'label'", 'int32', '(64,)', 'classes=']),
    (lambda: cutmix(classes=10)(batch(), draws()), ['holds 63', 'classes=10', '0 to 9']),
    (lambda: mixup(key='x', classes=64)(batch(), draws()), ["'x'", 'image, label']),
    (lambda: mixup(label='y')(batch(), draws()), ["'y'", 'image, label']),
    (lambda: cutmix(key='weight', classes=64)(batch(), draws()), ['(64,)', '[B, H, W, C]']),
  ],
)
def test_a_sentence(do, words):
  with pytest.raises(ValueError, match=r'^data\.') as caught:
    do()
  assert [word for word in words if word not in str(caught.value)] == []
