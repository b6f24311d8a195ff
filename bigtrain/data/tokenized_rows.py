"""Texts as rows of tokens of one length, for models that read a text as a whole."""

from typing import Any

import numpy as np

from bigtrain.data import packing, sources
from bigtrain.data.alphabets import Tokenizer


def token_rows(
  source: Any,
  length: int,
  tokenizer: Tokenizer,
  *,
  begin: int | None = None,
  pad: int = 0,
  key: str = 'text',
) -> sources.Arrays:
  """Returns a source whose texts are rows of tokens; a long text is cut, a short one is filled up.

  Args:
    source: Columns in memory, with a text under `key`.
    length: Tokens of a row, L.
    tokenizer: Its end, where it has one, stands behind every text, also one that is cut.
    begin: The token before every text (BERT's [CLS]); None is none.
    pad: The token that fills up.
    key: The text, whose place the tokens take.

  Returns:
    'tokens' int32 [L], and every other column. `about['cut']` is the share of texts that are cut.

  Raises:
    ValueError: where a row has no room for a text.
  """
  around = (begin is not None) + (tokenizer.end is not None)
  if length <= around:
    raise ValueError(f'data.token_rows: length must be above {around}, got {length}')
  texts = packing.texts('data.token_rows', source, key)
  many = getattr(tokenizer, 'encode_many', None)
  encoded = many(texts) if many else [tokenizer.encode(text) for text in texts]
  rows_NL = np.full((len(texts), length), pad, np.int32)
  for row, tokens in zip(rows_NL, encoded, strict=True):
    ids = [begin] if begin is not None else []
    ids += tokens[: length - around].tolist()
    ids += [tokenizer.end] if tokenizer.end is not None else []
    row[: len(ids)] = ids
  columns = {name: column for name, column in source.columns.items() if name != key}
  cut = float(np.mean([len(tokens) > length - around for tokens in encoded]))
  about = {**source.about, 'vocab': tokenizer.vocab, 'cut': round(cut, 3)}
  return sources.Arrays({'tokens': rows_NL, **columns}, about)
