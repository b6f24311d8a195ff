"""Tokenisers: from text to integers and back.

A tokenizer has `encode(text) -> integers [n]`, `decode(integers) -> text`, `vocab` (how many
integers there are, the end of a document among them), `end` (the integer that stands between
documents, or None) and `bytes` (float32 [vocab], how many UTF-8 bytes of text a token stands for).
Bits per byte is the loss summed over tokens, over the sum of their bytes; the end of a document
counts as one byte for every tokenizer, so that their bits per byte compare.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from bigtrain.data import sources


class Tokenizer(Protocol):
  """From text to integers and back."""

  @property
  def vocab(self) -> int: ...

  @property
  def end(self) -> int | None: ...

  @property
  def bytes(self) -> np.ndarray: ...

  def encode(self, text: str) -> np.ndarray: ...

  def decode(self, tokens: Sequence[int] | np.ndarray) -> str: ...


def smallest(vocab: int) -> type[np.unsignedinteger[Any]]:
  """Returns the smallest unsigned type that holds `vocab` different tokens."""
  return np.uint8 if vocab <= 2**8 else np.uint16 if vocab <= 2**16 else np.uint32


class Bytes:
  """The bytes of UTF-8, 256 tokens. A document ends with byte 0, which text does not hold.

  >>> Bytes().encode('né')
  array([110, 195, 169], dtype=uint8)
  >>> Bytes().decode([110, 195])
  'n\ufffd'
  """

  vocab = 256
  end = 0
  bytes = np.ones(256, np.float32)

  def encode(self, text: str) -> np.ndarray:
    """Returns uint8 [bytes of text]."""
    return np.frombuffer(text.encode('utf-8', 'surrogatepass'), np.uint8)

  def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
    """Returns the text; a torn character, as samples have them, becomes U+FFFD."""
    return np.asarray(tokens, np.uint8).tobytes().decode('utf-8', 'replace')


class Characters:
  """The characters of one text, numbered by code point; nothing stands between documents."""

  end = None

  def __init__(self, text: 'str | sources.Source'):
    """Takes the vocabulary from a text, or from all texts of a source.

    Raises:
      ValueError: where there is no character.
    """
    texts = [text] if isinstance(text, str) else sources.column(text, 'text')
    found = [np.unique(_code_points(each)) for each in texts]
    self._points = np.unique(np.concatenate(found)) if found else np.empty(0, np.uint32)
    if not len(self._points):
      raise ValueError(
        'data.Characters: the text is empty, and gives no vocabulary: pass the training text'
      )
    self.vocab = len(self._points)
    self.bytes = np.array(
      [len(chr(p).encode('utf-8', 'surrogatepass')) for p in self._points], np.float32
    )

  def encode(self, text: str) -> np.ndarray:
    """Returns integers [characters], of the smallest type that holds them.

    Raises:
      ValueError: for a character that is not in the vocabulary.
    """
    points = _code_points(text)
    tokens = np.searchsorted(self._points, points)
    unknown = self._points.take(tokens, mode='clip') != points
    if unknown.any():
      place = int(unknown.argmax())
      raise ValueError(
        f'data.Characters: the character {text[place]!r} at {place} is not among the {self.vocab} '
        'of the vocabulary: '
        'make the vocabulary from all texts, or use data.Bytes()'
      )
    return tokens.astype(smallest(self.vocab))

  def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
    """Returns the text."""
    points = self._points[np.asarray(tokens, np.int64)]
    return points.astype('<u4').tobytes().decode('utf-32-le', 'surrogatepass')


def _code_points(text: str) -> np.ndarray:
  return np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), '<u4')
