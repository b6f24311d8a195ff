"""Augmentation: maps over whole batches, vectorised, uint8 in and uint8 out.

A map takes `(batch, rng)`, a dict of arrays [B, ...] and a `Draws`, and returns a dict with the
same leading axis. One call a batch is two orders of magnitude faster in Python than one call a
record.
"""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from bigtrain.data.draws import Draws

Batch = dict[str, np.ndarray]
Map = Callable[[Batch, Draws], Any]


def compose(*maps: Map) -> Map:
  """Returns the map that applies each of `maps` in turn."""

  def composed(batch: Batch, rng: Draws) -> Batch:
    for each in maps:
      batch = each(batch, rng)
    return batch

  return composed


def random_crop(
  pad: int, *, key: str = 'image', mode: Literal['constant', 'edge', 'reflect'] = 'constant'
) -> Map:
  """Returns a map that pads each image by `pad` pixels and cuts the old size out at random.

  Args:
    pad: pixels added on each side; an image moves by at most as many.
    key: images [B, H, W, C] of any type.
    mode: what is added, as `np.pad` names it; 'constant' adds zeros.

  Raises:
    ValueError: by the map, where the images have no four axes.
  """
  if pad < 0:
    raise ValueError(f'data.random_crop: pad must not be negative, got {pad}')

  def crop(batch: Batch, rng: Draws) -> Batch:
    image_BHWC = images(batch, key, 'random_crop')
    rows, height, width, channels = image_BHWC.shape
    offset_B2 = rng.integers(0, 2 * pad + 1, 2)
    if mode == 'constant':  # By hand: np.pad takes longer than all the rest for small images.
      padded = np.zeros((rows, height + 2 * pad, width + 2 * pad, channels), image_BHWC.dtype)
      padded[:, pad : pad + height, pad : pad + width] = image_BHWC
    else:
      padded = np.pad(image_BHWC, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode=mode)
    # Every window that there is, without a copy; rows of pixels stay contiguous in it (W and C as
    # one axis), so that each is copied as a block.
    image, line, pixel, _ = padded.strides
    windows = np.ndarray(
      (rows, 2 * pad + 1, 2 * pad + 1, height, width * channels),
      padded.dtype,
      padded,
      strides=(image, line, pixel, line, padded.itemsize),
    )
    cut = windows[np.arange(rows), offset_B2[:, 0], offset_B2[:, 1]]
    return {**batch, key: cut.reshape(image_BHWC.shape)}

  return crop


def random_affine(
  *,
  rotate: float = 0.0,
  scale: float = 0.0,
  shear: float = 0.0,
  shift: float = 0.0,
  key: str = 'image',
) -> Map:
  """Returns a map that turns, scales, slants and moves each image about its centre.

  Each amount is drawn uniformly between minus and plus its bound. Pixels are interpolated linearly
  between the four around, and what comes from outside of the image is zero (Simard et al. 2003,
  section 2).

  Args:
    rotate: degrees.
    scale: share of the size; 0.1 gives sizes from 0.9 to 1.1. Both sides are scaled alike.
    shear: pixels sideways for each pixel down.
    shift: pixels, on either axis; any fraction of a pixel may come out.
    key: images [B, H, W, C]; integers are rounded.

  Raises:
    ValueError: for a negative bound, or a scale of 1 and more; by the map, where the images have no
      four axes.
  """
  bounds = {'rotate': rotate, 'scale': scale, 'shear': shear, 'shift': shift}
  for name, bound in bounds.items():
    if bound < 0 or (name == 'scale' and bound >= 1):
      raise ValueError(
        f'data.random_affine: {name} must be at least 0{" and below 1" * (name == "scale")}, '
        f'got {bound}'
      )

  def affine(batch: Batch, rng: Draws) -> Batch:
    image_BHWC = images(batch, key, 'random_affine')
    height, width = image_BHWC.shape[1:3]
    most = np.array([np.deg2rad(rotate), scale, shear, shift, shift], np.float32)
    drawn_B5 = (2 * rng.random(5) - 1) * most
    angle, size, slant, down, right = drawn_B5.T[..., None, None]  # [B, 1, 1] each.
    # From each pixel that is to be, [B, H, W], back to where it comes from.
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2)[:, None] - down
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2)[None, :] - right
    x = x - slant * y
    cos, sin = np.cos(angle) / (1 + size), np.sin(angle) / (1 + size)
    from_y = cos * y - sin * x + (height - 1) / 2
    from_x = sin * y + cos * x + (width - 1) / 2
    return {**batch, key: interpolated(image_BHWC, from_y, from_x)}

  return affine


def random_flip(*, key: str = 'image', probability: float = 0.5) -> Map:
  """Returns a map that mirrors each image left to right, with `probability`.

  Args:
    key: images [B, H, W, C] of any type.
    probability: between 0 and 1.
  """
  within('random_flip: probability', 0, 1, probability)

  def flip(batch: Batch, rng: Draws) -> Batch:
    image_BHWC = images(batch, key, 'random_flip').copy()
    chosen_B = rng.random() < probability
    image_BHWC[chosen_B] = image_BHWC[chosen_B][:, :, ::-1]
    return {**batch, key: image_BHWC}

  return flip


def scale(*, key: str = 'image', factor: float = 1 / 255, offset: float = 0.0) -> Map:
  """Returns a map to float32 by `values * factor + offset`; the default takes uint8 to [0, 1]."""

  def scaled(batch: Batch, rng: Draws) -> Batch:
    del rng
    values = np.multiply(batch[key], np.float32(factor), dtype=np.float32)
    if offset:
      values += np.float32(offset)
    return {**batch, key: values}

  return scaled


def interpolated(image_BHWC: np.ndarray, y_BHW: np.ndarray, x_BHW: np.ndarray) -> np.ndarray:
  """Reads images at fractional places, linearly between pixels; zero outside."""
  rows, height, width, channels = image_BHWC.shape
  # A frame of two zeros: a place next to the image has neighbours, and one far out is moved there.
  padded = np.zeros((rows, height + 4, width + 4, channels), np.float32)
  padded[:, 2:-2, 2:-2] = image_BHWC
  y_BHW = np.clip(y_BHW, -2, height) + 2
  x_BHW = np.clip(x_BHW, -2, width) + 2
  top_BHW, left_BHW = np.floor(y_BHW).astype(np.int64), np.floor(x_BHW).astype(np.int64)
  down_BHW1, right_BHW1 = (y_BHW - top_BHW)[..., None], (x_BHW - left_BHW)[..., None]
  pixels = padded.reshape(-1, channels)
  first_BHW = (np.arange(rows)[:, None, None] * (height + 4) + top_BHW) * (width + 4) + left_BHW
  upper = pixels[first_BHW] * (1 - right_BHW1) + pixels[first_BHW + 1] * right_BHW1
  first_BHW += width + 4
  lower = pixels[first_BHW] * (1 - right_BHW1) + pixels[first_BHW + 1] * right_BHW1
  return typed(upper * (1 - down_BHW1) + lower * down_BHW1, image_BHWC.dtype)


def images(batch: Batch, key: str, name: str) -> np.ndarray:
  """Returns a batch's images [B, H, W, C] for the map `name`; ValueError where they are none."""
  image_BHWC = held(batch, key, name)
  if image_BHWC.ndim != 4:
    raise ValueError(
      f'data.{name}: {key!r} has shape {image_BHWC.shape}: images have the axes [B, H, W, C]'
    )
  return image_BHWC


def held(batch: Batch, key: str, name: str) -> np.ndarray:
  """Returns what a batch holds under `key`, for the map `name`; ValueError where it lacks that."""
  if key not in batch:
    raise ValueError(
      f'data.{name}: the batch has no key {key!r}: use one of {", ".join(sorted(batch))}'
    )
  return batch[key]


def typed(x: np.ndarray, kind: np.dtype) -> np.ndarray:
  """Returns numbers as `kind`; integers are rounded."""
  return (np.rint(x) if kind.kind in 'iu' else x).astype(kind)


def within(name: str, low: float, high: float, *numbers: float) -> None:
  """Refuses a number outside of [low, high], and several that fall; `name` is 'MAP: ARGUMENT'."""
  if not all(a <= b for a, b in itertools.pairwise((low, *numbers, high))):
    got = numbers[0] if len(numbers) == 1 else f'{numbers}: give the least, then the most'
    raise ValueError(f'data.{name} must lie in [{low}, {high}], got {got}')
