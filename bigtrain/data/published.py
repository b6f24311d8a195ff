"""Published tokenizers: a tokenizer.json, or a .model of SentencePiece."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigtrain.data import places, subwords
from bigtrain.data.alphabets import smallest

_ENDS = ('<|endoftext|>', '<|end_of_text|>', '</s>', '<eos>', '[SEP]')


class SentencePieces:
  """A .model of SentencePiece (Kudo and Richardson 2018).

  Attributes:
    end: the token that ends a document, and that no text holds.
  """

  def __init__(self, model: bytes, end: str | None = None):
    """Takes the bytes of the .model file.

    Args:
      model: a serialised ModelProto.
      end: the piece that ends a document; None takes the model's own, or adds one, the last.

    Raises:
      ValueError: where the file is none, or has no such piece.
      ModuleNotFoundError: where sentencepiece is not installed.
    """
    try:
      import sentencepiece
    except ModuleNotFoundError as error:
      raise ModuleNotFoundError(
        'data.load_tokenizer: a .model needs `pip install sentencepiece`'
      ) from error
    self._model, self._end = model, end
    self._pieces: Any = sentencepiece.SentencePieceProcessor()
    try:
      self._pieces.LoadFromSerializedProto(model)
    except RuntimeError as error:
      raise ValueError(f'data.load_tokenizer: not a .model ({error}): fetch it again') from None
    self.digest = places.digest([model, *([end] if end else [])])
    self.vocab = len(self._pieces)
    self.end = self._pieces.eos_id() if end is None else self._pieces.piece_to_id(end)
    if end is not None and self._pieces.IdToPiece(self.end) != end:
      raise ValueError(f'data.load_tokenizer: there is no piece {end!r}: name the one for the end')
    if self.end < 0:
      self.end, self.vocab = self.vocab, self.vocab + 1
    self.bytes = np.zeros(self.vocab, np.float32)
    for number in range(len(self._pieces)):
      if not self._pieces.IsControl(number) and not self._pieces.IsUnknown(number):
        self.bytes[number] = subwords.size(self._pieces.IdToPiece(number))
    self.bytes[self.end] = 1

  def __getstate__(self) -> dict[str, Any]:
    return {'model': self._model, 'end': self._end}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__init__(state['model'], state['end'])

  def encode(self, text: str) -> np.ndarray:
    """Returns integers [n], of the smallest type that holds them."""
    return self.encode_many([text])[0]

  def encode_many(self, texts: list[str]) -> list[np.ndarray]:
    """Returns the tokens of each text, on all cores."""
    kind = smallest(self.vocab)
    return [np.array(tokens, kind) for tokens in self._pieces.EncodeAsIds(texts)]

  def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
    """Returns the text, ends left out."""
    return self._pieces.DecodeIds([int(token) for token in tokens if token != self.end])

  @property
  def files(self) -> dict[str, bytes]:
    """What a run keeps, by name: `load_tokenizer` reads it."""
    return {'tokenizer.model': self._model}


def load_tokenizer(path: str | os.PathLike[str], *, end: str | None = None) -> Any:
  """Returns a published tokenizer: a tokenizer.json, or a .model of SentencePiece.

  `bytes` counts what the pieces spell: SentencePiece puts a space before a text, which counts, and
  a normaliser that drops or folds characters makes bits per byte those of the normalised text.

  Args:
    path: the file.
    end: the token that ends a document; None takes <|endoftext|>, <|end_of_text|>, </s>, <eos> or
      [SEP], the first that there is, and otherwise adds one, the last.

  Raises:
    FileNotFoundError: where there is no such file.
    ValueError: where it cannot be read, or has no token `end`.
  """
  path = pathlib.Path(path).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f'data.load_tokenizer: no file {path}: check the path')
  if path.suffix == '.model':
    return SentencePieces(path.read_bytes(), end)
  try:
    definition = path.read_text(encoding='utf-8')
    known = subwords.Subwords(definition)._tokenizer.token_to_id
  except ValueError as error:
    raise ValueError(f'data.load_tokenizer: cannot read {path} ({error})') from None
  return subwords.Subwords(definition, end or next(filter(known, _ENDS), None))
