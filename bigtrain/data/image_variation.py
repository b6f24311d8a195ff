"""Image variation: colours, rectangles erased or cut out, and RandAugment.

Maps as in `augmentation`, over images [B, H, W, C] under `key`; what is drawn is drawn for each
image. An image keeps its type: integers range over their type and are rounded, floats lie in [0, 1]
as `data.scale()` leaves them. A number out of range is a ValueError at once, images that are not as
asked for are one when the map sees them.
"""

from collections.abc import Sequence

import numpy as np

from bigtrain.data.augmentation import Batch, Map, images, interpolated, typed, within
from bigtrain.data.draws import Draws

Pair = tuple[float, float]
_TRIES = 10  # Rectangles drawn before one that does not fit is cut to the image.


def color(
  *,
  brightness: float = 0.0,
  contrast: float = 0.0,
  saturation: float = 0.0,
  hue: float = 0.0,
  key: str = 'image',
) -> Map:
  """Returns a map that varies each image's colours, in the order of the arguments.

  The first three mix the image with a poorer one (black; its mean grey; its greys) by a factor
  uniform between 1 - bound and 1 + bound, and cut what leaves the range.

  Args:
    brightness: bound, at most 1.
    contrast: bound, at most 1.
    saturation: bound, at most 1; takes 3 channels, red, green and blue.
    hue: bound on a turn of the colour circle, in turns, at most 0.5; takes 3 channels.
  """
  bounds = {'brightness': brightness, 'contrast': contrast, 'saturation': saturation, 'hue': hue}
  for name, bound in bounds.items():
    within(f'color: {name}', 0, 0.5 if name == 'hue' else 1, bound)

  def varied(batch: Batch, rng: Draws) -> Batch:
    image_BHWC = images(batch, key, 'color')
    if (saturation or hue) and image_BHWC.shape[-1] != 3:
      raise ValueError(
        f'data.color: {key!r} has shape {image_BHWC.shape}: use saturation and hue with 3 channels'
      )
    drawn_B4 = 2 * rng.random(4) - 1
    x_BHWC = np.divide(image_BHWC, _top(image_BHWC.dtype), dtype=np.float32)
    for i, (name, bound) in enumerate(bounds.items()):
      if bound:
        vary = _turned if name == 'hue' else _BLENDS[name]
        x_BHWC = vary(x_BHWC, bound * drawn_B4[:, i, None, None, None])
    return {**batch, key: _filling(x_BHWC, image_BHWC.dtype)}

  return varied


def random_erase(
  *,
  probability: float = 0.5,
  area: Pair = (0.02, 0.4),
  ratio: Pair = (0.3, 1 / 0.3),
  fill: float | None = None,
  key: str = 'image',
) -> Map:
  """Returns a map that overwrites a rectangle of some images (Zhong et al. 2020, algorithm 1).

  Args:
    probability: share of images with a rectangle.
    area: of the rectangle, least and most, as shares of the image; uniform between.
    ratio: height over width, least and most; its logarithm is uniform between.
    fill: what is written, in the image's units; None writes a random value to each number.
  """
  within('random_erase: probability', 0, 1, probability)
  within('random_erase: area', 0, 1, *area)
  within('random_erase: ratio', 0.01, 100, *ratio)

  def erased(batch: Batch, rng: Draws) -> Batch:
    x_BHWC = images(batch, key, 'random_erase').copy()
    size, shape = x_BHWC.shape[1:3], x_BHWC.shape[1:]
    chosen_B = rng.random() < probability
    sides_B2 = np.maximum(np.rint(_rectangles(rng, size, area, ratio)), 1)
    starts_B2 = np.floor(rng.random(2) * (np.array(size) - sides_B2 + 1))
    down_BH, across_BW = (
      np.abs(np.arange(size[i]) + 0.5 - (starts_B2 + sides_B2 / 2)[:, i, None])
      < sides_B2[:, i, None] / 2
      for i in (0, 1)
    )
    mask_BHW = (chosen_B[:, None] & down_BH)[:, :, None] & across_BW[:, None]
    x_BHWC[mask_BHW] = (
      _filling(rng.random(*shape)[mask_BHW], x_BHWC.dtype) if fill is None else fill
    )
    return {**batch, key: x_BHWC}

  return erased


def random_resized_crop(
  size: tuple[int, int] | None = None,
  *,
  area: Pair = (0.08, 1.0),
  ratio: Pair = (3 / 4, 4 / 3),
  key: str = 'image',
) -> Map:
  """Returns a map that resizes a random part of each image (Szegedy et al. 2015, section 6).

  Interpolation is linear; where an image shrinks, each new pixel weighs all the old ones below it,
  so that fine patterns blur instead of turning into coarse ones.

  Args:
    size: (height, width) that comes out; None keeps the size.
    area: of the rectangle, least and most, as shares of the image; uniform between.
    ratio: height over width, as in `random_erase`.
  """
  within('random_resized_crop: size', 1, 2**16, *sorted(size or (1,)))
  within('random_resized_crop: area', 0, 1, *area)
  within('random_resized_crop: ratio', 0.01, 100, *ratio)

  def cropped(batch: Batch, rng: Draws) -> Batch:
    image_BHWC = images(batch, key, 'random_resized_crop')
    had = image_BHWC.shape[1:3]
    cut_B2 = _rectangles(rng, had, area, ratio)
    start_B2 = rng.random(2) * (np.array(had, np.float32) - cut_B2)
    down_B1NH, across_B1NW = (
      _triangles(start_B2[:, i], cut_B2[:, i], had[i], (size or had)[i])[:, None] for i in (0, 1)
    )
    x_BHWC = np.divide(image_BHWC, _top(image_BHWC.dtype), dtype=np.float32)
    x_BCHW = down_B1NH @ x_BHWC.transpose(0, 3, 1, 2) @ across_B1NW.swapaxes(-1, -2)
    return {**batch, key: _filling(x_BCHW.transpose(0, 2, 3, 1), image_BHWC.dtype)}

  return cropped


def rand_augment(
  operations: int = 2,
  magnitude: float = 9.0,
  *,
  choices: Sequence[str] | None = None,
  key: str = 'image',
) -> Map:
  """Returns a map that applies random operations to each image in turn (Cubuk et al. 2020).

  With m = magnitude / 30 and a random sign: 'rotate' by 30 m degrees; 'shear_x' and 'shear_y' by
  0.3 m; 'translate_x' and 'translate_y' by 0.45 m of the size; zeros come in. 'brightness',
  'contrast', 'saturation' and 'sharpness' by a factor of 1 +- 0.9 m. Without a sign: 'posterize'
  clears the lowest round(4 m) bits; 'solarize' inverts values from 256 (1 - m) up. At any
  magnitude: 'identity', 'auto_contrast', 'equalize'.

  Args:
    operations: how many for each image, drawn with repetition.
    magnitude: 0 to 30.
    choices: names of operations; None takes all. (Saturation has an effect on 3 channels only.)
      ValueError is raised for one that there is not.
  """
  within('rand_augment: operations', 1, 100, operations)
  within('rand_augment: magnitude', 0, 30, magnitude)
  known = [*_MOVES, *_BLENDS, *_CURVES]
  if unknown := [name for name in choices or () if name not in known]:
    raise ValueError(
      f'data.rand_augment: there is no operation {unknown[0]!r}: use some of {", ".join(known)}'
    )

  def augmented(batch: Batch, rng: Draws) -> Batch:
    image_BHWC = images(batch, key, 'rand_augment').copy()
    if image_BHWC.dtype != np.uint8:
      raise ValueError(
        f'data.rand_augment: {key!r} is of type {image_BHWC.dtype}, not uint8: put data.scale after'
      )
    choice_BN = rng.integers(0, len(choices or known), operations)
    amount_BN = np.where(rng.random(operations) < 0.5, -1, 1).astype(np.float32) * (magnitude / 30)
    for i in range(operations):
      for number, name in enumerate(choices or known):
        group = np.flatnonzero(choice_BN[:, i] == number)
        if len(group):
          image_BHWC[group] = _operated(name, image_BHWC[group], amount_BN[group, i])
    return {**batch, key: image_BHWC}

  return augmented


def _rectangles(rng: Draws, size: tuple[int, ...], area: Pair, ratio: Pair) -> np.ndarray:
  """Draws a height and a width for each image, float32 [B, 2], both within the image."""
  drawn_BT2 = rng.random(_TRIES, 2)
  area_BT = (area[0] + (area[1] - area[0]) * drawn_BT2[..., 0]) * np.float32(np.prod(size))
  ratio_BT = ratio[0] * (ratio[1] / ratio[0]) ** drawn_BT2[..., 1]
  sides_BT2 = np.sqrt(np.stack([area_BT * ratio_BT, area_BT / ratio_BT], -1))
  most = np.array(size, np.float32)
  first_B = (sides_BT2 <= most).all(-1).argmax(-1)
  return np.minimum(sides_BT2[np.arange(len(first_B)), first_B], most)


def _triangles(start_B: np.ndarray, side_B: np.ndarray, had: int, wanted: int) -> np.ndarray:
  """Returns what each of `had` old pixels gives to each new one along an axis, [B, wanted, had]."""
  step_B1 = side_B[:, None] / wanted
  centre_BN = start_B[:, None] + (np.arange(wanted, dtype=np.float32) + 0.5) * step_B1
  distance = np.abs(np.arange(had, dtype=np.float32) + 0.5 - centre_BN[..., None])
  weight = np.maximum(1 - distance / np.maximum(step_B1, 1)[..., None], 0)
  return weight / weight.sum(-1, keepdims=True)


def _filling(x: np.ndarray, kind: np.dtype) -> np.ndarray:
  """Takes numbers in [0, 1] to the range of a type."""
  return typed(x * np.float32(_top(kind)), kind)


def _top(kind: np.dtype) -> float:
  return float(np.iinfo(kind).max) if kind.kind in 'iu' else 1.0


def _greys(x: np.ndarray) -> np.ndarray:
  """Returns the brightness of each pixel, [B, H, W, 1] (ITU-R BT.601)."""
  shares = [0.299, 0.587, 0.114] if x.shape[-1] == 3 else [1 / x.shape[-1]] * x.shape[-1]
  return (x.reshape(-1, len(shares)) @ np.array(shares, np.float32)).reshape(*x.shape[:-1], 1)


def _smooth(x: np.ndarray) -> np.ndarray:
  """Returns pixels mixed with their eight neighbours, 5 to 1 each; the border as it is."""
  windows = [x[:, i : i - 2 or None, j : j - 2 or None] for i in range(3) for j in range(3)]
  smooth = x.copy()
  smooth[:, 1:-1, 1:-1] = (sum(windows) + 4 * windows[4]) / 13
  return smooth


def _blended(x: np.ndarray, poorer: np.ndarray, amount_B111: np.ndarray) -> np.ndarray:
  return np.clip(x + amount_B111 * (x - poorer), 0, 1)


def _turned(x: np.ndarray, turns_B111: np.ndarray) -> np.ndarray:
  """Turns the hue of RGB values, round the hexagon of HSV (Smith 1978)."""
  red, green, blue = np.split(x, 3, -1)
  high = np.maximum(np.maximum(red, green), blue)  # Much faster than x.max(-1).
  span = high - np.minimum(np.minimum(red, green), blue)
  safe = np.where(span > 0, span, 1)
  sixth = np.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
  sixth = np.where(high == red, (green - blue) / safe, sixth)
  place = sixth + 6 * turns_B111 + np.array([5, 3, 1], np.float32)
  place -= 6 * np.floor(place / 6)
  return high - span * np.clip(np.minimum(place, 4 - place), 0, 1)


def _stretched(x: np.ndarray, _: np.ndarray) -> np.ndarray:
  low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
  span = (high - low).astype(np.float32)
  return np.where(span > 0, np.rint((x - low) * (255 / np.maximum(span, 1))), x).astype(np.uint8)


def _equalized(x: np.ndarray, _: np.ndarray) -> np.ndarray:
  """Spreads the values of each channel evenly, in the integers that Pillow uses."""
  rows, height, width, channels = x.shape
  place = np.arange(rows * channels).reshape(rows, 1, 1, channels) * 256 + x
  count = np.bincount(place.ravel(), minlength=rows * channels * 256).reshape(-1, 256)
  brightest = np.take_along_axis(count, 255 - (count[:, ::-1] > 0).argmax(-1)[:, None], -1)
  step = (height * width - brightest) // 255
  spread = (step // 2 + count.cumsum(-1) - count) // np.maximum(step, 1)
  table = np.where(step > 0, np.minimum(spread, 255), np.arange(256))
  return table.astype(np.uint8).ravel()[place]


def _operated(name: str, x: np.ndarray, amount_B: np.ndarray) -> np.ndarray:
  amount_B111 = amount_B[:, None, None, None]
  if name in _CURVES:
    return _CURVES[name](x, np.abs(amount_B111))
  if name in _BLENDS:
    return _filling(_BLENDS[name](np.float32(x) / 255, 0.9 * amount_B111), x.dtype)
  y_H, x_W = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in x.shape[1:3])
  most, move = _MOVES[name]
  from_y, from_x = move(most * amount_B111[..., 0], y_H[:, None], x_W)
  return interpolated(x, from_y - y_H[0], from_x - x_W[0])


# Operations that move (the largest amount, and where a pixel comes from), mix, or change values.
_MOVES = {
  'rotate': (
    np.pi / 6,
    lambda a, y, x: (np.cos(a) * y - np.sin(a) * x, np.sin(a) * y + np.cos(a) * x),
  ),
  'shear_x': (0.3, lambda a, y, x: (y, x - a * y)),
  'shear_y': (0.3, lambda a, y, x: (y - a * x, x)),
  'translate_x': (0.45, lambda a, y, x: (y, x - a * x.size)),
  'translate_y': (0.45, lambda a, y, x: (y - a * y.size, x)),
}
_BLENDS = {
  'brightness': lambda x, a: _blended(x, np.zeros_like(x[:1, :1, :1]), a),
  'contrast': lambda x, a: _blended(x, _greys(x).mean((1, 2), keepdims=True), a),
  'saturation': lambda x, a: _blended(x, _greys(x), a),
  'sharpness': lambda x, a: _blended(x, _smooth(x), a),
}
_CURVES = {
  'identity': lambda x, m: x,
  'auto_contrast': _stretched,
  'equalize': _equalized,
  'posterize': lambda x, m: x & (256 - 2 ** np.rint(4 * m).astype(np.int64)).astype(np.uint8),
  'solarize': lambda x, m: np.where(x < 256 * (1 - m), x, 255 - x),
}
