"""Published rules of repetition in text, as a step of cleaning; and what its neighbours share.

A line, paragraph or n-gram is a duplicate where it stood before; its first time does not count.
"""

import functools
import re
from typing import Any

import numpy as np

from bigtrain.data.cleaning import Drop, Step
from bigtrain.data.text_cleaning import text_of

Record = dict[str, Any]
Limit = float | None

_PARAGRAPH = re.compile(r'\n\s*\n')


def gopher_repetition(
  *,
  max_lines: Limit = 0.3,
  max_paragraphs: Limit = 0.3,
  max_line_characters: Limit = 0.2,
  max_paragraph_characters: Limit = 0.2,
  max_top_2: Limit = 0.2,
  max_top_3: Limit = 0.18,
  max_top_4: Limit = 0.16,
  max_duplicate_5: Limit = 0.15,
  max_duplicate_6: Limit = 0.14,
  max_duplicate_7: Limit = 0.13,
  max_duplicate_8: Limit = 0.12,
  max_duplicate_9: Limit = 0.11,
  max_duplicate_10: Limit = 0.1,
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
    max_duplicate_5: share of characters in duplicate 5-grams, each character counted once.
    max_duplicate_6: of 6-grams.
    max_duplicate_7: of 7-grams.
    max_duplicate_8: of 8-grams.
    max_duplicate_9: of 9-grams.
    max_duplicate_10: of 10-grams.
    key: the text.
  """
  return functools.partial(_gopher_repetition, **locals())


def _gopher_repetition(record: Record, *, key: str, **limits: Limit) -> Record | Drop:
  text = text_of(record, key, 'gopher_repetition')
  measured = {}
  for name, parts in (('line', text.split('\n')), ('paragraph', _PARAGRAPH.split(text))):
    share, characters = duplicates(parts)
    measured |= {f'max_{name}s': share, f'max_{name}_characters': characters}
  dropped = judged(record, measured, limits)
  if isinstance(dropped, Drop):
    return dropped  # Before what takes longest.
  return judged(record, _repeated_grams(text.split()), limits)


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


def filled(parts: list[str]) -> list[str]:
  """Returns what holds more than white space, stripped."""
  return [part for part in map(str.strip, parts) if part]


def duplicates(parts: list[str]) -> tuple[float, float]:
  """Returns the shares of parts, and of their characters, that stood before."""
  parts = filled(parts)
  if not parts:
    return 0.0, 0.0
  first, total = set(parts), sum(map(len, parts))
  return 1 - len(first) / len(parts), 1 - sum(map(len, first)) / total


def judged(
  record: Record, measured: dict[str, float], limits: dict[str, Limit], *, reached: bool = False
) -> Record | Drop:
  """Returns the record, or the first limit that it breaks; one reached is broken where asked."""
  for name, value in measured.items():
    if (limit := limits[name]) is not None:
      beyond = limit - value if name.startswith('min_') else value - limit
      if beyond > 0 or (reached and beyond == 0):
        return Drop(name)
  return record
