"""Subwords: byte-level byte-pair encoding, trained and run by Hugging Face's tokenizers.

Byte-level: any text can be encoded and decoded without loss, and each token stands for a known
number of bytes, so bits per byte are exact. Training is deterministic, and kept under a digest of
the texts it saw.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigtrain.data import places, sources
from bigtrain.data.alphabets import smallest

_ALPHABET = 256  # Every byte is a token of its own.


class Subwords:
  """A trained byte-level byte-pair encoding. The last token ends a document, and no text holds
  it."""

  def __init__(self, definition: str):
    """Takes the JSON of a `tokenizers.Tokenizer` that maps each byte to a character, as GPT-2 does.

    Raises:
      ValueError: where the JSON is none.
    """
    from tokenizers import Tokenizer

    try:
      self._tokenizer = Tokenizer.from_str(definition)
    except Exception as error:  # The library raises bare exceptions.
      raise ValueError(
        f'data.bpe: not a definition of a tokenizer ({error}): train it again'
      ) from None
    self.definition = definition
    self.digest = places.digest([definition])
    self.end = self._tokenizer.get_vocab_size()
    self.vocab = self.end + 1
    self.bytes = np.ones(self.vocab, np.float32)
    for token, number in self._tokenizer.get_vocab().items():
      self.bytes[number] = len(token)  # A byte-level token is written with one character a byte.

  def __getstate__(self) -> dict[str, Any]:
    return {'definition': self.definition}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__init__(state['definition'])

  def encode(self, text: str) -> np.ndarray:
    """Returns integers [n], of the smallest type that holds them."""
    return self.encode_many([text])[0]

  def encode_many(self, texts: list[str]) -> list[np.ndarray]:
    """Returns the tokens of each text, on all cores."""
    try:
      encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    except TypeError:  # What the library says to a lone surrogate.
      raise ValueError(
        'data.bpe: a text holds a lone surrogate and cannot be UTF-8: read it with errors="replace"'
      ) from None
    kind = smallest(self.vocab)
    return [np.array(each.ids, kind) for each in encoded]

  def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
    """Returns the text, ends left out; a torn character, as samples have them, becomes U+FFFD."""
    return self._tokenizer.decode([int(token) for token in tokens if token != self.end])


def bpe(source: 'sources.Source | str', vocab: int = 4096, *, key: str = 'text') -> Subwords:
  """Trains a byte-level byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909; byte-level as
  in GPT-2).

  Args:
    source: the training texts only: the vocabulary must not know what is held out.
    vocab: tokens, the end of a document included; at least 257. A small corpus may give fewer.
    key: the text.

  Raises:
    ValueError: where `vocab` is below 257, or there is no text.
  """
  if vocab < _ALPHABET + 1:
    raise ValueError(
      f'data.bpe: vocab must be at least {_ALPHABET + 1} (every byte and the end), got {vocab}: '
      'use data.Bytes() for 256'
    )
  texts = [source] if isinstance(source, str) else list(sources.column(source, key))
  if not any(texts):
    raise ValueError('data.bpe: the texts are empty: bring some text to learn from')
  import tokenizers

  name = f'bpe-{vocab}-{tokenizers.__version__}-{places.digest(texts)}.json'
  return Subwords(places.cached(name, lambda: _train(texts, vocab)).decode())


def _train(texts: list[str], vocab: int) -> bytes:
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

  tokenizer: Any = Tokenizer(models.BPE())
  # Without a space put before a text: it would be a byte that the text does not hold.
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(  # pyright: ignore[reportCallIssue]
    # The end is ours: as a token of the library it would be found inside texts.
    vocab_size=vocab - 1,
    initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    show_progress=False,
  )
  tokenizer.train_from_iterator(texts, trainer)
  return tokenizer.to_str().encode()
