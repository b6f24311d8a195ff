"""Patches of pictures, of spectrograms and of video, where they are called tubelets.

Letters: B examples, L patches, D width; the axes of a picture are [height, width], of a
spectrogram [time, frequency], of a video [time, height, width].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def sides(patch: int | Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
  """Returns a patch's side along each axis between examples and channels.

  Args:
    patch: One number for all axes, or one for each.
    shape: Of what is cut, [B, axes..., channels].

  Raises:
    ValueError: There is another number of axes, or one does not divide by its side.
  """
  axes = shape[1:-1]
  found = (patch,) * len(axes) if isinstance(patch, int) else tuple(patch)
  if len(found) != len(axes):
    raise ValueError(
      f'patch must have a side for each of the axes {axes} of {shape}, got {found}: give '
      f'{len(axes)} numbers'
    )
  if any(axis % side for axis, side in zip(axes, found, strict=True)):
    words = ' x '.join(map(str, found))
    raise ValueError(
      f'the image must divide by patches of {words} pixels, got {axes}: crop it, or pad it'
    )
  return found


def patches(x: jax.Array, patch: int | Sequence[int]) -> jax.Array:
  """Cuts [B, axes..., channels] into patches, [B, L, numbers of a patch], row by row.

  A dense layer over them is a convolution whose stride is its kernel's size, as one product
  (Dosovitskiy et al. 2021; over video the tubelet embedding of Arnab et al. 2021, ViViT).

  Args:
    x: Pictures [B, height, width, channels], spectrograms likewise, or videos [B, time, height,
      width, channels].
    patch: Its side, or its sides: for video first how many frames.

  Raises:
    ValueError: The sides do not fit; see `sides`.
  """
  found = sides(patch, x.shape)
  counts = [axis // side for axis, side in zip(x.shape[1:-1], found, strict=True)]
  pairs = itertools.chain.from_iterable(zip(counts, found, strict=True))
  x = x.reshape(x.shape[0], *pairs, x.shape[-1])
  n = len(found)
  x = x.transpose(0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)
  return x.reshape(x.shape[0], math.prod(counts), math.prod(found) * x.shape[-1])


def surroundings(x: jax.Array, patch: int | Sequence[int]) -> jax.Array:
  """As `patches`, but each sees half of its sides more all around; zeros lie beyond the edge.

  Raises:
    ValueError: A side is odd.
  """
  found = sides(patch, x.shape)
  if any(side % 2 for side in found):
    words = found[0] if len(set(found)) == 1 else found
    raise ValueError(f'patches that overlap must have an even side, got {words}')
  wide = jnp.pad(x, ((0, 0), *((side // 2, side // 2) for side in found), (0, 0)))
  # What is around a patch: patches of the image moved by half a patch each way.
  corners = [
    wide[(slice(None), *map(slice, start, map(sum, zip(start, x.shape[1:-1], strict=True))))]
    for start in itertools.product(*((0, side) for side in found))
  ]
  return jnp.concatenate([patches(corner, found) for corner in corners], axis=-1)


def grid_positions(counts: Sequence[int], width: int, base: float = 10_000.0) -> np.ndarray:
  """Returns sines and cosines of each patch's place, [L, width], an equal share for each axis.

  Frequencies are those of Vaswani et al. 2017, section 3.5; two axes as Chen, Xie and He 2021 (MoCo
  v3) and Beyer, Zhai and Kolesnikov 2022 have them.

  Raises:
    ValueError: The width does not divide by twice the number of axes.
  """
  n = len(counts)
  if width % (2 * n):
    raise ValueError(
      f'sinusoidal positions of {n} axes need a width that divides by {2 * n}, got {width}'
    )
  share = width // (2 * n)
  frequency = base ** (-np.arange(share) / share)
  places = np.stack(np.meshgrid(*map(np.arange, counts), indexing='ij'), axis=-1).reshape(-1, n)
  angles = places[..., None] * frequency  # [L, axes, share].
  waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
  return waves.reshape(len(places), width).astype(np.float32)


def inflated(kernel: jax.Array, frames: int, *, central: bool = True) -> jax.Array:
  """Turns the patch embedding of a model of pictures into one of videos.

  Args:
    kernel: [side * side * channels, D].
    frames: How many a tubelet has.
    central: Whether only the middle frame is seen at first (Arnab et al. 2021, section 3.4);
      otherwise all are averaged. A video whose frames are all the same gives what the picture gave.

  Returns:
    [frames * side * side * channels, D].

  Raises:
    ValueError: There is no frame.
  """
  if frames < 1:
    raise ValueError(f'a tubelet must have at least 1 frame, got {frames}')
  if central:
    share = (jnp.arange(frames) == frames // 2).astype(kernel.dtype)
  else:
    share = jnp.full(frames, 1 / frames, kernel.dtype)
  return (share[:, None, None] * kernel).reshape(-1, kernel.shape[-1])
