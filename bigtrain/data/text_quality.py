"""Published rules of text quality, as steps of cleaning with the papers' thresholds as defaults.

They were made for English web pages, and drop most source code. The reason of a drop is the keyword
whose rule the text broke, so that a ledger says which threshold to look at; None leaves a rule out.
Conventions where the papers give none: words are what stands between white space, lines are counted
where they hold more than white space, and shares of characters leave white space out. A line,
paragraph or n-gram is a duplicate where it stood before; its first time does not count.
"""

import functools
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from bigtrain.data.cleaning import Drop, Step
from bigtrain.data.text_cleaning import text_of

Record = dict[str, Any]

_END_MARKS = ('.', '!', '?', '"', '”')
_PUNCTUATION = (*_END_MARKS, '…', "'", '’', '。', '！', '？')
_SENTENCE_END = re.compile(r'[.!?]["”’\')\]]*(?=\s|\Z)')
_CITATION = re.compile(r'\[\d*\]|\[edit\]|\[citation needed\]')
_POLICIES = ('terms of use', 'privacy policy', 'cookie policy')
_POLICIES = (*_POLICIES, 'uses cookies', 'use of cookies', 'use cookies')
_BULLETS = ('•', '‣', '◦', '▪', '■', '●', '·', '-', '*')
_ELLIPSES = ('...', '…')
_STOP_WORDS = ('the', 'be', 'to', 'of', 'and', 'that', 'have', 'with')
_NOT_LETTERS = bytes(c for c in range(128) if not (chr(c).isalpha() or chr(c).isspace()))
_NO_LETTER = re.compile(r'[^\w\s]|[\d_]')
_PARAGRAPH = re.compile(r'\n\s*\n')
_LIMIT = float | None


def c4_quality(
  *,
  min_sentences: int | None = 3,
  min_line_words: int | None = 5,
  end_marks: bool | None = True,
  javascript: bool | None = True,
  policies: bool | None = True,
  citations: bool | None = True,
  lorem_ipsum: bool | None = True,
  curly_bracket: bool | None = True,
  bad_words: Collection[str] | None = None,
  key: str = 'text',
) -> Step:
  """Returns a step with the rules of C4 (Raffel et al. 2020, section 2.2), as published.

  The first five change the text line by line, the others drop it. The paper's rules of language
  (probability 0.99) and of repeated spans of three sentences are steps of their own.

  Args:
    min_sentences: a text with fewer, of what lines stay, is dropped. (The first preprint had 5
      sentences and 3 words.)
    min_line_words: lines with fewer words go.
    end_marks: lines that end in no full stop, exclamation mark, question mark or closing quotation
      mark go; so do lines that end in three dots, as in the paper's own code.
    javascript: lines with the word "javascript" go.
    policies: lines with one of "terms of use", "privacy policy", "cookie policy", "uses cookies",
      "use of cookies", "use cookies" go.
    citations: marks as in Wikipedia ([1], [edit], [citation needed]) go.
    lorem_ipsum: a text that holds these words is dropped.
    curly_bracket: a text that holds "{" is dropped.
    bad_words: a text that holds one of them, as a word of its own, is dropped. The paper's list is
      not shipped.
    key: the text.
  """
  rules = dict(locals())
  words = rules.pop('bad_words')
  pattern = '|'.join(map(re.escape, sorted(words))) if words else None
  rules['bad_words'] = re.compile(rf'\b(?:{pattern})\b') if pattern else None
  return functools.partial(_c4_quality, **rules)


def _c4_quality(record: Record, *, key: str, **rules: Any) -> Record | Drop:
  text = text_of(record, key, 'c4_quality')
  lower = text.lower()
  if rules['lorem_ipsum'] and 'lorem ipsum' in lower:
    return Drop('lorem_ipsum')
  if rules['curly_bracket'] and '{' in text:
    return Drop('curly_bracket')
  if rules['bad_words'] and rules['bad_words'].search(lower):
    return Drop('bad_words')
  unwanted = (('javascript',) if rules['javascript'] else ()) + (
    _POLICIES if rules['policies'] else ()
  )
  unwanted = [each for each in unwanted if each in lower]
  marked = rules['citations'] and '[' in text
  fewest = rules['min_line_words'] or 0
  stay = []
  for line in text.split('\n'):
    line = _CITATION.sub('', line).strip() if marked else line.strip()
    if rules['end_marks'] and (not line.endswith(_END_MARKS) or line.endswith(_ELLIPSES)):
      continue
    if len(line.split(None, fewest)) < fewest:
      continue
    if unwanted and any(each in line.lower() for each in unwanted):
      continue
    stay.append(line)
  left = '\n'.join(stay)
  if (rules['min_sentences'] or 0) > len(_SENTENCE_END.findall(left)):
    return Drop('min_sentences')
  return {**record, key: left}


def gopher_quality(
  *,
  min_words: _LIMIT = 50,
  max_words: _LIMIT = 100_000,
  min_word_length: _LIMIT = 3,
  max_word_length: _LIMIT = 10,
  max_hashes: _LIMIT = 0.1,
  max_ellipses: _LIMIT = 0.1,
  max_bullet_lines: _LIMIT = 0.9,
  max_ellipsis_lines: _LIMIT = 0.3,
  min_alphabetic: _LIMIT = 0.8,
  min_stop_words: _LIMIT = 2,
  key: str = 'text',
) -> Step:
  """Returns a step with Gopher's rules of quality (Rae et al. 2021, appendix A1.1).

  Args:
    min_words: a text with fewer words is dropped.
    max_words: a text with more words is dropped.
    min_word_length: of the mean length of its words, in characters.
    max_word_length: of the same.
    max_hashes: of "#" for each word.
    max_ellipses: of "..." and "…" for each word.
    max_bullet_lines: share of lines that begin with a bullet (also "-" and "*", as text has them).
    max_ellipsis_lines: share of lines that end in an ellipsis.
    min_alphabetic: share of words with at least one letter.
    min_stop_words: how many of "the, be, to, of, and, that, have, with" must occur.
    key: the text.
  """
  return functools.partial(_gopher_quality, **locals())


def _gopher_quality(record: Record, *, key: str, **limits: _LIMIT) -> Record | Drop:
  text = text_of(record, key, 'gopher_quality')
  words = text.split()
  lines = [line for line in map(str.strip, text.split('\n')) if line]
  count, rows = max(1, len(words)), max(1, len(lines))
  length = sum(map(len, words)) / count
  ellipses = sum(map(text.count, _ELLIPSES))
  measured = {
    'min_words': len(words),
    'max_words': len(words),
    'min_word_length': length,
    'max_word_length': length,
    'max_hashes': text.count('#') / count,
    'max_ellipses': ellipses / count,
    'max_bullet_lines': sum(line.startswith(_BULLETS) for line in lines) / rows,
    'max_ellipsis_lines': ellipses and sum(line.endswith(_ELLIPSES) for line in lines) / rows,
    'min_alphabetic': _alphabetic(text) / count,
    'min_stop_words': len(set(_STOP_WORDS).intersection(text.lower().split())),
  }
  return _judged(record, measured, limits)


def _alphabetic(text: str) -> int:
  """Returns how many words hold a letter."""
  if text.isascii():
    return len(text.encode().translate(None, _NOT_LETTERS).decode().split())
  return len(_NO_LETTER.sub('', text).split())


def gopher_repetition(
  *,
  max_lines: _LIMIT = 0.3,
  max_paragraphs: _LIMIT = 0.3,
  max_line_characters: _LIMIT = 0.2,
  max_paragraph_characters: _LIMIT = 0.2,
  max_top_2: _LIMIT = 0.2,
  max_top_3: _LIMIT = 0.18,
  max_top_4: _LIMIT = 0.16,
  max_duplicate_5: _LIMIT = 0.15,
  max_duplicate_6: _LIMIT = 0.14,
  max_duplicate_7: _LIMIT = 0.13,
  max_duplicate_8: _LIMIT = 0.12,
  max_duplicate_9: _LIMIT = 0.11,
  max_duplicate_10: _LIMIT = 0.1,
  key: str = 'text',
) -> Step:
  """Returns a step with Gopher's rules of repetition (Rae et al. 2021, appendix A1.1, table A1).

  Args:
    max_lines: share of lines that are duplicates.
    max_paragraphs: share of paragraphs that are duplicates.
    max_line_characters: share of characters in duplicate lines.
    max_paragraph_characters: share of characters in duplicate paragraphs.
    max_top_2: share of characters in the most frequent 2-gram of words, each time it stands; one
      that stands once is no repetition.
    max_top_3: of 3-grams.
    max_top_4: of 4-grams.
    max_duplicate_5: share of characters in duplicate 5-grams, each character counted once; the
      others up to max_duplicate_10 likewise.
    key: the text.
  """
  return functools.partial(_gopher_repetition, **locals())


def _gopher_repetition(record: Record, *, key: str, **limits: _LIMIT) -> Record | Drop:
  text = text_of(record, key, 'gopher_repetition')
  measured = {}
  for name, parts in (('line', text.split('\n')), ('paragraph', _PARAGRAPH.split(text))):
    share, characters = _duplicates(parts)
    measured |= {f'max_{name}s': share, f'max_{name}_characters': characters}
  dropped = _judged(record, measured, limits)
  if isinstance(dropped, Drop):
    return dropped  # Before what takes longest.
  return _judged(record, _repeated_grams(text.split()), limits)


def _duplicates(parts: list[str]) -> tuple[float, float]:
  """Returns the shares of parts, and of their characters, that stood before."""
  parts = [part for part in map(str.strip, parts) if part]
  if not parts:
    return 0.0, 0.0
  first, total = set(parts), sum(map(len, parts))
  return 1 - len(first) / len(parts), 1 - sum(map(len, first)) / total


def _repeated_grams(words: list[str]) -> dict[str, float]:
  """Returns the shares of characters in repeated n-grams of words, for n from 2 to 10."""
  number = {}
  kinds = np.fromiter((number.setdefault(each, len(number)) for each in words), np.int64)
  size = np.fromiter(map(len, words), np.int64)
  before = np.concatenate([[0], np.cumsum(size)])  # Characters before each word.
  total = max(1, int(before[-1]))
  # `kinds` tells grams apart by where they begin. An n-gram can only come again where both
  # (n-1)-grams in it do, so all others become -1, and few places are left soon.
  kinds = np.where(np.bincount(kinds)[kinds] > 1, kinds, -1) if words else kinds
  measured = {}
  for n in range(2, 11):
    places = np.flatnonzero((kinds[:-1] >= 0) & (kinds[1:] >= 0))
    grams = kinds[places] * (len(words) + 1) + kinds[places + 1]
    _, first, kind, counts = np.unique(
      grams, return_index=True, return_inverse=True, return_counts=True
    )
    again = counts[kind] > 1
    name, share = f'max_top_{n}', 0.0
    if n > 4:
      name = f'max_duplicate_{n}'
      later = places[first[kind] != np.arange(len(places))]
      steps = np.bincount(later, minlength=len(words) + 1)
      steps = steps - np.bincount(later + n, minlength=len(words) + 1)
      share = size[np.cumsum(steps)[:-1] > 0].sum() / total
    elif again.any():
      most = places[first[counts == counts.max()]]  # Of equally frequent ones, the longest.
      share = counts.max() * (before[most + n] - before[most]).max() / total
    measured[name] = share
    kinds = np.full(len(kinds) - 1 if len(kinds) else 0, -1)
    kinds[places[again]] = kind[again]
  return measured


def fineweb_quality(
  *,
  min_punctuated: _LIMIT = 0.12,
  max_duplicate_characters: _LIMIT = 0.1,
  max_short_lines: _LIMIT = 0.67,
  short: int = 30,
  key: str = 'text',
) -> Step:
  """Returns a step with the rules that FineWeb adds to C4's and Gopher's (Penedo et al. 2024,
  section 3.6). A text that just reaches a threshold is dropped too.

  Args:
    min_punctuated: share of lines that end in punctuation.
    max_duplicate_characters: share of characters in duplicate lines. (0.01 in its code.)
    max_short_lines: share of lines of fewer than `short` characters.
    short: characters.
    key: the text.
  """
  return functools.partial(_fineweb_quality, **locals())


def _fineweb_quality(record: Record, *, key: str, short: int, **limits: _LIMIT) -> Record | Drop:
  lines = text_of(record, key, 'fineweb_quality').split('\n')
  lines = [line for line in map(str.strip, lines) if line]
  rows = max(1, len(lines))
  least, most, shortest = (limits[name] for name in limits)
  if least is not None and sum(line.endswith(_PUNCTUATION) for line in lines) / rows <= least:
    return Drop('min_punctuated')
  if most is not None and _duplicates(lines)[1] >= most:
    return Drop('max_duplicate_characters')
  if shortest is not None and sum(len(line) < short for line in lines) / rows >= shortest:
    return Drop('max_short_lines')
  return record


def _judged(record: Record, measured: dict[str, float], limits: dict[str, _LIMIT]) -> Record | Drop:
  for name, value in measured.items():
    limit = limits[name]
    if limit is not None and (value < limit if name.startswith('min_') else value > limit):
      return Drop(name)
  return record
