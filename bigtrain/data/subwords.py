"""Subwords: byte-pair encodings and unigram models, trained and run by Hugging Face's tokenizers.

What is trained here is byte-level: any text can be encoded and decoded without loss, and each token
stands for a known number of bytes, so bits per byte are exact. Training is kept under a digest of
the texts it saw.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from bigtrain.data import places, sources
from bigtrain.data.alphabets import smallest

_ALPHABET = 256  # Every byte is a token of its own.
_BYTE = re.compile('<0x[0-9A-F]{2}>')


class Subwords:
  """A tokenizer of Hugging Face's kind.

  Attributes:
    definition: JSON, as in a published tokenizer.json.
    end_name: what the end is called there; None where it is none of the definition's tokens.
    end: the token that ends a document, and that no text holds.
  """

  def __init__(self, definition: str, end: str | None = None):
    """Takes the JSON of a `tokenizers.Tokenizer`.

    Args:
      definition: JSON.
      end: the token that ends a document; None adds one, the last.

    Raises:
      ValueError: where the JSON is none, or has no such token.
    """
    from tokenizers import Tokenizer

    try:
      self._tokenizer = Tokenizer.from_str(definition)
    except Exception as error:  # The library raises bare exceptions.
      raise ValueError(
        f'data.bpe: not a definition of a tokenizer ({error}): train it again'
      ) from None
    self._tokenizer.encode_special_tokens = True  # A text that spells an end does not make one.
    self._tokenizer.no_padding()  # A published one may fill up or cut every text.
    self._tokenizer.no_truncation()
    self.definition = definition
    self.end_name = end
    self.digest = places.digest([definition, *([end] if end else [])])
    self.vocab = max(self._tokenizer.get_vocab().values(), default=-1) + 1
    if end is None:
      self.end, self.vocab = self.vocab, self.vocab + 1
    elif (number := self._tokenizer.token_to_id(end)) is None:
      raise ValueError(f'data.load_tokenizer: there is no token {end!r}: name the one for the end')
    else:
      self.end = number
    self.bytes = _bytes(json.loads(definition), self._tokenizer.get_vocab(), self.vocab)
    self.bytes[self.end] = 1

  def __getstate__(self) -> dict[str, Any]:
    return {'definition': self.definition, 'end': self.end_name}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__init__(state['definition'], state['end'])

  def encode(self, text: str) -> np.ndarray:
    """Returns integers [n], of the smallest type that holds them."""
    return self.encode_many([text])[0]

  def encode_many(self, texts: list[str]) -> list[np.ndarray]:
    """Returns the tokens of each text, on all cores; ValueError for a lone surrogate."""
    try:
      encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    except TypeError:  # What the library says to a lone surrogate.
      raise ValueError(
        'data.bpe: a text holds a lone surrogate and cannot be UTF-8: read it with errors="replace"'
      ) from None
    kind = smallest(self.vocab)
    return [np.array(each.ids, kind) for each in encoded]

  def token(self, text: str) -> int | None:
    """Returns the token that is spelled so as a whole, such as a marker; None without one."""
    return self._tokenizer.token_to_id(text)

  def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
    """Returns the text, ends left out; a torn character, as samples have them, becomes U+FFFD."""
    return self._tokenizer.decode([int(token) for token in tokens if token != self.end])

  @property
  def files(self) -> dict[str, bytes]:
    """What a run keeps, by name: `load_tokenizer` and other libraries read it."""
    return {'tokenizer.json': self.definition.encode()}


def bpe(source: 'sources.Source | str', vocab: int = 4096, *, key: str = 'text') -> Subwords:
  """Trains a byte-level byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909; byte-level as
  in GPT-2). The same texts give the same encoding.

  Args:
    source: the training texts only: the vocabulary must not know what is held out.
    vocab: tokens, the end of a document included; at least 257. A small corpus may give fewer.
    key: the text.

  Raises:
    ValueError: where `vocab` is below 257, or there is no text.

  >>> tokenizer = bpe('ab ab ab', vocab=258)
  >>> len(tokenizer.encode('ab')), tokenizer.decode(tokenizer.encode('ab'))
  (1, 'ab')
  """
  return _trained('bpe', source, vocab, key)


def unigram(source: 'sources.Source | str', vocab: int = 4096, *, key: str = 'text') -> Subwords:
  """Trains a byte-level unigram model (Kudo 2018, arXiv:1804.10959).

  Arguments and errors are those of `bpe`. Training sums over threads, so another number of them may
  round otherwise; what was trained is kept, and with a run.
  """
  return _trained('unigram', source, vocab, key)


def _trained(
  kind: Literal['bpe', 'unigram'], source: 'sources.Source | str', vocab: int, key: str
) -> Subwords:
  if vocab < _ALPHABET + 1:
    raise ValueError(
      f'data.{kind}: vocab must be at least {_ALPHABET + 1} (every byte and the end), got {vocab}: '
      'use data.Bytes() for 256'
    )
  texts = [source] if isinstance(source, str) else list(sources.column(source, key))
  if not any(texts):
    raise ValueError(f'data.{kind}: the texts are empty: bring some text to learn from')
  import tokenizers

  name = f'{kind}-{vocab}-{tokenizers.__version__}-{places.digest(texts)}.json'
  return Subwords(places.cached(name, lambda: _train(texts, vocab, kind)).decode())


def _train(texts: list[str], vocab: int, kind: Literal['bpe', 'unigram'] = 'bpe') -> bytes:
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

  make: Any = {
    'bpe': (models.BPE, trainers.BpeTrainer), 'unigram': (models.Unigram, trainers.UnigramTrainer)
  }[kind]  # fmt: skip
  tokenizer: Any = Tokenizer(make[0]())
  # Without a space put before a text: it would be a byte that the text does not hold.
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = decoders.ByteLevel()
  trainer = make[1](
    # The end is ours: as a token of the library it would be found inside texts.
    vocab_size=vocab - 1,
    initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    show_progress=False,
  )
  tokenizer.train_from_iterator(texts, trainer)
  return tokenizer.to_str().encode()


def _bytes(definition: dict[str, Any], tokens: dict[str, int], vocab: int) -> np.ndarray:
  """Returns how many bytes of text each token stands for, float32 [vocab]; special ones for 0."""
  by_byte = '"ByteLevel"' in json.dumps(definition.get('decoder'))  # Written a character a byte.
  special = {each['content'] for each in definition.get('added_tokens') or [] if each['special']}
  sizes = np.zeros(vocab, np.float32)
  for token, number in tokens.items():
    if token not in special:
      sizes[number] = len(token) if by_byte else size(token.removeprefix('##'))
  return sizes


def size(piece: str) -> int:
  """Returns the bytes of text that a piece of SentencePiece's kind stands for."""
  return 1 if _BYTE.fullmatch(piece) else len(piece.replace('\u2581', ' ').encode())
