"""A person's own sounds: folders of WAV and FLAC files, decoded when asked for."""

import math
import os
import wave
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from bigtrain.data import finding, records, sources

_PLACE = 'data.audio_folder'
_SOUNDS = ('.flac', '.wav')


class AudioFolder:
  """Sounds of one folder, decoded when asked for."""

  def __init__(
    self,
    files: list[finding.File],
    columns: dict[str, np.ndarray],
    shown: Sequence[str],
    rate: int | None,
    seconds: float | None,
    about: dict,
  ):
    self._files = files
    self._columns = columns
    self._shown = tuple(shown)
    self._rate = rate
    self._seconds = seconds
    self.about = about

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, index: int) -> records.Record:
    audio_T, rate = _decoded(self._files[index])
    if self._rate is not None and self._rate != rate:
      audio_T, rate = _resampled(audio_T, rate, self._rate), self._rate
    if self._seconds is not None:
      length = round(self._seconds * rate)
      audio_T = np.pad(audio_T[:length], (0, max(0, length - len(audio_T))))
    own = {key: self._columns[key][index] for key in self._shown}
    return {'audio': audio_T, 'rate': np.int32(rate), **own}

  def column(self, key: str) -> np.ndarray:
    """Returns 'label' [N], 'text' [N] or 'path' [N]; KeyError for what has to be decoded."""
    return self._columns[key]

  def select(self, indices: np.ndarray) -> 'AudioFolder':
    """Returns a source of the sounds `indices` [M], in this order."""
    files = [self._files[index] for index in indices]
    columns = {key: values[indices] for key, values in self._columns.items()}
    about = {**self.about, 'files': len(files)}
    return AudioFolder(files, columns, self._shown, self._rate, self._seconds, about)


def audio_folder(
  path: str | os.PathLike[str],
  *,
  rate: int | None = None,
  seconds: float | None = None,
  target: Literal['class', 'name'] = 'class',
  classes: Sequence[str] | None = None,
) -> AudioFolder:
  """Returns the sounds of a folder: one folder a class, or with their names as texts.

  WAV files of whole numbers (8 to 32 bits) are read by Python's own `wave`; FLAC and other WAV
  files need soundfile. Several channels are averaged. Decoding and resampling are the slow part:
  keep a small set by `data.in_memory`. Splits may use the key 'path', relative to the folder.

  Args:
    path: the folder, here or remote; files end in .wav or .flac.
    rate: samples a second to which sounds are resampled by a polyphase filter (Crochiere and
      Rabiner 1983; `scipy.signal.resample_poly`); None keeps each file's own.
    seconds: length to which sounds are cut, or filled up with zeros, at the end; None keeps each
      file's own, and then batches need a map or files of one length.
    target: 'class' labels a sound by its folder; 'name' takes all files of the folder, however
      deep, and their names as texts, with spaces for - and _.
    classes: the folders in the order of their labels; None takes all, sorted by name.

  Returns:
    A source of 'audio' float32 [samples] in [-1, 1], 'rate' int32, and 'label' int32
    (`about['classes']` names them) or 'path' and 'text' str.

  Raises:
    FileNotFoundError: where there is no such folder.
    ValueError: where a class or the folder holds no sound; naming the file, where one is cut,
      damaged or empty when it is read.
  """
  if target not in ('class', 'name'):
    raise ValueError(f'{_PLACE}: target must be class or name, got {target!r}')
  if rate is not None and rate < 1:
    raise ValueError(f'{_PLACE}: rate must be at least 1 sample a second, got {rate}')
  if seconds is not None and not 0 < seconds < math.inf:
    raise ValueError(f'{_PLACE}: seconds must be above 0, got {seconds}')
  about: dict[str, Any] = {'name': 'audio_folder', 'rate': rate, 'seconds': seconds}
  if target == 'class':
    cure = "put the sounds of each class into one, or take names by target='name'"
    found, chosen = finding.by_class(_PLACE, path, _SOUNDS, classes, cure)
    label = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(own) for own in found])
    about['classes'] = tuple(chosen)
  elif classes is not None:
    found, label = finding.by_class(_PLACE, path, _SOUNDS, classes, 'leave out classes=')[0], None
  else:
    found, label = [finding.find(_PLACE, path, _SOUNDS)], None
  files = [file for own in found for file in own]
  stems = [file.stem.replace('-', ' ').replace('_', ' ') for file in files]
  columns = {
    'path': sources.text_array([file.name for file in files]),
    'text': sources.text_array(stems),
  }
  if label is not None:
    columns['label'] = label
  shown = ('path', 'text') if label is None else ('label',)
  return AudioFolder(files, columns, shown, rate, seconds, {**about, 'files': len(files)})


def _decoded(file: finding.File) -> tuple[np.ndarray, int]:
  """Returns (float32 [T] in [-1, 1], samples a second)."""
  try:
    # soundfile takes a WAV file that was cut for a whole one; `wave` still knows how long it was.
    audio_TC, rate = _wave(file) if file.suffix == '.wav' else _soundfile(file)
    if not len(audio_TC):
      raise ValueError('it holds no sample')
    if not np.isfinite(audio_TC).all():
      raise ValueError('it holds a sample that is not finite')
  except (OSError, EOFError, RuntimeError, ValueError) as error:
    line = str(error).split('\n')[0] or 'it ends in its header'
    raise ValueError(f'{_PLACE}: cannot read {file} ({line}): repair or drop it') from None
  mono_T = audio_TC[:, 0] if audio_TC.shape[1] == 1 else audio_TC.mean(axis=1)
  return np.clip(mono_T, -1, 1).astype(np.float32), rate


def _wave(file: finding.File) -> tuple[np.ndarray, int]:
  try:
    with file.open() as stream, wave.open(stream) as sound:
      channels, width, rate, frames = sound.getparams()[:4]
      raw = sound.readframes(frames)
  except wave.Error:  # Not of whole numbers, or with a header of many channels.
    return _soundfile(file)
  if len(raw) < frames * channels * width:
    have = len(raw) // (channels * width)
    raise ValueError(f'it was cut: it holds {have} of {frames} samples')
  if width == 1:  # The only width without a sign.
    values = np.frombuffer(raw, np.uint8).astype(np.int16) - 128
  elif width == 3:  # As the upper three bytes of four.
    padded = np.zeros((frames * channels, 4), np.uint8)
    padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    values, width = padded.view('<i4')[:, 0], 4
  else:
    values = np.frombuffer(raw, f'<i{width}')
  scale = 2.0 ** (8 * width - 1)
  return (values / scale).astype(np.float32).reshape(-1, channels), rate


def _soundfile(file: finding.File) -> tuple[np.ndarray, int]:
  try:
    import soundfile
  except (ImportError, OSError):  # OSError: its C library is not there.
    raise ValueError('this kind of file needs `pip install soundfile`') from None
  with file.open() as stream, soundfile.SoundFile(stream) as sound:
    frames = sound.frames
    audio_TC = sound.read(dtype='float32', always_2d=True)
    if len(audio_TC) < frames:
      raise ValueError(f'it was cut: it holds {len(audio_TC)} of {frames} samples')
    return audio_TC, sound.samplerate


def _resampled(audio_T: np.ndarray, before: int, after: int) -> np.ndarray:
  """Returns float32 [T * after / before, rounded up]."""
  from scipy import signal

  common = math.gcd(before, after)
  resampled_T = signal.resample_poly(audio_T, after // common, before // common)
  # Between samples a wave may rise above them.
  return np.clip(resampled_T, -1, 1).astype(np.float32)
