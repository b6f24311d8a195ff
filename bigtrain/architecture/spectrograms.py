"""Spectrograms: sounds as images, for a convnet or a transformer.

Letters: B examples, S samples, T frames, W samples of a window, F frequencies, M bands.
"""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Scale = Literal['htk', 'slaney']
_KNEE, _PER_BAND, _LOG_STEP = 1000.0, 200 / 3, np.log(6.4) / 27  # Of Slaney's scale.


def to_mel(hertz: np.ndarray, scale: Scale = 'htk') -> np.ndarray:
  """Frequencies on the mel scale.

  'htk' is 2595 log10(1 + f / 700), as in the HTK book; 'slaney' that of Slaney's Auditory Toolbox
  (1998): linear to 1 kHz, 3 mel for 200 Hz, then 27 mel for a factor of 6.4.

  Raises:
    ValueError: For an unknown scale.
  """
  hertz = np.asarray(hertz, np.float64)
  if scale == 'htk':
    return 2595 * np.log10(1 + hertz / 700)
  if scale != 'slaney':
    raise ValueError(f"scale must be 'htk' or 'slaney', got {scale!r}")
  above = _KNEE / _PER_BAND + np.log(np.maximum(hertz, _KNEE) / _KNEE) / _LOG_STEP
  return np.where(hertz < _KNEE, hertz / _PER_BAND, above)


def from_mel(mel: np.ndarray, scale: Scale = 'htk') -> np.ndarray:
  """Undoes `to_mel`."""
  mel = np.asarray(mel, np.float64)
  if scale == 'htk':
    return 700 * (10 ** (mel / 2595) - 1)
  if scale != 'slaney':
    raise ValueError(f"scale must be 'htk' or 'slaney', got {scale!r}")
  above = _KNEE * np.exp(_LOG_STEP * (np.maximum(mel, _KNEE / _PER_BAND) - _KNEE / _PER_BAND))
  return np.where(mel < _KNEE / _PER_BAND, mel * _PER_BAND, above)


def mel_bands(
  frequencies: int,
  rate: int,
  bands: int,
  *,
  low: float = 0.0,
  high: float | None = None,
  scale: Scale = 'htk',
  even_area: bool = False,
) -> np.ndarray:
  """Triangles on the mel scale, each from the peak of the one before to the peak of the next.

  Args:
    frequencies: F, evenly from 0 to half the rate.
    rate: Samples a second.
    bands: M.
    low: Where the first triangle starts, Hz.
    high: Where the last one ends, Hz; None is half the rate.
    scale: 'htk' or 'slaney'.
    even_area: Whether each has area 1 over frequency in Hz (Slaney), in place of height 1.

  Returns:
    float32 [F, M].

  Raises:
    ValueError: For bounds out of order, or a band so narrow that it holds no frequency.
  """
  high = rate / 2 if high is None else high
  if not 0 <= low < high <= rate / 2:
    raise ValueError(f'bands must lie between 0 and {rate / 2} Hz, got {low} to {high} Hz')
  first, last = to_mel(np.array([low, high]), scale)
  edges = from_mel(np.linspace(first, last, bands + 2), scale)
  hertz_F = np.linspace(0, rate / 2, frequencies)
  rising_FM = (hertz_F[:, None] - edges[:-2]) / np.diff(edges)[:-1]
  falling_FM = (edges[2:] - hertz_F[:, None]) / np.diff(edges)[1:]
  bands_FM = np.maximum(0, np.minimum(rising_FM, falling_FM))
  if empty := np.flatnonzero(bands_FM.max(axis=0) == 0).tolist():
    raise ValueError(
      f'band {empty[0]} of {bands} holds none of {frequencies} frequencies: '
      'take fewer bands or a longer transform'
    )
  if even_area:
    bands_FM = bands_FM * 2 / (edges[2:] - edges[:-2])
  return bands_FM.astype(np.float32)


def log_mel(
  sound_BS: Any,
  rate: int,
  *,
  window: int,
  hop: int,
  bands: int = 80,
  size: int | None = None,
  low: float = 0.0,
  high: float | None = None,
  scale: Scale = 'htk',
  even_area: bool = False,
  centred: bool = False,
  floor: float = 1e-6,
) -> jax.Array:
  """The logarithm of the power of a sound in bands of mel, by Hann windows.

  Args:
    sound_BS: Samples, usually in [-1, 1]; integers are divided by their largest value.
    rate: Samples a second.
    window: W, samples of a window.
    hop: Samples from one window to the next.
    bands: M.
    size: Samples of the Fourier transform, the window and zeros after it; None is the next power
      of two.
    low: As in `mel_bands`.
    high: As in `mel_bands`.
    scale: As in `mel_bands`.
    even_area: As in `mel_bands`.
    centred: Whether frame t is centred at sample t * hop, the sound mirrored at both ends; else it
      starts there, and frames that would go beyond the end are left out.
    floor: Added to the power, so that silence has a logarithm.

  Returns:
    float32 [B, T, M], in nats.

  Raises:
    ValueError: The sound is shorter than a window, or `size` is; or as `mel_bands`.
  """
  size = 1 << (window - 1).bit_length() if size is None else size
  if size < window:
    raise ValueError(f'size must be at least the window of {window} samples, got {size}')
  sound_BS = jnp.asarray(sound_BS)
  if jnp.issubdtype(sound_BS.dtype, jnp.integer):
    sound_BS = sound_BS / jnp.iinfo(sound_BS.dtype).max
  sound_BS = sound_BS.astype(jnp.float32)
  if centred:
    sound_BS = jnp.pad(sound_BS, ((0, 0), (window // 2, window // 2)), mode='reflect')
  samples = sound_BS.shape[1]
  if samples < window:
    raise ValueError(f'a sound must have at least a window of {window} samples, got {samples}')
  starts_T = np.arange(0, samples - window + 1, hop)
  frames_BTW = sound_BS[:, starts_T[:, None] + np.arange(window)]
  hann_W = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
  spectrum_BTF = jnp.fft.rfft(frames_BTW * hann_W, size)
  power_BTF = jnp.square(spectrum_BTF.real) + jnp.square(spectrum_BTF.imag)
  bands_FM = mel_bands(
    size // 2 + 1, rate, bands, low=low, high=high, scale=scale, even_area=even_area
  )
  return jnp.log(power_BTF @ bands_FM + floor)


class OnSpectrogram(nn.Module):
  """A model of images that gets a sound's log-mel spectrogram, normalised, as a picture of one
  channel: time downwards, frequency to the right.

  Each band's running mean and deviation normalise it (as BatchNorm without gain), so that levels
  and floors do not matter to the model.

  Attributes:
    model: Maps images [B, T, M, 1] to outputs [B, ...].
    rate: Samples a second.
    window: Of a frame, seconds.
    hop: From one frame to the next, seconds.
    bands: M.
    scale: 'htk' or 'slaney'.
  """

  model: nn.Module
  rate: int
  window: float = 0.025
  hop: float = 0.010
  bands: int = 80
  scale: Scale = 'htk'

  @nn.compact
  def __call__(self, sound: jax.Array, *, train: bool) -> jax.Array:
    """Maps sounds [B, S] to what the model gives."""
    x_BTM = log_mel(
      sound,
      self.rate,
      window=round(self.window * self.rate),
      hop=round(self.hop * self.rate),
      bands=self.bands,
      scale=self.scale,
    )
    norm = nn.BatchNorm(not train, momentum=0.9, use_bias=False, use_scale=False, name='norm')
    return self.model(norm(x_BTM)[..., None], train=train)
