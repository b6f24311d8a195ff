"""Records that cannot be read, when cleaning and when one key is asked for."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import check_sentence

from bigtrain import data


class Damaged:
  """Some records raise an error, and those that are read are noted."""

  def __init__(self, count=10, damaged=(3, 7)):
    self.count, self.damaged, self.read = count, damaged, []
    self.about = {'name': 'damaged', 'digest': 'abc', 'documents': count, 'bytes': 5}

  def __len__(self):
    return self.count

  def __getitem__(self, index):
    self.read.append(int(index))
    if index in self.damaged:
      raise OSError(f'picture-{index}.png\nis cut')
    return {'text': f'Text {index}', 'image': np.full((2, 2), index)}


def lower_even(record):
  if record['image'][0, 0] % 2:
    return data.Drop('odd')
  return {**record, 'text': record['text'].lower()}


@pytest.mark.parametrize('workers', [None, 1])
def test_unreadable_records_are_counted_by_number_and_reason(workers):
  got = data.clean(Damaged(), lower_even, unreadable='drop', workers=workers)
  assert [got[i]['text'] for i in range(len(got))] == [f'text {i}' for i in range(0, 10, 2)]
  assert got.unreadable == {3: 'OSError: picture-3.png is cut', 7: 'OSError: picture-7.png is cut'}
  ledger = got.ledger
  assert ledger.steps == ('read', 'lower_even')
  assert ledger.counts['read', 'dropped', 'unreadable'] == 2
  assert ledger.examples['read', 'dropped', 'unreadable'][1] == (7, got.unreadable[7], '')
  assert ledger.totals['seen'] == 10
  assert ledger.totals['kept'] == 5
  assert data.Ledger.from_dict(ledger.to_dict()) == ledger
  assert '20 %' in str(ledger)
  assert '30 %' in str(ledger)


def test_an_unreadable_record_stops_unless_told_otherwise():
  check_sentence(
    lambda: data.clean(Damaged(), lower_even), ['record 3', 'OSError', "unreadable='drop'"], 'data.'
  )
  check_sentence(
    lambda: data.clean(Damaged(2, (0, 1)), lower_even, unreadable='drop'),
    ['all 2 records', 'picture-0.png'],
    'data.clean',
  )
  wrong: Any = 'skip'
  check_sentence(
    lambda: data.clean(Damaged(), unreadable=wrong), ['error or drop', 'skip'], 'data.clean'
  )


def test_a_cut_picture_of_a_folder_is_dropped(tmp_path):
  (tmp_path / 'a').mkdir()
  for name in 'xyz':
    Image.new('RGB', (9, 9)).save(tmp_path / 'a' / f'{name}.png')
  path = tmp_path / 'a' / 'y.png'
  path.write_bytes(path.read_bytes()[:40])
  got = data.clean(data.image_folder(tmp_path), unreadable='drop')
  assert len(got) == 2
  assert 'y.png' in got.unreadable[1]


def test_what_a_cleaned_source_says_of_itself_is_about_what_is_left():
  source = Damaged(damaged=())
  same, some = data.clean(source), data.clean(source, lower_even)
  facts = {key: value for key, value in same.about.items() if key != 'cleaning'}
  assert facts == source.about
  assert some.about['documents'] == 5
  assert 'bytes' not in some.about
  assert some.about['digest'] == data.clean(source, lower_even).about['digest']

  def only(record):  # The same records are left, of another content.
    return data.Drop('odd') if record['image'][0, 0] % 2 else record

  digests = {each.about['digest'] for each in (same, some, data.clean(source, only))}
  assert len(digests) == 3


def test_one_key_of_a_selection_reads_the_selection_alone():
  source = Damaged(damaged=(0, 1))
  for chosen in (
    data.select(source, np.array([8, 4])),
    data.select(data.select(source, np.array([4, 5, 8])), np.array([2, 0])),
    data.mix({'a': data.select(source, np.array([8])), 'b': data.select(source, np.array([4]))}),
  ):
    source.read.clear()
    assert data.column(chosen, 'image')[:, 0, 0].tolist() == [8, 4]
    assert set(source.read) == {8, 4}
