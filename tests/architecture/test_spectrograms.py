"""Spectrograms against SciPy and formulas worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import architecture
from bigtrain.architecture import spectrograms

RATE = 8000


def test_mels_are_those_of_the_formulas():
  # By hand: 2595 log10(1 + 700 / 700) = 2595 log10(2); 3 mel for 200 Hz; 15 + 27 at 6.4 kHz.
  np.testing.assert_allclose(spectrograms.to_mel(np.array([0, 700])), [0, 2595 * np.log10(2)])
  slaney = spectrograms.to_mel(np.array([200, 1000, 6400]), 'slaney')
  np.testing.assert_allclose(slaney, [3, 15, 42])
  hertz = np.linspace(0, 8000, 50)
  for scale in ('htk', 'slaney'):
    np.testing.assert_allclose(
      spectrograms.from_mel(spectrograms.to_mel(hertz, scale), scale), hertz, atol=1e-9
    )


@pytest.mark.parametrize(('scale', 'even_area'), [('htk', False), ('slaney', True)])
def test_bands_are_triangles_from_peak_to_peak(scale, even_area):
  bands = spectrograms.mel_bands(4001, RATE, 20, low=50, scale=scale, even_area=even_area)
  first, last = spectrograms.to_mel(np.array([50, RATE / 2]), scale)
  mels = np.linspace(first, last, 22)
  edges = spectrograms.from_mel(mels, scale)
  hertz = np.arange(4001)  # One frequency a hertz.
  for i in range(20):
    triangle = np.interp(hertz, edges[i : i + 3], [0, 1, 0])
    if even_area:
      np.testing.assert_allclose(bands[:, i].sum(), 1, rtol=1e-3)
      triangle = triangle / (0.5 * (edges[i + 2] - edges[i]))
    np.testing.assert_allclose(bands[:, i], triangle, atol=1e-6)


@pytest.mark.parametrize(('scale', 'norm'), [('htk', None), ('slaney', 'slaney')])
def test_bands_are_those_of_transformers(scale, norm):
  pytest.importorskip('torch', reason='transformers reads sounds where PyTorch is installed')
  utils = pytest.importorskip('transformers.audio_utils', reason='another implementation')
  theirs = utils.mel_filter_bank(201, 40, 20.0, 4000.0, RATE, norm=norm, mel_scale=scale)
  ours = spectrograms.mel_bands(201, RATE, 40, low=20, scale=scale, even_area=norm == 'slaney')
  np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize('centred', [False, True])
def test_a_spectrogram_is_scipys(centred):
  from scipy import signal

  sound = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
  got = spectrograms.log_mel(
    sound, RATE, window=200, hop=80, size=256, bands=20, centred=centred, floor=1e-9
  )
  wide = np.pad(sound, ((0, 0), (100, 100)), mode='reflect') if centred else sound
  _, _, spectrum = signal.stft(
    wide, RATE, 'hann', 200, 120, 256, boundary=None, padded=False, scaling='spectrum'
  )
  power = np.abs(spectrum * 100).swapaxes(1, 2) ** 2  # SciPy divides by the window's sum.
  bands = spectrograms.mel_bands(129, RATE, 20)
  np.testing.assert_allclose(got, np.log(power @ bands + 1e-9), rtol=1e-3, atol=1e-3)


def test_a_tone_is_loudest_in_its_band():
  time = np.arange(RATE) / RATE
  tones = np.stack([np.sin(2 * np.pi * hertz * time) for hertz in (300, 1000, 3000)])
  found = spectrograms.log_mel(tones, RATE, window=400, hop=200, bands=40).mean(axis=1).argmax(-1)
  peaks = np.linspace(0, spectrograms.to_mel(np.array(RATE / 2)), 42)[1:-1]
  expected = [np.abs(peaks - spectrograms.to_mel(np.array(f))).argmin() for f in (300, 1000, 3000)]
  np.testing.assert_array_equal(found, expected)
  whole = (tones * 32767).astype(np.int16)
  np.testing.assert_allclose(
    spectrograms.log_mel(whole, RATE, window=400, hop=200, bands=40).max(),
    spectrograms.log_mel(tones, RATE, window=400, hop=200, bands=40).max(),
    atol=1e-3,
  )


def test_a_sound_goes_to_a_model_of_images_at_any_level():
  net = architecture.ViT(classes=3, patch=8, depth=1, width=16)
  model = spectrograms.OnSpectrogram(net, RATE, bands=16)
  sound = jax.random.normal(jax.random.key(0), (4, 25 * 8 + 31 * 80))  # 33 frames less one.
  variables = model.init(jax.random.key(1), sound, train=False)
  variables['params']['model']['head'] = jax.tree.map(
    lambda p: p + jax.random.normal(jax.random.key(2), p.shape),
    variables['params']['model']['head'],
  )

  def train(sound):
    return model.apply(variables, sound, train=True, mutable=['batch_stats'])[0]

  assert train(sound).shape == (4, 3)
  np.testing.assert_allclose(train(sound), train(10 * sound), atol=1e-2)
  assert not np.allclose(train(sound), train(sound[::-1]), atol=1e-2)


def test_what_cannot_be_is_named():
  with pytest.raises(ValueError, match='a window of 200 samples, got 100'):
    spectrograms.log_mel(jnp.zeros((1, 100)), RATE, window=200, hop=80)
  with pytest.raises(ValueError, match='at least the window of 200 samples, got 100'):
    spectrograms.log_mel(jnp.zeros((1, 400)), RATE, window=200, hop=80, size=100)
  with pytest.raises(ValueError, match=r'between 0 and 4000\.0 Hz, got 0\.0 to 5000 Hz'):
    spectrograms.mel_bands(129, RATE, 20, high=5000)
  with pytest.raises(ValueError, match='band 0 of 80 holds none of 33'):
    spectrograms.mel_bands(33, RATE, 80)
  with pytest.raises(ValueError, match="'htk' or 'slaney', got 'bark'"):
    spectrograms.to_mel(np.zeros(1), 'bark')
