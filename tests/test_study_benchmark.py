"""What the benchmark of `study` plants is one defect, which one lever undoes."""

import numpy as np
import pytest

from benchmarks import study, study_screening, study_tasks

PAIRS = [
  (t, d)
  for t in study_tasks.TASKS
  for d in study_tasks.DEFECTS
  if (t, d) not in study_tasks.WITHOUT
]


def records(source, count=None):
  key = next(name for name in source[0] if name != 'label')
  return {row.tobytes() for row in np.asarray(source.column(key))[:count]}


@pytest.mark.parametrize('task', ['digits', 'source'])
def test_splits_share_no_record_but_where_this_is_the_defect(task):
  def shared(leaked):
    train, held_out, test = study_tasks.parts(task, 7, 0.0, 0, leaked, False)
    assert not records(train) & records(test)
    return len(records(train) & records(held_out))

  assert shared(False) == 0
  assert shared(True) in range(90, 101)


@pytest.mark.parametrize(('task', 'defect'), PAIRS)
def test_a_defect_is_undone_by_one_lever_alone(task, defect):
  knobs, levers, right = study_tasks.plant(task, defect)
  changed = set(study_tasks.DEFECTS[defect][0])
  turning = [name for name, change in levers.items() if set(change) & changed]
  assert turning in ([right], [])  # None: the rate, and what a gate is to name.
  study_tasks.experiment(**knobs, seed=3 * study_tasks.REPLICATE)


def test_what_is_counted_in_the_table():
  row = {'job': ['planted', 'digits', 'rate / 30', 100], 'right': 'tuning: lr', 'gates': {},
         'key': 'tuning: lr 0.005 instead of 0.0001', 'first': 'x', 'again': 0.5, 'seconds': 60,
         'effects': {'tuning: lr 0.005 instead of 0.0001': [0.4, 0.1, 0.6, 0.0]}}  # fmt: skip
  assert study.named(row)
  assert study.inside(row)
  found = dict(line[:2] for line in study.table([row]))
  assert found['rate / 30, digits'] == 'key 1 of 1 (100%), first in the screening 0 of 1 (0%)'
  assert study_screening.judge({'a': [1.0, 2.0], 'b': [1.1, 1.8]}, 'a') == (False, True)
  assert study_screening.judge({'a': [1.0, 2.0], 'b': [0.9, 1.9]}, 'a') == (False, False)
