"""Label mixing: two examples become one, and so do their labels.

Maps as in `augmentation`. A label becomes soft: `classes=` turns integers [B] into float32
probabilities [B, C], which `evaluation.softmax_cross_entropy` takes as it takes integers; numbers
to be predicted, and labels that are soft already, are mixed as they are. Other keys, 'weight' among
them, stay those of the row.

A row's partner is a row that the same host holds, so many rows further on, with a number drawn once
a batch. That is the same in every run on as many hosts, but who the partner is depends on how many
hosts there are; how much of it is taken does not.

The share of a row itself is Beta-distributed. `Draws` gives uniform numbers, so it is the inverse
of the distribution function at one of them.
"""

from collections.abc import Callable

import numpy as np

from bigtrain.data.augmentation import Batch, Map, held, images, typed, within
from bigtrain.data.draws import Draws


def mixup(
  alpha: float = 0.2,
  *,
  classes: int | None = None,
  probability: float = 1.0,
  key: str = 'image',
  label: str = 'label',
) -> Map:
  """Returns a map to `share * row + (1 - share) * partner`, of inputs and labels alike (Zhang et
  al. 2018, section 2).

  The share is drawn for each row, from Beta(alpha, alpha).

  Args:
    alpha: above 0; small numbers leave most rows almost as they are, 1 makes all shares equally
      likely.
    classes: C, where the labels are integers.
    probability: share of rows that are mixed.
    key: inputs [B, ...] such as 'image' or 'features'; integers are rounded.
    label: integers [B] in 0 ... C - 1, or floats of any shape [B, ...].

  Returns:
    A map; the label comes out as float32.

  Raises:
    ValueError: for an alpha or a probability out of range; by the map, for a missing key, or
      labels that do not fit `classes`.
  """
  quantile = _beta('mixup', alpha, probability)

  def mixed(batch: Batch, rng: Draws) -> Batch:
    target = _soft(batch, label, classes, 'mixup')
    old = held(batch, key, 'mixup')
    share_B = np.where(rng.random() < probability, quantile(rng.random()), np.float32(1))
    partner_B = _partners(rng, len(target))
    inputs = typed(_sum(old.astype(np.float32), share_B, partner_B), old.dtype)
    return {**batch, key: inputs, label: _sum(target, share_B, partner_B)}

  return mixed


def cutmix(
  alpha: float = 1.0,
  *,
  classes: int | None = None,
  probability: float = 1.0,
  key: str = 'image',
  label: str = 'label',
) -> Map:
  """Returns a map that puts a rectangle of another image in the place of its own (Yun et al. 2019,
  section 3.1).

  A share is drawn for each row from Beta(alpha, alpha), and the rectangle has the image's ratio of
  sides and 1 - share of its area, about a middle anywhere in the image. What juts out is cut off,
  and labels are mixed by the areas that are left.

  Args:
    alpha: above 0; 1 makes all shares equally likely.
    classes: C, where the labels are integers.
    probability: share of rows that are mixed.
    key: images [B, H, W, C] of any type.
    label: integers [B] in 0 ... C - 1, or floats of any shape [B, ...].

  Returns:
    A map; the label comes out as float32.

  Raises:
    ValueError: for an alpha or a probability out of range; by the map, for images without four
      axes, or labels that do not fit `classes`.
  """
  quantile = _beta('cutmix', alpha, probability)

  def mixed(batch: Batch, rng: Draws) -> Batch:
    target = _soft(batch, label, classes, 'cutmix')
    image_BHWC = images(batch, key, 'cutmix')
    share_B = np.where(rng.random() < probability, quantile(rng.random()), np.float32(1))
    partner_B = _partners(rng, len(target))
    side_B, middle_B2 = np.sqrt(1 - share_B), rng.random(2)
    inside = []
    for i in (0, 1):
      size = image_BHWC.shape[1 + i]
      low_B = np.rint((middle_B2[:, i] - side_B / 2) * size)
      high_B = np.rint((middle_B2[:, i] + side_B / 2) * size)
      place = np.arange(size)
      inside.append((low_B[:, None] <= place) & (place < high_B[:, None]))
    mask_BHW = inside[0][:, :, None] & inside[1][:, None, :]
    image_BHWC = np.where(mask_BHW[..., None], image_BHWC[partner_B], image_BHWC)
    kept_B = 1 - mask_BHW.mean((1, 2), dtype=np.float32)
    return {**batch, key: image_BHWC, label: _sum(target, kept_B, partner_B)}

  return mixed


def _beta(name: str, alpha: float, probability: float) -> Callable[[np.ndarray], np.ndarray]:
  if not alpha > 0:
    raise ValueError(f'data.{name}: alpha must be above 0, got {alpha}: use probability=0 for none')
  within(f'{name}: probability', 0, 1, probability)
  from scipy import special

  def quantile(uniform_B: np.ndarray) -> np.ndarray:
    return special.betaincinv(alpha, alpha, uniform_B.astype(np.float64)).astype(np.float32)

  return quantile


def _partners(rng: Draws, rows: int) -> np.ndarray:
  """Returns the number of each row's partner; another row wherever there is one."""
  # One number a row is drawn, and the first is used: a host sees its own rows of a draw only.
  further = 1 + int(rng.random()[0] * max(rows - 1, 1))
  return (np.arange(rows) + further) % rows


def _sum(own: np.ndarray, share_B: np.ndarray, partner_B: np.ndarray) -> np.ndarray:
  share = share_B.reshape(-1, *(1,) * (own.ndim - 1))
  return share * own + (1 - share) * own[partner_B]


def _soft(batch: Batch, label: str, classes: int | None, name: str) -> np.ndarray:
  target = held(batch, label, name)
  if target.dtype.kind == 'f':
    return target.astype(np.float32)
  if classes is None or target.ndim != 1:
    raise ValueError(
      f'data.{name}: {label!r} holds {target.dtype} of shape {target.shape}: give classes= for '
      'integers [B], or floats'
    )
  if target.min() < 0 or target.max() >= classes:
    wrong = target.min() if target.min() < 0 else target.max()
    raise ValueError(
      f'data.{name}: {label!r} holds {wrong}, and classes={classes} stand for 0 to {classes - 1}'
    )
  return np.eye(classes, dtype=np.float32)[target.astype(np.int64)]
