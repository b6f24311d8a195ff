"""Records that training shares with an evaluation are counted, told and, if asked, refused."""

import dataclasses

import numpy as np
import pytest

from bigtrain import data, evaluation
from bigtrain.experiment import Eval
from bigtrain.gates import leak
from bigtrain.leaks import check_leaks, find_leaks
from tests import toys


def toy(train, held_out):
  return dataclasses.replace(
    toys.experiment(), data=data.forever(train, 8),
    evals={'held_out': Eval(data.once(held_out, 8), evaluation.softmax_cross_entropy)},
  )  # fmt: skip


def test_copies_are_found_whatever_their_label():
  columns = toys.source(50).columns
  image, label = columns['image'][:12].copy(), columns['label'][:12] + 1
  image[5:] += 1
  found = find_leaks(toy(data.arrays(**columns), data.arrays(image=image, label=label)))
  assert [str(each) for each in found] == ['5 of 12 records of held_out are in training']
  assert (
    find_leaks(toy(data.arrays(**columns), data.arrays(image=image[5:], label=label[5:]))) == []
  )


def test_a_leak_is_warned_of_or_refused(caplog):
  shared = toy(toys.source(50), data.select(toys.source(50), np.arange(10)))
  check_leaks(shared, 'off')
  assert not caplog.records
  check_leaks(shared, 'warn')
  assert '10 of 10 records of held_out are in training' in caplog.text
  with pytest.raises(ValueError, match='split anew'):
    check_leaks(shared, 'refuse')
  gate = leak(shared)
  assert (gate.passed, gate.fatal) == (False, True)


def test_what_was_not_read_is_said():
  columns = {'image': np.arange(500.0).reshape(500, 1, 1, 1), 'label': np.zeros(500, int)}
  source = data.arrays(**columns)
  found = find_leaks(toy(source, source), seconds=0.0)
  assert (found[0].whole, found[0].compared) == (False, 64)
  assert 'a sample was compared, to 64 of training' in str(found[0])


def test_texts_and_records_that_cannot_be_read_end_nothing():
  class Damaged(toys.Records):
    def __getitem__(self, index):
      if index:
        raise OSError('damaged')
      return self.records[index]

  text = data.arrays(text=['A  word', 'b'], label=[0, 1])
  copied = data.arrays(text=['a word', 'c'], label=[0, 1])
  made = toy(text, copied)
  assert [each.found for each in find_leaks(made)] == [1]
  broken = dataclasses.replace(made.data, source=Damaged(text[0], None))
  assert find_leaks(dataclasses.replace(made, data=broken)) == []
