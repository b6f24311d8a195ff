"""Sounds come out as they were put in, at the rate and length that were asked for."""

import sys
import wave

import numpy as np
import pytest
import toys

from bigtrain import data
from bigtrain.data.audio import audio_folder


def tone(rate=8000, seconds=0.5, pitch=440.0, height=0.5):
  return (height * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)).astype('f4')


def write_wave(path, audio_TC, rate=8000, width=2):
  """Writes whole numbers of `width` bytes, by the format's own rules."""
  audio_TC = audio_TC if audio_TC.ndim == 2 else audio_TC[:, None]
  values = np.rint(audio_TC.astype(np.float64) * 2 ** (8 * width - 1)).astype(np.int64)
  if width == 1:
    values += 128
  raw = values.astype('<i8').reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
  path.parent.mkdir(parents=True, exist_ok=True)
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(audio_TC.shape[1])
    file.setsampwidth(width)
    file.setframerate(rate)
    file.writeframes(raw)
  return path


@pytest.mark.parametrize('width', [1, 2, 3, 4])
def test_every_width_keeps_the_wave(tmp_path, width):
  write_wave(tmp_path / 'a' / 'x.wav', tone(), width=width)
  record = audio_folder(tmp_path)[0]
  assert record['audio'].dtype == np.float32
  assert record['rate'] == 8000
  assert np.abs(record['audio'] - tone()).max() <= max(2.0 ** (1 - 8 * width), 1e-7)


def test_channels_are_averaged(tmp_path):
  both = np.stack([tone(), np.zeros(4000, np.float32)], axis=1)
  write_wave(tmp_path / 'a' / 'x.wav', both)
  assert np.abs(audio_folder(tmp_path)[0]['audio'] - tone() / 2).max() < 1e-4


def test_flac_and_float_waves_are_as_wave(tmp_path):
  soundfile = pytest.importorskip('soundfile', reason='pip install soundfile')
  (tmp_path / 'a').mkdir()
  soundfile.write(tmp_path / 'a' / '1.flac', tone(), 8000)
  soundfile.write(tmp_path / 'a' / '2.wav', tone(), 8000, subtype='FLOAT')
  write_wave(tmp_path / 'a' / '3.wav', tone())
  audio_NT = data.column(audio_folder(tmp_path), 'audio')
  assert np.abs(audio_NT - tone()).max() < 1e-4
  assert np.array_equal(audio_NT[0], audio_NT[2])


def test_resampling_keeps_pitch_and_height(tmp_path):
  for name, rate in (('1', 8000), ('2', 44100), ('3', 16000)):
    write_wave(tmp_path / 'a' / f'{name}.wav', tone(rate), rate)
  source = audio_folder(tmp_path, rate=16000, seconds=0.5)
  audio_NT = data.column(source, 'audio')
  assert audio_NT.shape == (3, 8000)
  assert data.column(source, 'rate').tolist() == [16000] * 3
  middle = slice(500, -500)  # The filter needs some samples on either side.
  assert np.abs(audio_NT[:, middle] - tone(16000)[middle]).max() < 0.01
  loud = write_wave(tmp_path / 'b' / 'loud.wav', np.sign(tone()) * 0.999)
  assert np.abs(audio_folder(loud.parent.parent, rate=11025)[3]['audio']).max() <= 1


def test_sounds_are_cut_or_filled_up_at_the_end(tmp_path):
  write_wave(tmp_path / 'a' / '1.wav', tone(seconds=0.25))
  write_wave(tmp_path / 'a' / '2.wav', tone(seconds=1))
  audio_NT = data.column(audio_folder(tmp_path, seconds=0.5), 'audio')
  assert audio_NT.shape == (2, 4000)
  assert np.abs(audio_NT[0, :2000] - tone(seconds=0.25)).max() < 1e-4
  assert not audio_NT[0, 2000:].any()
  assert np.abs(audio_NT[1] - tone()).max() < 1e-4


def test_folders_are_classes_and_batches_take_them(tmp_path):
  for name, pitch in (('high', 800.0), ('low', 200.0)):
    for i in range(4):
      write_wave(tmp_path / name / 'deep' / f'{i}.WAV', tone(pitch=pitch))
  (tmp_path / 'low' / 'notes.txt').write_text('no sound')
  source = audio_folder(tmp_path, seconds=0.1)
  assert source.column('label').tolist() == [0] * 4 + [1] * 4
  assert source.about['classes'] == ('high', 'low')
  assert source[0].keys() == {'audio', 'rate', 'label'}
  assert audio_folder(tmp_path, classes=['low']).column('label').tolist() == [0] * 4
  spec = data.forever(source, 4).spec
  assert spec['audio'] == ((4, 800), np.dtype('float32'))
  train, held_out = data.split_by_hash(source, 0.4, key='path')
  assert not set(train.column('path')) & set(held_out.column('path'))


def test_names_are_texts(tmp_path):
  write_wave(tmp_path / 'digits' / 'forty-two.wav', tone())
  write_wave(tmp_path / 'good_bye.wav', tone())
  source = audio_folder(tmp_path, target='name')
  assert source.column('text').tolist() == ['forty two', 'good bye']
  assert source[0]['path'] == 'digits/forty-two.wav'
  assert source[0].keys() == {'audio', 'rate', 'path', 'text'}


def damaged(folder, change):
  path = write_wave(folder / 'a' / 'x.wav', tone())
  path.write_bytes(change(path.read_bytes()))


DAMAGE = {
  'cut': (lambda raw: raw[: len(raw) // 2], ['was cut', 'of 4000']),
  'cut header': (lambda raw: raw[:20], ['cannot read']),
  'no sound': (lambda raw: b'text', ['cannot read']),
  'empty file': (lambda raw: b'', ['cannot read']),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_a_damaged_file_is_named(name, tmp_path):
  change, words = DAMAGE[name]
  damaged(tmp_path, change)
  with pytest.raises(ValueError, match=r'^data\.audio_folder: cannot read .*x\.wav') as caught:
    audio_folder(tmp_path)[0]
  assert all(word in str(caught.value) for word in words)
  assert '\n' not in str(caught.value)


def test_a_sound_without_samples_is_named(tmp_path):
  write_wave(tmp_path / 'a' / 'x.wav', np.zeros(0, np.float32))
  with pytest.raises(ValueError, match=r'x\.wav \(it holds no sample\)'):
    audio_folder(tmp_path)[0]


def test_damaged_flac_and_floats_are_named(tmp_path):
  soundfile = pytest.importorskip('soundfile', reason='pip install soundfile')
  (tmp_path / 'a').mkdir()
  path = tmp_path / 'a' / 'x.flac'
  soundfile.write(path, tone(), 8000)
  raw = path.read_bytes()
  flipped = raw[:-500] + bytes([raw[-500] ^ 255]) + raw[-499:]
  for bad in (raw[: len(raw) // 2], flipped, raw[:20]):
    path.write_bytes(bad)
    with pytest.raises(ValueError, match=r'cannot read .*x\.flac'):
      audio_folder(tmp_path)[0]
  path.unlink()
  soundfile.write(tmp_path / 'a' / 'y.wav', np.array([0, np.nan], 'f4'), 8000, subtype='FLOAT')
  with pytest.raises(ValueError, match=r'y\.wav .*not finite'):
    audio_folder(tmp_path)[0]


def test_without_soundfile_wave_files_still_read(tmp_path, monkeypatch):
  write_wave(tmp_path / 'a' / '1.wav', tone())
  (tmp_path / 'a' / '2.flac').write_bytes(b'fLaC')
  monkeypatch.setitem(sys.modules, 'soundfile', None)
  source = audio_folder(tmp_path)
  assert len(source[0]['audio']) == 4000
  with pytest.raises(ValueError, match=r'2\.flac .*pip install soundfile'):
    source[1]


ARGUMENTS = {
  'no folder': (lambda f: audio_folder(f / 'gone'), ['gone', 'check the path']),
  'no class': (lambda f: audio_folder(f / 'a'), ['no folder inside', "target='name'"]),
  'unknown class': (lambda f: audio_folder(f, classes=['z']), ["'z'", 'use some of', 'a']),
  'class without sound': (lambda f: audio_folder(f), ['none', '.wav']),
  'no rate': (lambda f: audio_folder(f, rate=0), ['rate', 'got 0']),
  'no length': (lambda f: audio_folder(f, seconds=0.0), ['seconds', 'got 0']),
  'no target': (lambda f: audio_folder(f, target='text'), ['class or name', "'text'"]),
}


@pytest.mark.parametrize('name', ARGUMENTS)
def test_arguments_are_checked(name, tmp_path):
  write_wave(tmp_path / 'a' / 'x.wav', tone())
  (tmp_path / 'none').mkdir()
  do, words = ARGUMENTS[name]
  toys.check_sentence(
    lambda: do(tmp_path), words, r'^data\.audio_folder: ', (ValueError, FileNotFoundError)
  )
