"""A damaged record counts for nothing, moves no other, and too many of them stop the run."""

import dataclasses

import numpy as np
import pytest
import toys

from bigtrain import data
from bigtrain.program import Program
from bigtrain.train import fit


class Damaged(toys.Records):
  """Records of which some cannot be read."""

  def __init__(self, *records, damaged):
    super().__init__(*records)
    self.damaged = damaged

  def __getitem__(self, index):
    if index in self.damaged:
      raise OSError(f'cannot decode {index}\nand more')
    return super().__getitem__(index)


def numbered(count, damaged):
  return Damaged(*({'x': np.float32(i)} for i in range(count)), damaged=damaged)


@pytest.mark.parametrize('damaged', [{5}, {0, 1, 7}])
@pytest.mark.parametrize('make', [data.forever, data.once])
def test_others_keep_their_place_and_their_weight(make, damaged):
  skipping = data.skip_damaged(numbered(10, damaged), 0.3)
  whole = make(numbered(10, ()), 4)
  for step in range(3):
    got, want = make(skipping, 4)[step], whole[step]
    intact = ~np.isin(want['x'], list(damaged))
    np.testing.assert_array_equal(got['x'][intact], want['x'][intact])
    np.testing.assert_array_equal(got['weight'], intact * want.get('weight', 1))
    assert not set(got['x']) & damaged
  assert set(skipping.skipped) == damaged
  assert all(why.startswith('OSError: cannot decode') for why in skipping.skipped.values())


def test_an_error_without_words_is_one_too():
  class Silent(toys.Records):
    def __getitem__(self, index):
      if index == 1:
        raise OSError
      return super().__getitem__(index)

  silent = Silent({'x': 1.0}, {'x': 2.0})
  assert data.once(data.skip_damaged(silent, 0.5), 2)[0]['weight'].tolist() == [1, 0]


def test_a_record_of_another_shape_is_damaged():
  skipping = data.skip_damaged(toys.Records({'x': np.zeros(2)}, {'x': np.zeros(3)}), 0.5)
  assert data.once(skipping, 2)[0]['weight'].tolist() == [1, 0]
  assert 'shape (3,)' in skipping.skipped[1]


def test_one_too_many_is_a_clear_stop():
  skipping = data.skip_damaged(numbered(10, {2, 3, 4}), 0.2)
  batches = data.once(skipping, 2)
  assert batches[1]['weight'].tolist() == [0, 0]
  assert batches[1]['weight'].tolist() == [0, 0]  # Met again, not counted again.
  with pytest.raises(ValueError, match=r'3 of 10 records .* most=0.2; the first was 2 .OSError'):
    batches[2]


def test_training_is_as_if_the_damaged_record_had_no_weight():
  toy = toys.experiment(steps=12, batch_norm=False)
  rows = [toys.source()[i] for i in range(50)]
  weighed = [{**row, 'weight': np.float32(i not in (3, 9))} for i, row in enumerate(rows)]
  sources = data.skip_damaged(Damaged(*rows, damaged={3, 9}), 0.1), toys.Records(*weighed)
  ends = []
  for source in sources:
    batches = dataclasses.replace(toy.data, source=source)
    ends.append(fit(Program(dataclasses.replace(toy, data=batches)), progress=False).results)
  assert ends[0] == ends[1]


BAD = {
  'share': (lambda: data.skip_damaged(numbered(3, ()), 1.5), 'most must lie in .0, 1., got 1.5'),
  'empty': (lambda: data.skip_damaged(toys.Records(), 0.1), 'no record'),
  'weight': (lambda: data.skip_damaged(toys.Records({'weight': 1.0}), 0.1), 'rename it'),
  'all': (lambda: data.skip_damaged(numbered(3, {0, 1, 2}), 0.5), '2 of 3 records are damaged'),
}


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  with pytest.raises(ValueError, match=words):
    do()


def test_the_end_of_a_source_is_no_damage():
  with pytest.raises(IndexError):
    data.skip_damaged(numbered(3, ()), 0.5)[3]
