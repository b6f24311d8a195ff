"""Published rules of text quality, as steps of cleaning with the papers' thresholds as defaults.

They were made for English web pages, and drop most source code. The reason of a drop is the keyword
whose rule the text broke, so that a ledger says which threshold to look at; None leaves a rule out.
Conventions where the papers give none: words are what stands between white space, lines are counted
where they hold more than white space, and shares of characters leave white space out.
"""

import functools
import re
from collections.abc import Collection
from typing import Any

from bigtrain.data.cleaning import Drop, Step
from bigtrain.data.text_cleaning import text_of
from bigtrain.data.text_repetition import Limit, duplicates, filled, judged

Record = dict[str, Any]

_END_MARKS = ('.', '!', '?', '"', '”')
_PUNCTUATION = (*_END_MARKS, '…', "'", '’', '。', '！', '？')
_SENTENCE_END = re.compile(r'[.!?]["”’\')\]]*(?=\s|\Z)')
_CITATION = re.compile(r'\[\d*\]|\[edit\]|\[citation needed\]')
_COOKIES = ('cookie policy', 'uses cookies', 'use of cookies', 'use cookies')
_POLICIES = ('terms of use', 'privacy policy', *_COOKIES)
_BULLETS = ('•', '‣', '◦', '▪', '■', '●', '·', '-', '*')
_ELLIPSES = ('...', '…')
_STOP_WORDS = ('the', 'be', 'to', 'of', 'and', 'that', 'have', 'with')
_NOT_LETTERS = bytes(c for c in range(128) if not (chr(c).isalpha() or chr(c).isspace()))
_NO_LETTER = re.compile(r'[^\w\s]|[\d_]')


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
  min_words: Limit = 50,
  max_words: Limit = 100_000,
  min_word_length: Limit = 3,
  max_word_length: Limit = 10,
  max_hashes: Limit = 0.1,
  max_ellipses: Limit = 0.1,
  max_bullet_lines: Limit = 0.9,
  max_ellipsis_lines: Limit = 0.3,
  min_alphabetic: Limit = 0.8,
  min_stop_words: Limit = 2,
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


def _gopher_quality(record: Record, *, key: str, **limits: Limit) -> Record | Drop:
  text = text_of(record, key, 'gopher_quality')
  words = text.split()
  lines = filled(text.split('\n'))
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
  return judged(record, measured, limits)


def _alphabetic(text: str) -> int:
  """Returns how many words hold a letter."""
  if text.isascii():
    return len(text.encode().translate(None, _NOT_LETTERS).decode().split())
  return len(_NO_LETTER.sub('', text).split())


def fineweb_quality(
  *,
  min_punctuated: Limit = 0.12,
  max_duplicate_characters: Limit = 0.1,
  max_short_lines: Limit = 0.67,
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


def _fineweb_quality(record: Record, *, key: str, short: int, **limits: Limit) -> Record | Drop:
  lines = filled(text_of(record, key, 'fineweb_quality').split('\n'))
  rows = max(1, len(lines))
  measured = {
    'min_punctuated': sum(line.endswith(_PUNCTUATION) for line in lines) / rows,
    'max_duplicate_characters': duplicates(lines)[1],
    'max_short_lines': sum(len(line) < short for line in lines) / rows,
  }
  return judged(record, measured, limits, reached=True)
