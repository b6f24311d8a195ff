"""Audio variation: masks over spectrograms, and noise, gain and shifts of waveforms.

Maps as in `augmentation`; what is drawn is drawn for each row. A waveform keeps its type: integers
are rounded and cut to what the type holds, floats are not cut.

Letters: B rows, T samples or frames, F frequencies, C channels.
"""

import math
from typing import Literal

import numpy as np

from bigtrain.data.augmentation import Batch, Map, held, within
from bigtrain.data.draws import Draws


def spec_augment(
  *,
  frequency: int = 27,
  frequency_masks: int = 2,
  time: int = 100,
  time_masks: int = 2,
  share: float = 1.0,
  fill: float | None = 0.0,
  key: str = 'features',
) -> Map:
  """Returns a map that covers bands of frequencies and stretches of time (Park et al. 2019, section
  2).

  A mask is as wide as a whole number drawn uniformly from 0 to its bound, and lies anywhere. The
  defaults are the policy LD; SM is `frequency=15, time=70, share=0.2`. Time is not warped, which
  the paper found to matter least.

  Args:
    frequency: widest mask, in frequencies.
    frequency_masks: masks over frequencies for each row.
    time: widest mask, in frames.
    time_masks: masks over time for each row.
    share: a mask over time is no wider than this share of the frames.
    fill: what is written; 0 is the mean where spectrograms are normalised. None takes the mean of
      each row.
    key: spectrograms [B, T, F] or [B, T, F, C], floats.

  Raises:
    ValueError: for a negative bound or number, or a share out of range; by the map, for a missing
      key or other axes.
  """
  bounds = {
    'frequency': frequency,
    'frequency_masks': frequency_masks,
    'time': time,
    'time_masks': time_masks,
  }
  for name, bound in bounds.items():
    if bound < 0:
      raise ValueError(f'data.spec_augment: {name} must not be negative, got {bound}')
  within('spec_augment: share', 0, 1, share)

  def masked(batch: Batch, rng: Draws) -> Batch:
    values = _sound(batch, key, 'spec_augment', (3, 4))
    frames, frequencies = values.shape[1:3]
    over_frequency_BF = _stretches(rng, frequency_masks, frequency, frequencies)
    over_time_BT = _stretches(rng, time_masks, min(time, int(share * frames)), frames)
    covered = over_time_BT[:, :, None] | over_frequency_BF[:, None, :]
    covered = covered.reshape(*covered.shape, *(1,) * (values.ndim - 3))
    others = tuple(range(1, values.ndim))
    written = values.mean(others, keepdims=True) if fill is None else fill
    return {**batch, key: np.where(covered, written, values).astype(values.dtype)}

  return masked


def add_noise(
  least: float = 10.0, most: float = 40.0, *, probability: float = 1.0, key: str = 'audio'
) -> Map:
  """Returns a map that adds white noise to each waveform.

  The signal-to-noise ratio, in power over the whole row, is uniform in decibels between `least` and
  `most`, and exact; silence stays silence.

  Args:
    least: decibels, where the noise is loudest.
    most: decibels, where it is softest.
    probability: share of rows with noise.
    key: waveforms [B, T] or [B, T, C].

  Raises:
    ValueError: for a probability out of range or bounds that fall; by the map, for a missing key or
      other axes.
  """
  if not least <= most:
    raise ValueError(f'data.add_noise: least must not exceed most, got {least} and {most} decibels')
  within('add_noise: probability', 0, 1, probability)

  def noisy(batch: Batch, rng: Draws) -> Batch:
    values = _sound(batch, key, 'add_noise', (2, 3))
    chosen_B = rng.random() < probability
    decibels_B = least + (most - least) * rng.random()
    signal = values.astype(np.float32)
    noise = rng.normal(*values.shape[1:])
    ratio_B = _power(signal) / np.maximum(_power(noise), np.float32(1e-30))
    factor_B = chosen_B * np.sqrt(ratio_B * 10 ** (-decibels_B / 10))
    return {**batch, key: _typed(signal + _spread(factor_B, signal) * noise, values.dtype)}

  return noisy


def random_gain(decibels: float = 6.0, *, key: str = 'audio') -> Map:
  """Returns a map that makes each waveform louder or softer, uniformly in decibels.

  Args:
    decibels: the most, either way; 6 is a factor of 2 in amplitude.
    key: waveforms [B, T] or [B, T, C].

  Raises:
    ValueError: for a negative bound; by the map, for a missing key or other axes.
  """
  if not decibels >= 0:
    raise ValueError(f'data.random_gain: decibels must not be negative, got {decibels}')

  def louder(batch: Batch, rng: Draws) -> Batch:
    values = _sound(batch, key, 'random_gain', (2, 3))
    factor_B = np.float32(10) ** ((2 * rng.random() - 1) * decibels / 20)
    return {**batch, key: _typed(_spread(factor_B, values) * values, values.dtype)}

  return louder


def time_shift(
  most: int,
  *,
  mode: Literal['constant', 'edge', 'reflect', 'wrap'] = 'constant',
  key: str = 'audio',
) -> Map:
  """Returns a map that moves each row along time, by a whole number of samples or frames.

  Args:
    most: samples or frames, either way.
    mode: what comes in, as `np.pad` names it; 'constant' brings zeros, 'wrap' what went out.
    key: waveforms [B, T] or anything with time as its second axis, such as [B, T, F].

  Raises:
    ValueError: for a negative bound; by the map, for a missing key or no axis of time.
  """
  if most < 0:
    raise ValueError(f'data.time_shift: most must not be negative, got {most}')

  def shifted(batch: Batch, rng: Draws) -> Batch:
    values = _sound(batch, key, 'time_shift', (2, 3, 4))
    rows, frames, *rest = values.shape
    padded = np.pad(values, ((0, 0), (most, most), *((0, 0) for _ in rest)), mode=mode)
    # Every stretch that there is, without a copy; what follows time stays contiguous in it, so that
    # each is copied as a block.
    inner = math.prod(rest)
    flat = np.ascontiguousarray(padded).reshape(rows, -1)
    windows = np.lib.stride_tricks.sliding_window_view(flat, frames * inner, axis=1)[:, ::inner]
    chosen = windows[np.arange(rows), rng.integers(0, 2 * most + 1)]
    return {**batch, key: chosen.reshape(values.shape)}

  return shifted


def _stretches(rng: Draws, masks: int, most: int, length: int) -> np.ndarray:
  """Draws `masks` stretches of at most `most` for each row; true inside any, [B, length]."""
  drawn_BM2 = rng.random(masks, 2)
  wide_BM = np.floor(drawn_BM2[..., 0] * (min(most, length) + 1))
  start_BM = np.floor(drawn_BM2[..., 1] * (length - wide_BM + 1))
  place = np.arange(length)
  inside = (start_BM[..., None] <= place) & (place < (start_BM + wide_BM)[..., None])
  return np.asarray(inside.any(1))


def _power(values: np.ndarray) -> np.ndarray:
  """Returns the mean square of each row, [B]."""
  return np.square(values).mean(tuple(range(1, values.ndim)))


def _spread(values_B: np.ndarray, like: np.ndarray) -> np.ndarray:
  return values_B.astype(np.float32).reshape(-1, *(1,) * (like.ndim - 1))


def _typed(values: np.ndarray, kind: np.dtype) -> np.ndarray:
  if kind.kind not in 'iu':
    return values.astype(kind)
  limits = np.iinfo(kind)
  return np.clip(np.rint(values), limits.min, limits.max).astype(kind)


def _sound(batch: Batch, key: str, name: str, axes: tuple[int, ...]) -> np.ndarray:
  values = held(batch, key, name)
  if values.ndim not in axes:
    shapes = {2: '[B, T]', 3: '[B, T, F]', 4: '[B, T, F, C]'}
    raise ValueError(
      f'data.{name}: {key!r} has shape {values.shape}: it takes '
      f'{" or ".join(shapes[n] for n in axes)}'
    )
  return values
