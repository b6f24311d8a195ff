"""Augmentation: maps over whole batches, vectorised, uint8 in and uint8 out.

A map takes `(batch, rng)`, a dict of arrays [B, ...] and a `Draws`, and returns a dict with the
same leading axis. One call a batch is two orders of magnitude faster in Python than one call a
record.
"""

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
    image_BHWC = _images(batch, key, 'random_crop')
    rows, height, width, channels = image_BHWC.shape
    offset_B2 = rng.integers(0, 2 * pad + 1, 2)
    inner = (slice(None), slice(pad, pad + height), slice(pad, pad + width))
    if mode == 'constant':  # By hand: np.pad takes longer than all the rest for small images.
      padded = np.zeros((rows, height + 2 * pad, width + 2 * pad, channels), image_BHWC.dtype)
      padded[inner] = image_BHWC
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


def random_flip(*, key: str = 'image', probability: float = 0.5) -> Map:
  """Returns a map that mirrors each image left to right, with `probability`.

  Args:
    key: images [B, H, W, C] of any type.
    probability: between 0 and 1.
  """
  if not 0 <= probability <= 1:
    raise ValueError(f'data.random_flip: probability must lie in [0, 1], got {probability}')

  def flip(batch: Batch, rng: Draws) -> Batch:
    image_BHWC = _images(batch, key, 'random_flip').copy()
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


def _images(batch: Batch, key: str, name: str) -> np.ndarray:
  if key not in batch:
    raise ValueError(
      f'data.{name}: the batch has no key {key!r}: use one of {", ".join(sorted(batch))}'
    )
  if batch[key].ndim != 4:
    raise ValueError(
      f'data.{name}: {key!r} has shape {batch[key].shape}: images have the axes [B, H, W, C]'
    )
  return batch[key]
