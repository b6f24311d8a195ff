"""Packing: texts become windows of tokens, all of one length."""

import numpy as np

from bigtrain.data import places, records, sources
from bigtrain.data.alphabets import Bytes, Tokenizer, smallest

_SLOW = 2**20  # Tokens; below this, encoding anew is as fast as reading what was kept.


class Tokenized:
  """What sources of tokens share."""

  tokenizer: Tokenizer

  @property
  def vocab(self) -> int:
    """How many different tokens there are."""
    return self.tokenizer.vocab

  @property
  def files(self) -> dict[str, bytes]:
    """What a run keeps beside its record, by name: the tokenizer, where it was learned."""
    return getattr(self.tokenizer, 'files', {})


class Windows(Tokenized):
  """Windows over one line of tokens; record i predicts the tokens i * stride + 1 to i * stride +
  length.

  All tokens are kept in memory as one array of the smallest type: 1, 2 or 4 bytes a token.
  """

  def __init__(
    self, tokens: np.ndarray, length: int, stride: int, tokenizer: Tokenizer, about: dict
  ):
    self.tokens = tokens
    self.length = length
    self.stride = stride
    self.tokenizer = tokenizer
    self.about = about
    self._windows = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::stride]
    self._bytes = None if (tokenizer.bytes == 1).all() else tokenizer.bytes

  def __len__(self) -> int:
    return len(self._windows)

  def __getitem__(self, index: int) -> records.Record:
    return {key: values[0] for key, values in self.__getitems__(np.array([index])).items()}

  def __getitems__(self, indices: np.ndarray) -> records.Columns:
    windows = self._windows[indices]
    batch = {'inputs': windows[:, :-1].astype(np.int32), 'targets': windows[:, 1:].astype(np.int32)}
    if self._bytes is not None:
      batch['bytes'] = self._bytes[batch['targets']]
    return batch


def pack(
  source: sources.Source,
  length: int,
  tokenizer: Tokenizer | None = None,
  *,
  stride: int | None = None,
  key: str = 'text',
) -> Windows:
  """Returns windows of tokens over the documents of a source, laid end to end.

  The line of tokens is: end, document, end, document, ..., end, so that the first token of a
  document is predicted from an end and its end is predicted too. (A tokenizer without an end joins
  the documents with nothing between.) Windows overlap by the one token that is the last target of
  one and the first input of the next, so each token is a target once; up to `length` - 1 tokens at
  the very end fill no window and are left out.

  Args:
    source: records with a text under `key`.
    length: tokens of context.
    tokenizer: None takes `Bytes()`.
    stride: tokens between the beginnings of windows. None takes `length`: each token once an epoch.
      1 gives windows at any offset, `length` times as many, as nanoGPT samples them.
    key: the text.

  Returns:
    A source of 'inputs' int32 [length] and 'targets' int32 [length]; also 'bytes' float32 [length],
    the bytes of text that each target stands for, unless that is one for every token.

  Raises:
    ValueError: where the texts fill no window, or length or stride are below 1.
  """
  tokenizer = tokenizer or Bytes()
  stride = length if stride is None else stride
  if length < 1 or stride < 1:
    raise ValueError(
      f'data.pack: length and stride must be at least 1, got length={length}, stride={stride}'
    )
  tokens = line(texts('data.pack', source, key), tokenizer)
  if len(tokens) <= length:
    raise ValueError(
      f'data.pack: the texts give {len(tokens)} tokens, and one window takes {length + 1}: '
      'lower length, or bring more text'
    )
  about = {**getattr(source, 'about', {}), 'tokens': len(tokens), 'vocab': tokenizer.vocab}
  return Windows(tokens, length, stride, tokenizer, about)


def texts(place: str, source: sources.Source, key: str) -> list[str]:
  """Returns the texts under `key`; ValueError where it holds something else."""
  found = list(sources.column(source, key))
  if found and not isinstance(found[0], str):
    raise ValueError(
      f'{place}: {key!r} holds {type(found[0]).__name__}, not text: name the key that holds text'
    )
  return found


def line(documents: list[str], tokenizer: Tokenizer) -> np.ndarray:
  """Returns the documents laid end to end, [N], in the smallest type that holds every token."""
  kind = smallest(tokenizer.vocab)

  def encode() -> np.ndarray:
    many = getattr(tokenizer, 'encode_many', None)
    encoded = (
      many(documents) if many is not None else [tokenizer.encode(text) for text in documents]
    )
    if tokenizer.end is None:
      return np.concatenate(encoded).astype(kind)
    end = np.array([tokenizer.end], kind)
    return np.concatenate([end, *(part for tokens in encoded for part in (tokens, end))]).astype(
      kind
    )

  own = getattr(tokenizer, 'digest', None)
  if own is None or sum(map(len, documents)) < _SLOW:
    return encode()
  # Only tokenisers that take seconds name a digest; what they made is kept.
  name = f'tokens-{own}-{places.digest(documents)}'
  little = np.dtype(kind).newbyteorder('<')
  kept = places.cached(name, lambda: encode().astype(little).tobytes())
  return np.frombuffer(kept, little).astype(kind, copy=False)
