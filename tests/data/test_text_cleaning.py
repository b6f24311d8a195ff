"""Steps over texts: each does what it names, on what it names, and leaves the rest."""

import ast
import collections
import re

import numpy as np
import pytest

from bigtrain import data
from bigtrain.data import text_cleaning, text_quality, text_repetition
from bigtrain.data.cleaning import Drop


def run(step, text):
  """Returns the text that a step leaves, or why it dropped it."""
  got = step({'text': text, 'other': 1})
  if isinstance(got, Drop):
    return got
  assert got['other'] == 1
  return got['text']


@pytest.fixture(scope='module')
def library():
  """A megabyte of the standard library's source."""
  texts, total = [], 0
  for text in data.column(data.stdlib(), 'text'):
    texts.append(text)
    total += len(text)
    if total > 1e6:
      return texts


def test_broken_unicode_is_repaired_as_ftfy_does():
  ftfy = pytest.importorskip('ftfy')
  step = text_cleaning.repair_unicode()
  rewriting = ('unescape_html', 'uncurl_quotes', 'fix_latin_ligatures', 'fix_character_width')
  plain = ftfy.TextFixerConfig(**dict.fromkeys(rewriting, False))
  broken = 'naïve café — “so”'
  wrong = broken.encode().decode('windows-1252', errors='ignore')
  assert run(step, 'x = "schÃ¶n"\n') == 'x = "schön"\n'
  for text in (
    'a\r\nb\rc\n',
    'e\u0301\n',
    '\x1b[1mbold\x1b[0m\x07',
    'a\u2028b',
    f'plain\n{wrong}\nplain',
    'tab\tand\fform feed\n',
    'cafÃ©\r\n\r\nplain',
  ):
    assert run(step, text) == ftfy.fix_text(text, plain)
  assert run(step, 'x = “ﬁ” &amp; １') == 'x = “ﬁ” &amp; １'
  assert run(text_cleaning.repair_unicode(prose=True), '“ﬁ” &amp; １') == '"fi" & 1'


LANGUAGES = {
  'en': 'The old man went down to the river every morning, and nobody knew what he looked for.',
  'de': 'Der alte Mann ging jeden Morgen zum Fluss hinunter, und niemand wusste, was er suchte.',
  'fr': "Le vieil homme descendait à la rivière, et personne ne savait ce qu'il y cherchait.",
  'ru': 'Старик каждое утро спускался к реке, и никто не знал, что он там ищет.',
}


@pytest.mark.parametrize('language', LANGUAGES)
def test_texts_in_other_languages_are_dropped(language):
  pytest.importorskip('py3langid')
  step = text_cleaning.keep_language(language)
  for other, text in LANGUAGES.items():
    expected = text if other == language else Drop(f'language is {other}')
    assert run(step, text) == expected
  assert run(step, '12 345 6789') == Drop('language is unsure')
  assert run(text_cleaning.keep_language(*LANGUAGES), LANGUAGES[language]) == LANGUAGES[language]
  # A long text is judged by three places in it.
  mixed = LANGUAGES['en'] * 15 + LANGUAGES['ru'] * 400 + LANGUAGES['en'] * 15
  assert run(text_cleaning.keep_language('en', characters=2000), mixed) != mixed


HEADERS = [
  ('# Copyright 2020 A. Person\n# Licensed to PSF.\n\nimport os\n', 'import os\n'),
  ('#!/bin/sh\n# Copyright (c) 2020 A\n\nls\n', '#!/bin/sh\nls\n'),
  (
    '# coding: utf-8\n# What it does.\n#\n# Copyright 2020 A\n#\n# How it does it.\nx = 1\n',
    '# coding: utf-8\n# What it does.\n#\n# How it does it.\nx = 1\n',
  ),
  ('// SPDX-License-Identifier: MIT\n#include <x.h>\n', '#include <x.h>\n'),
  ('/* Copyright A\n * All rights reserved. */\nint x;\n', 'int x;\n'),
  ('# What it does.\nx = 1  # Copyright\n', '# What it does.\nx = 1  # Copyright\n'),
  ('"""Copyright in a docstring."""\n', '"""Copyright in a docstring."""\n'),
  ('x = 1\n# Copyright\n', 'x = 1\n# Copyright\n'),
]


@pytest.mark.parametrize(('before', 'after'), HEADERS)
def test_a_licence_goes_and_the_rest_of_the_opening_stays(before, after):
  step = text_cleaning.remove_licence_header()
  assert run(step, before) == after
  assert run(step, after) == after


def test_comments_for_tools_go():
  step = text_cleaning.remove_boilerplate()
  text = '# -*- coding: utf-8 -*-\n# $Id: a.py 12 x $\n#{}\n# Why.\nx = 1\n# vim: set sw=2:\n'
  assert run(step, text.format('-' * 40)) == '# Why.\nx = 1\n'
  stays = '# step: 3\n# vimeo\nx = "# $Id$"\n# ----\n'
  assert run(step, stays) == stays


def test_source_means_the_same_without_its_boilerplate(library):
  steps = (
    text_cleaning.repair_unicode(),
    text_cleaning.remove_licence_header(),
    text_cleaning.remove_boilerplate(),
  )
  changed = 0
  for text in library:
    left = text
    for step in steps[not text.isascii() :]:
      left = str(run(step, left))
    if left != text:
      changed += 1
      assert ast.dump(ast.parse(left)) == ast.dump(ast.parse(text))
  assert changed > 5


def test_what_python_cannot_parse_is_dropped(library):
  step = text_cleaning.drop_unparsable()
  for text in library[:20]:
    assert run(step, text) == text
  for text in ('print "2"', 'x = (', 'x = "\0"', 'def f(:\n', '(' * 500 + ')' * 500):
    assert run(step, text) == Drop('Python cannot parse it')
  assert run(step, r'x = "\d"') == r'x = "\d"'  # Warns, and warnings are no fault.


B64 = 'Ab1/' * 10
MASKED = {
  'mail a.b+c@mail.example.org, please': 'mail <EMAIL>, please',
  '<x_y@uni-z.de>': '<<EMAIL>>',
  'call +49 30 1234567.': 'call <PHONE>.',
  '(212) 555-0123 or 212-555-0123': '<PHONE> or <PHONE>',
  '1-800-555-0199, +1 (212) 555 0123': '<PHONE>, <PHONE>',
  '"+442079460958"': '"<PHONE>"',
  'from 66.249.65.107 - GET': 'from <IP> - GET',
  'http://66.249.65.107:80/': 'http://<IP>:80/',
  'at 2a00:1450:4001:81b::200e now': 'at <IP> now',
  f'k = "AKIA{"Q7" * 8}"': 'k = "<KEY>"',
  f'token: ghp_{"a1B2" * 9}': 'token: <KEY>',
  f'aws_secret_access_key = "{B64}"': 'aws_secret_access_key = "<KEY>"',
  f'-----BEGIN RSA {"PRIVATE"} KEY-----\n{B64}\n-----END RSA PRIVATE KEY-----\nx': '<KEY>\nx',
  f'sk-{"aB3" * 16}': '<KEY>',
}
LEFT = [
  '@property\n@a.b.c\ndef f(): x @ y.z',
  'version 10.2.33.44, v10.2.33.44, pip install a==10.2.33.44, Chrome/41.0.227.12',
  '1.2.3.4 and 1.3.6.1.4.1.311, 300.1.1.10, a-1.20.3.40',
  '127.0.0.1 192.168.1.17 10.11.12.13 255.255.255.0',
  'x[2::2], a::b, 2020:10:11, 12:30:45, std::vector, 2001:db8::1',
  '+1.23456789 x+1-10000000 1e+10 +0200 2011 3+44 555 0123',
  '2020-10-11 1234567890 123-456-7890 31.12.2020 555-0123',
  'AKIA, task-force-of-many-words-that-goes-on-and-on-and-on, ghp_',
]


@pytest.mark.parametrize('before', MASKED)
def test_personal_data_is_masked(before):
  step = text_cleaning.mask_personal()
  assert run(step, before) == MASKED[before]
  assert run(step, MASKED[before]) == MASKED[before]
  assert run(text_cleaning.mask_personal(kinds=[]), before) == before


@pytest.mark.parametrize('text', LEFT)
def test_what_only_looks_personal_is_left(text):
  assert run(text_cleaning.mask_personal(), text) == text


def test_masking_takes_time_in_proportion_to_the_text():
  step = text_cleaning.mask_personal()
  for piece in (
    '1',
    '+1',
    '1.',
    'a@',
    '@a.',
    '2001:',
    '+1 ',
    '-----BEGIN PRIVATE KEY-----',
    'sk-a',
  ):
    run(step, piece * 20_000)  # Hangs where a pattern backtracks.


PROSE = (
  'The {0} house of the river stands with its back to the hills, and people that have {0} been '
  'there say it is {0} quiet.'
)
WORDS = re.findall(
  r'\w+', 'red blue old new large small high low first last warm cold wet dry long'
)
GOOD = '\n'.join(PROSE.format(word) for word in WORDS[:4])

# What breaks a rule of which step: (step, its keyword, the text).
BROKEN = [
  ('c4_quality', 'min_sentences', 'One sentence stands here alone.\nAnother one comes after that.'),
  ('c4_quality', 'curly_bracket', f'{GOOD}\nif (x) {{ return; }}'),
  ('c4_quality', 'lorem_ipsum', f'{GOOD}\nLorem ipsum dolor sit amet.'),
  ('gopher_quality', 'min_words', 'the and of ' * 16 + 'the'),
  ('gopher_quality', 'max_words', 'the and of ' * 33_334),
  ('gopher_quality', 'min_word_length', 'a be to of ' * 20),
  ('gopher_quality', 'max_word_length', 'the and internationalization institutionalized ' * 20),
  ('gopher_quality', 'max_hashes', 'the and of #word then ' * 20),
  ('gopher_quality', 'max_ellipses', 'the and of word… then ' * 20),
  ('gopher_quality', 'max_bullet_lines', '• the and of these words\n' * 20),
  (
    'gopher_quality',
    'max_ellipsis_lines',
    'the and of many more words that have nothing at all to do…\n' * 20,
  ),
  ('gopher_quality', 'min_alphabetic', 'the and of words 1234 ' * 20 + '99999 ' * 10),
  ('gopher_quality', 'min_stop_words', 'the cat sees another cat ' * 20),
  ('fineweb_quality', 'min_punctuated', 'No line of this text ends in any mark at all\n' * 20),
  ('fineweb_quality', 'max_duplicate_characters', f'{GOOD}\n{GOOD}'),
  ('fineweb_quality', 'max_short_lines', '\n'.join(f'Short {word}.' for word in WORDS)),
]


@pytest.mark.parametrize(('step', 'rule', 'text'), BROKEN)
def test_a_rule_drops_what_breaks_it_and_can_be_left_out(step, rule, text):
  make = getattr(data, step)
  assert run(make(), text) == Drop(rule)
  assert run(make(**{rule: None}), text) != Drop(rule)
  assert run(make(), GOOD) == GOOD


def test_c4_keeps_whole_lines_only():
  step = text_quality.c4_quality()
  kept = 'It holds here.[1] And there too![edit] Is it not so?'
  text = (
    f'{kept}\nfive words are just enough.\nMenu\nfour words are few.\nno mark at the end of it\n'
    'and it goes on and on...\n'
    'please turn on Javascript to read this.\nwe like to say this site uses cookies.'
  )
  left = 'It holds here. And there too! Is it not so?\nfive words are just enough.'
  assert run(step, text) == left
  bad = text_quality.c4_quality(bad_words=['holds'])
  assert run(bad, text) == Drop('bad_words')
  assert run(text_quality.c4_quality(bad_words=['hold']), text) == run(step, text)


def shares(text):
  """Returns Gopher's shares, word by word: slow, and as the paper words them."""
  words = text.split()
  total = sum(map(len, words))
  found = {}
  for n in range(2, 11):
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = collections.Counter(grams)
    if n < 5:
      best = max(counts.values(), default=0)
      sizes = [sum(map(len, gram)) for gram, count in counts.items() if count == best]
      found[f'max_top_{n}'] = best * max(sizes) / total if best > 1 else 0
    else:
      covered, seen = set(), set()
      for i, gram in enumerate(grams):
        covered |= set(range(i, i + n)) if gram in seen else set()
        seen.add(gram)
      found[f'max_duplicate_{n}'] = sum(len(words[i]) for i in covered) / total
  return found


@pytest.mark.parametrize('kinds', [1, 2, 3, 8, 60])
@pytest.mark.parametrize('length', [1, 2, 9, 11, 200])
def test_repeated_grams_are_counted_as_one_by_one(kinds, length):
  rng = np.random.default_rng(kinds * length)
  words = ['w' * (1 + i % 5) + str(i) for i in range(kinds)]
  text = ' '.join(rng.choice(words, length)) + ' ' + ' '.join(words)
  got = text_repetition._repeated_grams(text.split())
  expected = shares(text)
  assert got.keys() == expected.keys()
  assert np.allclose([got[name] for name in expected], list(expected.values()))


def test_repetition_is_dropped_by_the_papers_thresholds():
  step = text_repetition.gopher_repetition()
  defaults = {name: limit for name, limit in step.keywords.items() if name != 'key'}
  # Table A1: lines, paragraphs, their characters; top 2- to 4-grams; duplicate 5- to 10-grams.
  table = [0.3, 0.3, 0.2, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
  assert list(defaults.values()) == table
  unlike = [f'{a} {b} {c}' for a, b, c in zip(WORDS, WORDS[5:], WORDS[9:], strict=False)]
  assert run(step, '\n'.join(unlike)) == '\n'.join(unlike)
  assert run(step, '') == ''
  # Short lines come again, so their number tells before their characters do.
  short = [f'{line} and quite some more of {i}' for i, line in enumerate(unlike)]
  assert run(step, '\n'.join([*short, *['x'] * 6])) == Drop('max_lines')
  text = 'a b\n' + 'long ' * 30 + '\nc d\ne f\ng h\n' + 'long ' * 30
  assert run(step, text) == Drop('max_line_characters')
  assert run(step, ' '.join(['to and'] * 9 + WORDS)) == Drop('max_top_2')
  again, between = ' '.join(WORDS[:12]), ' '.join(f'm{i}' for i in range(70))
  assert run(step, f'{again} {between} {again}') == Drop('max_duplicate_5')
