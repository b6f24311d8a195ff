"""Contamination: training texts that quote an evaluation set.

An n-gram is n words in a row, in lower case and without punctuation (Brown et al. 2020,
arXiv:2005.14165, appendix C). Texts are compared by 64-bit hashes of their n-grams, made for a
whole batch of texts at once: two different n-grams share one about once in 10^19 pairs.
Chinese, Japanese and Thai do not part their words by spaces: there each character is a word.
"""

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bigtrain.data import sources

_LEAST = 8  # Words of an n-gram below which a match says nothing (appendix C).
_BATCH = 256
_EXAMPLES = 5
_LOWER = bytes.maketrans(
  string.ascii_uppercase.encode() + bytes(range(28, 32)), string.ascii_lowercase.encode() + b' ' * 4
)
_NO_WORD = bytes(i for i in range(128) if not chr(i).isalnum() and not chr(i).isspace())
_UNSPACED = re.compile(
  '([\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])'
)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_LETTERS = np.random.Generator(np.random.Philox(key=[0, 0])).integers(0, 2**64, 256, np.uint64)


def drop_contaminated(
  train: sources.Source,
  evaluation: sources.Source | Sequence[str],
  n: int = 13,
  *,
  key: str = 'text',
  cut: int | None = None,
  common: int = 10,
) -> Any:
  """Drops, or cuts out of, training texts what shares an n-gram with an evaluation set.

  An evaluation text shorter than n words counts as one n-gram of its own, down to 8 words; still
  shorter ones match by chance and are only counted, under 'too_short'.

  Args:
    train: records with a text under `key`.
    evaluation: records with a text under `key`, or texts (questions and answers, as they are shown
      to the model).
    n: words in a row, at least 8.
    key: the text.
    cut: None drops the record. A number cuts out the n-gram and as many characters on either side
      (GPT-3: 200), and a piece left with fewer characters than that is dropped; the pieces are
      joined by a blank line. A record in more than 10 pieces is dropped.
    common: an n-gram in more training records than this is a common phrase and no quotation, and
      is ignored (GPT-3: 10); 0 ignores none.

  Returns:
    A source of the records left, with a report under `about['contamination']`: 'records', 'kept',
    'contaminated', 'cut', 'common' (n-grams ignored), 'too_short', 'ngrams', 'n', and 'examples' of
    training record and n-gram. It is in memory where `cut` is given.

  Raises:
    ValueError: for an n below 8, a record without a text under `key`, an evaluation set without one
      text of 8 words, or where nothing is left.
  """
  place = 'data.drop_contaminated'
  if n < _LEAST:
    raise ValueError(f'{place}: n must be at least {_LEAST}, got {n}: fewer words meet by chance')
  if cut is not None and cut < 0:
    raise ValueError(f'{place}: cut must not be negative, got {cut}: use None to drop records')
  wanted, short = _wanted(place, evaluation, n, key)
  # Matches are few, so they are kept; the n-grams of the training data are not.
  found: dict[int, list[tuple[int, int, int]]] = {}  # Record: (n-gram, first word, words).
  records_of: dict[int, set[int]] = {}
  for start, texts in batches(place, train, key):
    words, counts = word_hashes([normal_words(text) for text in texts])
    for length, grams in wanted.items():
      hashed, ends = ngrams(words, counts, length)
      for at in np.flatnonzero(np.isin(hashed, grams)):
        row = int(np.searchsorted(ends, at, 'right'))
        first = int(at - (ends[row - 1] if row else 0))
        found.setdefault(start + row, []).append((int(hashed[at]), first, length))
        records_of.setdefault(int(hashed[at]), set()).add(start + row)
  ignored = {gram for gram, where in records_of.items() if common and len(where) > common}
  quotes = {
    record: kept
    for record, matches in sorted(found.items())
    if (kept := [match[1:] for match in matches if match[0] not in ignored])
  }
  report: dict[str, Any] = {
    'records': len(train), 'contaminated': len(quotes), 'n': n, 'common': len(ignored),
    'too_short': short, 'ngrams': sum(map(len, wanted.values())),
    'examples': [
      _example(as_text(place, key, train[i][key]), i, *quotes[i][0])
      for i in list(quotes)[:_EXAMPLES]
    ],
  }  # fmt: skip
  rewritten = {} if cut is None else _cut_all(train, key, quotes, cut)
  left = np.array([i for i in range(len(train)) if i not in quotes or rewritten.get(i)], np.int64)
  if not len(left):
    raise ValueError(
      f'{place}: all {len(train)} training records quote the evaluation set: bring other ones'
    )
  report |= {'kept': len(left), 'cut': sum(map(bool, rewritten.values()))}
  kept = sources.select(train, left)
  if report['cut']:
    kept = sources.in_memory(kept)
    texts = [rewritten.get(int(i), text) for i, text in zip(left, kept.column(key), strict=True)]
    kept = sources.Arrays({**kept.columns, key: texts}, kept.about)
  return sources.with_report(kept, 'contamination', report)


def batches(place: str, source: Any, key: str) -> Iterator[tuple[int, list[str]]]:
  """Yields (number of the first record, texts under `key`), 256 records at a time.

  Raises:
    ValueError: by `place`, for an empty source, or where a record has no text under `key`.
  """
  if len(source) == 0:
    raise ValueError(f'{place}: a source holds no record: check its path, split or filter')
  for start in range(0, len(source), _BATCH):
    indices = np.arange(start, min(start + _BATCH, len(source)))
    yield start, [as_text(place, key, value) for value in values(place, source, key, indices)]


def values(place: str, source: Any, key: str | None, indices: np.ndarray) -> Sequence[Any]:
  """Returns one key of records [M], or all where it is None; ValueError by `place` without it."""
  got = sources.fetch(source, indices)
  if key is None:
    rows = range(len(indices))
    return [{k: v[i] for k, v in got.items()} for i in rows] if isinstance(got, dict) else got
  try:
    return got[key] if isinstance(got, dict) else [record[key] for record in got]
  except KeyError:
    known = ', '.join(sorted(got if isinstance(got, dict) else got[0]))
    raise ValueError(f'{place}: the records have no key {key!r}: use one of {known}') from None


def as_text(place: str, key: str, value: Any) -> str:
  """Returns a text, bytes as UTF-8; ValueError by `place` where it is none."""
  value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
  if isinstance(value, bytes):
    return value.decode('utf-8', 'replace')
  if not isinstance(value, str):
    raise ValueError(f'{place}: {key!r} is {type(value).__name__}, not a text: name another key')
  return value


def normal_words(text: str) -> bytes:
  """Returns the words of a text, each in lower case and without punctuation, joined by spaces."""
  if text.isascii():
    return b' '.join(text.encode().translate(_LOWER, _NO_WORD).split())
  text = unicodedata.normalize('NFKC', text).casefold()
  text = _UNSPACED.sub(r' \1 ', re.sub(r'[^\w\s]|_', '', text))
  return ' '.join(text.split()).encode('utf-8', 'surrogatepass')


def word_hashes(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
  """Hashes words, the same in every process.

  Args:
    texts: B texts as `normal_words` returns them.

  Returns:
    uint64 hashes of all words in order, and how many words each text has, int64 [B].
  """
  counts = np.array([text.count(b' ') + 1 if text else 0 for text in texts], np.int64)
  raw = np.frombuffer(b' '.join(text for text in texts if text) + b' ', np.uint8)
  if not counts.any():
    return np.empty(0, np.uint64), counts
  ends = np.flatnonzero(raw == 32)
  begins = np.concatenate([[0], ends[:-1] + 1])
  inside = np.arange(len(raw)) - np.repeat(begins, ends - begins + 1)
  powers = np.full(int(inside.max()) + 1, _FACTOR, np.uint64)
  powers = np.multiply.accumulate(powers)
  return _mixed(np.add.reduceat(_LETTERS[raw] * powers[inside], begins)), counts


def ngrams(words: np.ndarray, counts: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
  """Hashes n words in a row, never across two texts.

  Args:
    words: hashes of the words of B texts, as `word_hashes` returns them.
    counts: words in each text, [B].
    n: at least 1.

  Returns:
    uint64 hashes of all n-grams in order, and where those of each text end, int64 [B]; a text of
    fewer than n words has none.
  """
  ends = np.cumsum(np.maximum(counts - n + 1, 0))
  if len(words) < n:
    return np.empty(0, np.uint64), ends
  hashed = words[: len(words) - n + 1].copy()
  for j in range(1, n):
    hashed *= _FACTOR
    hashed += words[j : len(words) - n + 1 + j]
  # An n-gram that begins among the last n - 1 words of a text would end in the next.
  whole = np.arange(len(words)) + n <= np.repeat(np.cumsum(counts), counts)
  return _mixed(hashed[whole[: len(hashed)]]), ends


def shingles(texts: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the n-grams of B texts as `ngrams` does; short texts have some too.

  Each text begins with n - 1 words more, so that one word makes an n-gram.
  """
  plain = [normal_words(text) for text in texts]
  words, counts = word_hashes([b'_ ' * (n - 1) + text if text else b'' for text in plain])
  return ngrams(words, counts, n)


def signatures(texts: Sequence[str], n: int, permutations: int) -> np.ndarray:
  """Returns MinHash signatures of the n-grams of texts, uint16 [B, permutations].

  The low bits of each minimum tell as much (Li and Koenig 2010, b-bit minwise hashing).
  """
  import rensa

  hashed, ends = shingles(texts, n)
  begins = np.concatenate([[0], ends]).astype(np.uint64)
  minimum: Any = vars(rensa)['RMinHash']  # The extension comes without types.
  matrix = minimum.digest_matrix_from_flat_token_hashes(hashed, begins, permutations, 0)
  return np.array(matrix.to_rows(), np.uint32).astype(np.uint16)


def _mixed(hashed: np.ndarray) -> np.ndarray:
  """Returns hashes whose bits all hang on all bits."""
  for _ in range(2):
    hashed = (hashed ^ (hashed >> np.uint64(32))) * _MIX
  return hashed ^ (hashed >> np.uint64(32))


def _wanted(place: str, evaluation: Any, n: int, key: str) -> tuple[dict[int, np.ndarray], int]:
  """Returns the n-grams of the evaluation set by length, and how many texts were too short."""
  if len(evaluation) and isinstance(evaluation[0], str):
    evaluation = sources.Arrays({key: evaluation})
  found: dict[int, list[np.ndarray]] = {}
  short = 0
  for _, texts in batches(place, evaluation, key):
    words, counts = word_hashes([normal_words(text) for text in texts])
    short += int((counts < _LEAST).sum())
    found.setdefault(n, []).append(ngrams(words, counts, n)[0])
    first = np.cumsum(counts) - counts
    for length in np.unique(counts[(counts >= _LEAST) & (counts < n)]):
      for begin in first[counts == length]:
        whole = ngrams(words[begin : begin + length], np.array([length]), int(length))[0]
        found.setdefault(int(length), []).append(whole)
  wanted = {length: np.unique(np.concatenate(grams)) for length, grams in found.items()}
  if not any(map(len, wanted.values())):
    raise ValueError(
      f'{place}: no text of the evaluation set under {key!r} has {_LEAST} words: name the key that '
      'holds the question or the passage'
    )
  return wanted, short


def _spans(text: str) -> list[tuple[int, int]]:
  """Returns where each word of `normal_words` stands in the text."""
  spans = []
  for found in re.finditer(r'\S+', text):
    # One stretch without spaces may hold no word (a dash), or many (Chinese).
    spans += [found.span()] * len(normal_words(found[0]).split())
  return spans


def _example(text: str, index: int, first: int, length: int) -> dict[str, Any]:
  spans = _spans(text)
  return {'record': index, 'ngram': text[spans[first][0] : spans[first + length - 1][1]][:200]}


def _cut_all(
  train: Any, key: str, quotes: dict[int, list[tuple[int, int]]], cut: int
) -> dict[int, str]:
  """Returns what is left of each quoting record; an empty text where it is to be dropped."""
  left = {}
  for index, matches in quotes.items():
    text = as_text('', key, train[index][key])
    spans = _spans(text)
    pieces, start = [], 0
    for low, high in sorted(
      (spans[first][0] - cut, spans[first + length - 1][1] + cut) for first, length in matches
    ):
      if low > start:
        pieces.append(text[start:low])
      start = max(start, high)
    pieces.append(text[start:])
    kept = [piece for piece in pieces if piece.strip() and len(piece) >= cut]
    left[index] = '' if len(pieces) > 10 else '\n\n'.join(kept)
  return left
