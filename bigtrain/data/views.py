"""Views: what goes into a model, as arrays that a person can look at.

Some rows of one batch and a sample of records are read, never a whole source. Letters: B rows,
H height, W width, C channels, T samples of a sound, L tokens, N records, F columns.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from bigtrain.data import audio, files, mixtures, records, sources
from bigtrain.data.pipelines import Batches

_AT_ONCE = 16  # Records read between two looks at the clock.
_DECIBELS = 80.0  # Below the loudest, where a spectrogram ends.
_FRAMES = 512  # Of a spectrogram, at most about.
_TOKENS = 2**24  # Of a line, searched for ends of documents.


def first_rows(batches: Batches, least: int = 24) -> records.Columns:
  """Returns the first rows of batch 0 as the model gets them, those of weight 0 left out.

  Args:
    batches: of which no iterator moves.
    least: rows to read, for a large batch takes long to decode; as many more as make a divisor of
      the batch, and all of a smaller batch.

  Returns:
    Name to array [rows, ...]; possibly no row, where all have weight 0.
  """
  rows = next((n for n in range(least, batches.batch) if batches.batch % n == 0), batches.batch)
  here = dataclasses.replace(batches, workers=0)  # Processes take longer to start than a batch.
  columns = next(here.iterator(0, batches.batch // rows))
  if 'weight' not in columns:
    return columns
  real = columns['weight'].reshape(rows, -1).any(axis=1)
  return {key: values[real] for key, values in columns.items()}


def sample(source: sources.Source, most: int = 256, seconds: float = 2.0) -> list[records.Record]:
  """Returns records from all over a source, at random but the same each time.

  Args:
    source: random access to records.
    most: records.
    seconds: after which no more are read.
  """
  count = min(most, len(source))
  chosen = np.random.default_rng(0).choice(len(source), count, replace=False)
  found: list[records.Record] = []
  start = time.monotonic()
  for few in np.array_split(chosen, -(-count // _AT_ONCE)):
    got = sources.fetch(source, few)
    if isinstance(got, Mapping):
      got = [dict(zip(got, row, strict=True)) for row in zip(*got.values(), strict=True)]
    found += got
    if time.monotonic() - start > seconds:
      break
  return found


def column_in_memory(source: sources.Source, key: str) -> np.ndarray | None:
  """Returns one key of all records, [N, ...], where that reads nothing; otherwise None."""
  if isinstance(source, sources.Arrays):
    return source.columns.get(key)
  if isinstance(source, sources.Subset):
    values = column_in_memory(source.source, key)
    return None if values is None else values[source.indices]
  if isinstance(source, mixtures.Mixture):
    parts = [column_in_memory(part, key) for part in source.parts.values()]
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
  if isinstance(source, files.ImageFolder | audio.AudioFolder) and key == 'label':
    return source.column(key)
  return None


def behind(source: Any, name: str) -> Any:
  """Returns the attribute `name` of a source, or of the first source behind it that has one; None
  where none has."""
  if hasattr(source, name):
    return getattr(source, name)
  inner = [source.source] if hasattr(source, 'source') else []
  inner = source.parts.values() if isinstance(source, mixtures.Mixture) else inner
  return next((found for each in inner if (found := behind(each, name)) is not None), None)


def document_lengths(source: Any) -> np.ndarray | None:
  """Returns the tokens of each document, without its end, of the first 16,777,216 tokens.

  None where a source is no line of tokens, or its tokenizer has no end.
  """
  tokens, tokenizer = behind(source, 'tokens'), behind(source, 'tokenizer')
  if tokens is None or getattr(tokenizer, 'end', None) is None:
    return None
  return np.diff(np.flatnonzero(tokens[:_TOKENS] == tokenizer.end)) - 1


def pictures(image_BHWC: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
  """Returns images as pixels, and the values that became black and white.

  Args:
    image_BHWC: of any type, C of 1, 3 or 4 (of which the last is left out). Bytes stay, numbers in
      [0, 1] are taken for shares of white; of others the least is black and the greatest white.

  Returns:
    uint8 [B, H, W] or [B, H, W, 3], and (black, white).
  """
  image = image_BHWC[..., 0] if image_BHWC.shape[-1] == 1 else image_BHWC[..., :3]
  if image.dtype == np.uint8:
    return image, (0.0, 255.0)
  image = np.nan_to_num(image.astype(np.float32))
  low, high = float(image.min(initial=0)), float(image.max(initial=0))
  if low >= 0 and high <= 1:
    low, high = 0.0, 1.0
  return np.rint((image - low) * (255 / ((high - low) or 1))).astype(np.uint8), (low, high)


def spectrogram(audio_T: np.ndarray, window: int = 512) -> np.ndarray:
  """Returns the log power of a sound as pixels, dark where it is loud.

  Args:
    audio_T: samples; fewer than a window are filled up with silence.
    window: samples of a frame, under a Hann window.

  Returns:
    uint8 [window / 2 + 1, frames]: the highest frequency on top; black is the loudest, and white is
    80 dB less, or silence.
  """
  audio_T = np.pad(np.nan_to_num(audio_T), (0, max(0, window - len(audio_T))))
  hop = max(window // 4, len(audio_T) // _FRAMES)
  frames = np.lib.stride_tricks.sliding_window_view(audio_T, window)[::hop] * np.hanning(window)
  power = np.abs(np.fft.rfft(frames)) ** 2
  if not power.max() > 0:
    return np.full(power.T.shape, 255, np.uint8)
  level = 10 * np.log10(np.maximum(power / power.max(), 10 ** (-_DECIBELS / 10)))
  return np.rint(-level.T[::-1] * (255 / _DECIBELS)).astype(np.uint8)


class Run(NamedTuple):
  """Tokens of one row that stand together: [n] of one document, or one mark.

  Attributes:
    kind: 'text'; 'end', which ends a document; 'padding'; or 'special', outside of the vocabulary.
    document: its number in the row.
    tokens: integers [n]; an end or a special token stands alone.
  """

  kind: Literal['text', 'end', 'padding', 'special']
  document: int
  tokens: np.ndarray


def runs(
  tokens_L: np.ndarray, vocab: int, end: int | None, segment_ids_L: np.ndarray | None = None
) -> list[Run]:
  """Returns the runs of a row, from left to right; together they are the row.

  Args:
    tokens_L: integers [L].
    vocab: tokens that the tokenizer knows; others are special.
    end: the token between documents, or None.
    segment_ids_L: the document of each place, 0 for padding; None counts the ends.
  """
  if not len(tokens_L):
    return []
  ends = tokens_L == end if end is not None else np.zeros(len(tokens_L), bool)
  document = np.cumsum(ends) if segment_ids_L is None else segment_ids_L
  kind = np.where(ends, 1, 0)
  kind[(tokens_L < 0) | (tokens_L >= vocab)] = 3
  if segment_ids_L is not None:
    kind[segment_ids_L == 0] = 2
  alone = kind % 2 == 1  # Ends and special tokens.
  new = (np.diff(kind) != 0) | (np.diff(document) != 0) | alone[1:]
  names = ('text', 'end', 'padding', 'special')
  return [
    Run(names[kind[places[0]]], int(document[places[0]]), tokens_L[places])
    for places in np.split(np.arange(len(tokens_L)), np.flatnonzero(new) + 1)
  ]


def histogram(values: np.ndarray) -> dict[str, int]:
  """Returns how many lengths (integers [N], at least 0) fall between powers of two, by range."""
  # Of 0, 1, 2 to 3, 4 to 7, ...: the bits of the length.
  bits = np.frexp(values.astype(np.float64))[1]
  counts = np.bincount(bits)
  first = int(np.flatnonzero(counts)[0])

  def name(bit: int) -> str:
    low, high = (1 << bit) >> 1, (1 << bit) - 1
    return f'{low:,}' if high <= low else f'{low:,} to {high:,}'

  return {name(bit): int(counts[bit]) for bit in range(first, len(counts))}


def statistics(
  values: np.ndarray, names: Sequence[str]
) -> list[tuple[str, float, float, float, int]]:
  """Returns (name, least, mean, greatest, missing) of each column of numbers [N, F].

  Missing is what is not finite; it counts for nothing else, and a column of nothing else is NaN.
  """
  rows = []
  for name, column in zip(names, values.T, strict=True):
    kept = column[np.isfinite(column)].astype(np.float64)
    missing = len(column) - len(kept)
    least, mean, greatest = (kept.min(), kept.mean(), kept.max()) if len(kept) else [np.nan] * 3
    rows.append((name, float(least), float(mean), float(greatest), missing))
  return rows
