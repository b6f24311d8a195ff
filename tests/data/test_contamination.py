"""Training texts lose what quotes the evaluation set, and nothing else."""

import json
import re

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain import data
from bigtrain.data.contamination import drop_contaminated

QUOTE = 'It was the best of times, it was the worst of times - it'  # 13 words.


def source(*texts):
  return data.arrays(text=list(texts), id=np.arange(len(texts)))


def kept(train, evaluation, n=13, **more):
  return drop_contaminated(train, evaluation, n, **more).column('id').tolist()


def plain(text, n):
  words = re.sub(r'[^\w\s]|_', '', text.lower()).split()
  return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


SENTENCES = st.lists(st.sampled_from(['a', 'B', 'c.', '- D']), max_size=24).map(' '.join)


@settings(max_examples=60, deadline=None)
@given(st.lists(SENTENCES, min_size=1, max_size=6), st.lists(SENTENCES, min_size=1, max_size=4))
def test_what_goes_is_what_a_plain_search_finds(train, evaluation):
  wanted = set()
  for text in evaluation:
    words = len(re.sub(r'\W', ' ', text).split())
    wanted |= plain(text, min(9, words)) if words >= 8 else set()
  if not wanted:
    return
  lengths = {len(gram) for gram in wanted}
  clean = [
    i for i, text in enumerate(train) if not any(plain(text, length) & wanted for length in lengths)
  ]
  got = kept(source(*train, 'unlike it'), evaluation, 9, common=0)
  assert got == [*clean, len(train)]


def test_planted_quotations_in_real_text_are_found_and_nothing_else():
  texts = [text[:3000] for text in data.stdlib(clean=False).column('text') if len(text) > 6000]
  train, questions = texts[:200], [' '.join(text.split()[20:60]) for text in texts[200:230]]
  wanted = set().union(*(plain(question, 13) for question in questions))
  already = {i for i, text in enumerate(train) if plain(text, 13) & wanted}
  for i, question in enumerate(questions):
    middle = ' '.join(question.upper().split()[5:30])
    train[i * 6] = f'{train[i * 6][:1500]}\n"{middle}!"\n{train[i * 6][1500:]}'
  left = kept(source(*train), data.arrays(text=questions), common=0)
  assert set(range(200)) - set(left) == already | set(range(0, 180, 6))


def test_case_punctuation_and_lines_do_not_matter_but_words_do():
  train = source(
    f'He wrote: "{QUOTE.upper()}"',
    QUOTE.replace(' ', '\n\n'),
    QUOTE.replace('best', 'BEST,').replace(' - ', '\u2014 '),  # Not ASCII: another way of reading.
    QUOTE.replace('worst', 'very worst'),
    QUOTE.removesuffix(' it'),
    'nothing at all',
    QUOTE.replace('worst', 'trows'),
  )
  assert kept(train, [QUOTE]) == [3, 4, 5, 6]
  assert kept(train, [QUOTE], 12) == [3, 5, 6]


def test_quotations_do_not_reach_across_records():
  first, second = QUOTE[:30], QUOTE[30:]
  assert kept(source(first, second), [QUOTE]) == [0, 1]
  assert kept(source('x', QUOTE), [first, second, QUOTE]) == [0]
  assert kept(source(QUOTE), [first * 2, second * 2]) == [0]


def test_what_stands_everywhere_is_no_quotation():
  train = source(*[f'{i} {QUOTE} {i}' for i in range(11)], 'clean')
  got = drop_contaminated(train, [QUOTE])
  assert len(got) == 12
  assert got.about['contamination']['common'] == 1
  assert kept(train, [QUOTE], common=11) == [11]
  assert kept(train, [QUOTE], common=0) == [11]


def test_a_short_question_counts_whole_down_to_eight_words():
  nine, seven = 'who was the first person on the cold moon', 'who was the first on the moon'
  train = source(f'asked {nine}?', f'asked {seven}?', 'clean')
  got = drop_contaminated(train, [nine, seven])
  assert got.column('id').tolist() == [1, 2]
  assert got.about['contamination']['too_short'] == 1


def test_letters_without_spaces_are_words():
  text = '我们的征途是星辰大海，而不是眼前的苟且。'
  assert kept(source(f'他说过{text}然后走了', text[:10], 'clean'), [text]) == [1, 2]


def test_cutting_takes_the_quotation_and_a_margin():
  before, after = 'x' * 30 + ' \u2014 caf\u00e9\u00a0', ' ' + 'y' * 40
  train = source(before + QUOTE + after, 'clean', QUOTE)
  got = drop_contaminated(train, [QUOTE], cut=10)
  cut = [before[:-10] + '\n\n' + after[10:], 'clean']
  assert got.column('text').tolist() == cut
  assert got.column('id').tolist() == [0, 1]
  assert train.column('text')[0] == before + QUOTE + after
  report = json.loads(json.dumps(got.about['contamination']))
  assert {key: report[key] for key in ('records', 'contaminated', 'cut', 'kept', 'n')} == {
    'records': 3, 'contaminated': 2, 'cut': 1, 'kept': 2, 'n': 13,
  }  # fmt: skip
  assert report['examples'][0] == {'record': 0, 'ngram': QUOTE}
  # A piece shorter than the margin is dropped.
  assert drop_contaminated(train, [QUOTE], cut=35).column('text').tolist() == ['clean']
  exact = drop_contaminated(train, [QUOTE], cut=0)
  assert exact.column('text').tolist() == [before + '\n\n' + after, 'clean']


def test_a_text_in_shreds_is_dropped():
  few, many = (f' {QUOTE} '.join(f'part {i}' for i in range(count)) for count in (10, 11))
  got = drop_contaminated(source(few, many, 'clean'), [QUOTE], cut=0)
  assert got.column('id').tolist() == [0, 2]
  assert got.column('text')[0].count('part') == 10


BAD = {
  'n': (lambda: kept(source('a'), [QUOTE], 3), ['at least 8', 'got 3']),
  'cut': (lambda: kept(source('a'), [QUOTE], cut=-1), ['cut', '-1', 'None']),
  'short': (lambda: kept(source('a'), ['yes', 'no']), ['8 words', "'text'"]),
  'empty': (lambda: kept(data.select(source('a'), np.arange(0)), [QUOTE]), ['no record']),
  'none left': (lambda: kept(source(QUOTE), [QUOTE]), ['all 1 training']),
  'key': (lambda: kept(source('a'), [QUOTE], key='body'), ["'body'", 'id, text']),
  'number': (lambda: kept(source('a'), [QUOTE], key='id'), ["'id'", 'int']),
}


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  toys.check_sentence(do, words, r'data\.drop_contaminated: ')
