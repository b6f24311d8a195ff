"""Cleaning does what its steps say, and its ledger accounts for every record."""

import functools
import json
import operator
from typing import Any

import numpy as np
import pytest
import toys

from bigtrain import data
from bigtrain.data import cleaning, text_cleaning, text_quality
from bigtrain.data.cleaning import Drop, Ledger, clean, clean_records


def upper(record):
  return {**record, 'text': record['text'].upper()}


def upper_in_place(record):
  record['text'] = record['text'].upper()
  return record


def drop_odd(record):
  return Drop('odd') if record['number'] % 2 else record


def drop_long(record, limit):
  if len(record['text']) > limit:
    return Drop('empty' if limit < 0 else 'long')
  return record


def source(count=20):
  texts = ['x' * (i % 7) if i % 3 else 'X' for i in range(count)]
  return data.arrays(text=texts, number=np.arange(count))


class Lazy:
  """A source that is no arrays, and counts how often it is read."""

  def __init__(self, records):
    self.records, self.reads, self.about = records, 0, {'name': 'lazy'}

  def __len__(self):
    return len(self.records)

  def __getitem__(self, index):
    self.reads += 1
    return self.records[index]


STEPS = (upper, drop_odd, functools.partial(drop_long, limit=4))


@pytest.mark.parametrize('lazy', [False, True])
def test_what_is_left_is_what_the_steps_leave(lazy):
  raw = [dict(source()[i]) for i in range(20)]
  expected = [
    {**record, 'text': record['text'].upper()}
    for record in raw
    if record['number'] % 2 == 0 and len(record['text']) <= 4
  ]
  got = clean(Lazy(raw) if lazy else source(), *STEPS)
  assert len(got) == len(expected)
  assert [dict(got[i]) for i in range(len(got))] == expected
  assert list(data.column(got, 'text')) == [record['text'] for record in expected]
  assert [record['number'] for record in clean_records(raw, STEPS)] == [
    record['number'] for record in expected
  ]
  assert raw == [dict(source()[i]) for i in range(20)]  # Steps change records of their own.


def test_the_ledger_accounts_for_every_record_at_every_step():
  ledger = clean(source(), *STEPS).ledger
  expected_in = 20
  for step in ledger.steps:
    at = {key: count for key, count in ledger.counts.items() if key[0] == step}
    assert sum(at.values()) == expected_in
    expected_in -= sum(count for key, count in at.items() if key[1] == 'dropped')
  assert ledger.totals['seen'] == 20
  assert ledger.totals['kept'] == expected_in
  assert ledger.counts['drop_odd', 'dropped', 'odd'] == 10
  assert ledger.steps == ('upper', 'drop_odd', 'drop_long')


def test_changed_counts_what_ends_up_different():
  def lower(record):
    return {**record, 'text': record['text'].lower()}

  texts = data.arrays(text=['a', 'A', '1'])
  ledger = clean(texts, upper, lower).ledger
  assert ledger.counts['upper', 'changed', 'text'] == 1
  assert ledger.counts['lower', 'changed', 'text'] == 2
  assert ledger.totals['changed'] == 1  # Only 'A' is not what it was.
  assert ledger.totals['size'] == 3


def test_a_step_may_set_keys_of_its_record():
  records = [{'text': 'a'}, {'text': 'B'}]
  ledger = clean(Lazy(records), upper_in_place).ledger
  assert ledger.counts['upper_in_place', 'changed', 'text'] == 1
  assert records == [{'text': 'a'}, {'text': 'B'}]


def test_examples_show_where_a_text_changed():
  long = 'SAME\n' * 50
  ledger = clean(data.arrays(text=[f'{long}abc', 'ABC']), upper).ledger
  assert ledger.examples['upper', 'changed', 'text'] == [(0, 'abc', 'ABC')]
  assert ledger.examples['upper', 'kept', ''] == [(1, 'ABC', '')]
  many = clean(source(100), drop_odd).ledger
  assert [example[0] for example in many.examples['drop_odd', 'dropped', 'odd']] == [1, 3, 5]


@pytest.mark.parametrize('size', [1, 3, 7])
def test_ledgers_of_shards_add_up_to_the_ledger_of_the_whole(size, monkeypatch):
  whole = clean(source(), *STEPS).ledger
  records = [dict(source()[i]) for i in range(20)]
  parts = []
  for start in range(0, 20, size):
    part = Ledger()
    list(clean_records(records[start : start + size], STEPS, ledger=part, start=start))
    parts.append(part)
  for order in (parts, parts[::-1]):
    assert sum(order, Ledger()) == whole
  monkeypatch.setattr(cleaning, '_CHUNK', size)
  assert clean(source(), *STEPS).ledger == whole
  with pytest.raises(ValueError, match='clean all shards by the same'):
    _ = whole + clean(source(), upper).ledger


def test_a_ledger_survives_json_and_prints_each_reason():
  ledger = clean(source(), *STEPS).ledger
  assert Ledger.from_dict(json.loads(json.dumps(ledger.to_dict()))) == ledger
  lines = str(ledger).splitlines()
  assert len(lines) == 2 + len(ledger.counts)
  assert '20 seen' in lines[0]
  assert sum(line.split()[:4] == ['drop_odd', 'dropped', 'odd', '10'] for line in lines) == 1


def test_the_facts_of_a_source_stay_and_the_ledger_joins_them():
  got = clean(Lazy([{'text': 'a'}]), upper)
  assert got.about == {'name': 'lazy', 'cleaning': got.ledger.to_dict()}


def test_a_cleaned_source_goes_through_a_pipeline_and_a_split():
  got = clean(source(200), drop_odd)
  train, held_out = data.split_by_hash(got, 0.3, key='number')
  assert len(train) + len(held_out) == 100
  left = data.arrays(x=np.arange(9, dtype=np.float32))
  batches = data.once(clean(left, lambda record: {'x': record['x'] + 1}), 4)
  assert np.concatenate([batch['x'] for batch in batches])[:9].tolist() == list(range(1, 10))


def test_only_changed_records_are_kept_in_memory():
  lazy = Lazy([{'text': text} for text in ('A', 'b', 'C')])
  got = clean(lazy, upper)
  lazy.reads = 0
  assert [got[i]['text'] for i in range(3)] == ['A', 'B', 'C']
  assert lazy.reads == 2


def test_arrays_are_compared_by_value():
  pictures = data.arrays(image=np.zeros((3, 2, 2), np.uint8))
  ledger = clean(pictures, lambda r: {'image': r['image'] * 1}).ledger
  assert ledger.totals['changed'] == 0
  ledger = clean(pictures, lambda r: {'image': r['image'] + np.uint8(1)}).ledger
  assert ledger.counts['<lambda>', 'changed', 'image'] == 3


def test_streaming_reads_no_further_than_a_chunk(monkeypatch):
  monkeypatch.setattr(cleaning, '_CHUNK', 5)
  read = []

  def endless():
    for number in range(10**9):
      read.append(number)
      yield {'number': number, 'text': ''}

  stream = clean_records(endless(), [drop_odd])
  assert [next(stream)['number'] for _ in range(4)] == [0, 2, 4, 6]
  assert len(read) == 10


def test_a_name_that_comes_again_is_told_apart():
  named = functools.partial(drop_long, limit=9)
  setattr(named, 'name', 'short')  # noqa: B010
  steps = (upper, functools.partial(drop_long, limit=5), upper, named)
  assert clean(source(), *steps).ledger.steps == ('upper', 'drop_long', 'upper (3)', 'short')


def test_records_and_ledger_are_the_same_for_any_number_of_workers(monkeypatch):
  monkeypatch.setattr(cleaning, '_CHUNK', 8)
  texts = [f'# Copyright {i}\nx = {i}\n' if i % 2 else f'x = {i} ' * (i % 5) for i in range(50)]
  steps = (text_cleaning.remove_licence_header(), text_cleaning.drop_unparsable())
  here = clean(data.arrays(text=texts), *steps)
  there = clean(data.arrays(text=texts), *steps, workers=2)
  assert there.ledger == here.ledger
  assert there.ledger.to_dict() == here.ledger.to_dict()
  assert list(data.column(there, 'text')) == list(data.column(here, 'text'))
  assert 0 < here.ledger.totals['changed'] < len(here) < 50
  with pytest.raises(ValueError, match=r"step 'itemgetter' fails on record 0 .KeyError: 'gone'"):
    clean(data.arrays(text=texts), operator.itemgetter('gone'), workers=1)


def fails(record):
  raise KeyError('two\nlines') if record['number'] == 3 else StopIteration


LIST: Any = [upper]
NOTHING: Any = print

# What is done, and the words that the sentence must hold.
BAD = {
  'step fails': (lambda: clean(source(), lambda r: r['no']), ['<lambda>', 'record 0', "'no'"]),
  'step stops': (lambda: clean(source(), fails), ["'fails'", 'record 0', 'StopIteration']),
  'later shard': (
    lambda: list(clean_records([{'number': 3}], [fails], start=7)),
    ["'fails'", 'record 7', 'KeyError'],
  ),
  'returns nothing': (
    lambda: clean(source(), NOTHING),
    ["'print'", 'NoneType', 'record 0', 'Drop'],
  ),
  'no step': (lambda: clean(source(), LIST), ["'list'", 'not callable']),
  'nothing left': (
    lambda: clean(source(), drop_odd, functools.partial(drop_long, limit=-1)),
    ['all 20 records', 'drop_'],
  ),
  'empty': (lambda: clean(Lazy([]), upper), ['no record']),
  'lambda to workers': (
    lambda: clean(source(), lambda r: r, workers=2),
    ['<lambda>', 'top of a module', 'leave workers out'],
  ),
  'negative workers': (lambda: clean(source(), upper, workers=-1), ['workers', '-1']),
  'key without text': (
    lambda: clean(source(), text_cleaning.drop_unparsable(key='number')),
    ["'number'", 'not text', 'text, number'],
  ),
  'no such language': (lambda: text_cleaning.keep_language('english'), ["'english'", 'en, de']),
  'no language': (lambda: text_cleaning.keep_language(), ["keep_language('en')"]),
  'no such kind': (lambda: text_cleaning.mask_personal(kinds=['mail']), ["'mail'", 'email']),
  'quality of no text': (lambda: text_quality.c4_quality()({'x': 1}), ["'text'", 'use one of x']),
}


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  if 'language' in name:
    pytest.importorskip('py3langid')
  with pytest.raises(ValueError) as caught:  # noqa: PT011
    do()
  said = str(caught.value)
  assert [word for word in words if word not in said] == [], said
  assert said.startswith('data')
  assert '\n' not in said


def test_the_ledger_stays_with_what_is_chosen_from_a_cleaned_source():
  cleaned = data.clean(toys.Records({'text': 'a'}, {'text': 'b'}), lambda record: record)
  chosen = data.select(cleaned, np.array([1]))
  assert chosen[0] == {'text': 'b'}
  assert chosen.about['cleaning'] == cleaned.ledger.to_dict()
