"""Documents packed into rows: several in one row, none of which sees another.

`pack` lays documents end to end and lets attention run over their borders. Here a row says which
document each place belongs to (`segment_ids`), and no target belongs to another document than its
input. Letters: B rows, L places of a row.
"""

import bisect
from typing import Literal

import numpy as np

from bigtrain.data import packing, records, sources
from bigtrain.data.alphabets import Bytes, Tokenizer


class Documents(packing.Tokenized):
  """Rows of documents; made by `pack_documents`.

  In memory are the tokens, at 1, 2 or 4 bytes each, and 16 bytes for each piece: a document, or
  what a row holds of one that was cut.

  Attributes:
    document: the number of the document of each piece, int32 [pieces]; pieces stand in the order of
      the rows, in a row from left to right, and those of one document in its order.
    fill: the share of all places that hold a target; the others are padding.
  """

  def __init__(
    self,
    tokens: np.ndarray,
    length: int,
    tokenizer: Tokenizer,
    pieces: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    about: dict,
    weights: np.ndarray | None = None,
  ):
    """Keeps `pieces`: for each its row, its document, and its first and number of pairs of input
    and target on the line of tokens; and, where not every target counts, the weight of each
    token."""
    row, document, start, count = pieces
    self.tokens, self.length, self.tokenizer = tokens, length, tokenizer
    self.document = document.astype(np.int32)
    self._start, self._count = start.astype(np.int64), count.astype(np.int32)
    self._first = np.searchsorted(row, np.arange(row[-1] + 2))  # Piece that each row begins with.
    self._bytes = None if (tokenizer.bytes == 1).all() else tokenizer.bytes
    self._weights = weights
    self.fill = float(count.sum() / (len(self) * length))
    whole = np.bincount(np.bincount(document))[1:2].sum()
    self.about = {**about, 'rows': len(self), 'fill': self.fill, 'documents_whole': int(whole)}

  def __len__(self) -> int:
    return len(self._first) - 1

  def __getitem__(self, index: int) -> records.Record:
    if not -len(self) <= index < len(self):
      raise IndexError(f'data.pack_documents: row {index} of {len(self)}')
    return {key: values[0] for key, values in self.__getitems__(np.array([index])).items()}

  def __getitems__(self, indices: np.ndarray) -> records.Columns:
    indices = np.asarray(indices) % len(self)
    rows, length = len(indices), self.length
    first = self._first[indices]
    pieces = self._first[indices + 1] - first
    row = np.repeat(np.arange(rows), pieces)
    piece = first[row] + _along(pieces)
    count = self._count[piece]
    place = _along(count)
    token = np.repeat(self._start[piece], count) + place
    # Pieces fill a row from the left, so a place is its rank among the places of the row.
    filled = np.bincount(row, count, rows).astype(np.int64)
    where = np.repeat(np.arange(rows) * length, filled) + _along(filled)
    values = {
      'inputs': self.tokens[token],
      'targets': self.tokens[token + 1],
      'segment_ids': np.repeat(piece - first[row] + 1, count),
      'positions': place,
    }
    batch = {}
    for key, value in values.items():
      batch[key] = np.zeros((rows, length), np.int32)
      batch[key].reshape(-1)[where] = value
    batch['token_weight'] = (batch['segment_ids'] > 0).astype(np.float32)
    if self._weights is not None:
      batch['token_weight'].reshape(-1)[where] = self._weights[token + 1]
    if self._bytes is not None:
      batch['bytes'] = self._bytes[batch['targets']] * batch['token_weight']
    return batch


def pack_documents(
  source: sources.Source,
  length: int,
  tokenizer: Tokenizer | None = None,
  *,
  method: Literal['concat', 'best_fit'] = 'concat',
  key: str = 'text',
) -> Documents:
  """Returns rows of whole documents and pieces of them that do not see each other.

  A document is read from an end, which its first token is predicted from, to the end that follows
  it: every token of it and its end are targets once. (A tokenizer without an end leaves out the
  first token of each document, which nothing predicts.) A piece that goes on with a document begins
  with the last token of the piece before as its first input, and sees no more of it.

  Args:
    source: records with a text under `key`.
    length: places of a row.
    tokenizer: None takes `Bytes()`.
    method: 'concat' fills row after row and cuts a document wherever a row ends; only the last row
      has padding. 'best_fit' cuts only documents longer than a row, and puts the pieces, longest
      first, each into the fullest row that has room for it (Ding et al. 2024, 'Fewer truncations
      improve language modeling', section 3): more documents in one piece, a little padding.
    key: the text.

  Returns:
    A source of [length]: 'inputs', 'targets', 'segment_ids' and 'positions', all int32, and
    'token_weight' float32. Segments of a row count from 1; padding is 0 in every key. Positions
    count from 0 in each segment. Also 'bytes' float32, the bytes of text that each target stands
    for, unless that is one for every token. `fill` and `about` tell how full the rows are.

  Raises:
    ValueError: for another method, a length below 1, or texts that hold no target.
  """
  tokenizer = tokenizer or Bytes()
  if method not in PACKING:
    raise ValueError(
      f'data.pack_documents: method must be one of {", ".join(PACKING)}, got {method!r}'
    )
  if length < 1:
    raise ValueError(f'data.pack_documents: length must be at least 1, got {length}')
  texts = packing.texts('data.pack_documents', source, key)
  tokens = packing.line(texts, tokenizer)
  start, count = _pairs(texts, tokens, tokenizer)
  if not count.sum():
    raise ValueError(
      f'data.pack_documents: the {len(texts)} texts hold no target: bring longer texts'
    )
  pieces = PACKING[method](start, count, length)
  about = {**getattr(source, 'about', {}), 'tokens': len(tokens), 'vocab': tokenizer.vocab}
  return Documents(tokens, length, tokenizer, pieces, {**about, 'documents': len(texts)})


def _pairs(
  texts: list[str], tokens: np.ndarray, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
  """Returns where on the line the pairs of each document begin, and how many there are."""
  ended = tokenizer.end is not None
  ends = np.flatnonzero(tokens == tokenizer.end) if ended else np.empty(0, np.int64)
  if len(ends) == len(texts) + 1:
    return ends[:-1], np.diff(ends)
  # No ends, or a text holds one too (byte 0): counted anew.
  sizes = np.array([len(tokenizer.encode(text)) for text in texts], np.int64) + ended
  return np.cumsum(sizes) - sizes, np.maximum(sizes - (not ended), 0)


def _concat(
  start: np.ndarray, count: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Cuts the documents, laid end to end, at each row's end."""
  ends = np.cumsum(count)
  begins = ends - count
  cuts = np.union1d(np.append(begins, ends[-1]), np.arange(0, ends[-1], length))
  # Of documents that begin at one place, all but the last are empty.
  document = np.searchsorted(begins, cuts[:-1], 'right') - 1
  return (
    cuts[:-1] // length,
    document,
    start[document] + cuts[:-1] - begins[document],
    np.diff(cuts),
  )


def _best_fit(
  start: np.ndarray, count: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Cuts long documents into rows, and packs all pieces by best-fit decreasing."""
  number = -(-count // length)
  document = np.repeat(np.arange(len(count)), number)
  nth = _along(number)
  begin = start[document] + nth * length
  size = np.minimum(count[document] - nth * length, length)
  order = np.argsort(-size, kind='stable')
  row = np.empty(len(size), np.int64)
  full = int((size == length).sum())
  row[order[:full]] = np.arange(full)
  rows = full
  room: dict[int, list[int]] = {}  # Rows by the places that are free in them.
  frees: list[int] = []  # Keys of `room`, ascending.
  for piece, need in zip(order[full:].tolist(), size[order[full:]].tolist(), strict=True):
    at = bisect.bisect_left(frees, need)
    if at < len(frees):
      free = frees[at]
      chosen = room[free].pop()
      if not room[free]:
        del room[free], frees[at]
    else:
      free, chosen = length, rows
      rows += 1
    row[piece] = chosen
    if left := free - need:
      if left not in room:
        room[left] = []
        bisect.insort(frees, left)
      room[left].append(chosen)
  by_row = np.argsort(row, kind='stable')
  return row[by_row], document[by_row], begin[by_row], size[by_row]


def _along(counts: np.ndarray) -> np.ndarray:
  """Returns 0, 1, ... counts[i] - 1 for each i, one after another."""
  counts = counts.astype(np.int64)
  return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


PACKING = {'concat': _concat, 'best_fit': _best_fit}
