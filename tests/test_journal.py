"""The journal holds each step once, and survives a killed run."""

import json

import numpy as np
import pytest

from bigtrain import journal as journal_file
from bigtrain.evaluation import Mean
from bigtrain.history import History
from bigtrain.journal import Journal, Meter, table
from bigtrain.progress import Progress


def rows(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def test_lines_come_in_order_and_are_read_back(tmp_path):
  journal = Journal(str(tmp_path))
  journal.write(10, {'train/loss': 2.0})
  journal.write(10, {'test/loss': 1.0, 'test/accuracy': 0.5})
  journal.close()
  assert [row['step'] for row in rows(tmp_path)] == [10, 10]
  again = Journal(str(tmp_path), step=10)
  assert again.results('test', 10) == {'loss': 1.0, 'accuracy': 0.5}
  assert again.results('test', 11) is None
  again.close()


def test_a_resumed_run_drops_what_comes_after_its_step_and_half_lines(tmp_path):
  journal = Journal(str(tmp_path))
  for step in (10, 20, 30):
    journal.write(step, {'train/loss': 1.0})
  journal.close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 40, "tra')
  journal = Journal(str(tmp_path), step=20)
  journal.write(30, {'train/loss': 5.0})
  journal.close()
  assert [(row['step'], row['train/loss']) for row in rows(tmp_path)] == [
    (10, 1.0),
    (20, 1.0),
    (30, 5.0),
  ]


@pytest.mark.parametrize('window', [1, 64, 1000, 1 << 16])
@pytest.mark.parametrize('step', [0, 1, 7, 40, 41, 99])
def test_the_end_is_cut_wherever_it_lies(tmp_path, monkeypatch, window, step):
  monkeypatch.setattr(journal_file, '_WINDOW', window)
  lines = [{'step': n, 'train/loss': n / 7} for n in range(1, 41)]
  lines += [{'step': 40, 'held_out/loss': 0.5}, {'step': 41, 'train/loss': 1.0}]
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (tmp_path / 'metrics.jsonl').write_text(text + '{"step": 42, "tr')
  journal = Journal(str(tmp_path), step)
  kept = [line for line in lines if line['step'] <= step]
  assert rows(tmp_path) == kept
  assert journal.results('held_out', step) == ({'loss': 0.5} if step == 40 else None)
  journal.close()


def test_event_files_load_in_tensorboard(tmp_path):
  accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
  journal = Journal(str(tmp_path))
  for step in (10, 20):
    journal.write(step, {'train/loss': float(step)})
  journal.close()
  events = accumulator.EventAccumulator(str(tmp_path / 'tensorboard'))
  events.Reload()
  assert [(e.step, e.value) for e in events.Scalars('train/loss')] == [(10, 10.0), (20, 20.0)]


def test_a_full_disk_is_not_silent(tmp_path):
  journal = Journal(str(tmp_path))
  (tmp_path / 'metrics.jsonl').mkdir()
  journal.write(1, {'train/loss': 1.0})
  with pytest.raises(OSError, match=r'metrics\.jsonl'):
    journal.close()


def test_means_are_weighed_over_the_whole_interval(tmp_path):
  journal = Journal(str(tmp_path))
  history = History(journal, Progress(4, 1, shown=False), Meter(1), log_every=4)
  norm = Mean(np.ones(2), np.ones(2))
  history.add(2, 2, {'loss': Mean(np.array([1.0, 2.0]), np.array([1.0, 1.0])), 'grad_norm': norm})
  history.add(4, 2, {'loss': Mean(np.array([30.0, 0.0]), np.array([6.0, 0.0])), 'grad_norm': norm})
  history.flush()
  journal.close()
  (row,) = rows(tmp_path)
  assert row['train/loss'] == pytest.approx(33 / 8)


def test_the_table_shows_each_metric_of_each_evaluation():
  text = table({'held_out': {'loss': 0.5}, 'test': {'loss': 0.25, 'accuracy': 1.0}})
  assert text.splitlines()[0].split() == ['metric', 'held_out', 'test']
  assert text.splitlines()[1].split() == ['loss', '0.5000', '0.2500']
  assert text.splitlines()[2].split() == ['accuracy', '1.0000']


def test_an_interval_stands_beside_its_metric():
  from bigtrain.journal import table

  shown = table({'test': {'a': 0.5, 'a_low': 0.4, 'a_high': 0.6, 'b': 1.0, 'b_low': float('nan')}})
  lines = [line.split() for line in shown.splitlines()]
  assert lines == [['metric', 'test'], ['a', '0.5000', '(0.4000', 'to', '0.6000)'], ['b', '1.0000']]
  assert len({len(line) for line in shown.splitlines()}) == 1


def test_what_was_trained_is_entered_before_its_evaluation_and_the_last_step_always(tmp_path):
  journal = Journal(str(tmp_path), trackers=())
  history = History(journal, Progress(3, 1, shown=False), Meter(1), log_every=2)
  one = Mean(np.ones(()), np.ones(()))
  for step in (1, 2, 3):
    history.add(step, 1, {'loss': one, 'grad_norm': one})
    if step == 2:
      history.evaluated(step, 'held_out', lambda name, state: {'loss': 0.5}, None)
  history.flush()
  journal.close()
  assert [(row['step'], list(row)[2].split('/')[0]) for row in rows(tmp_path)] == [
    (2, 'train'),
    (2, 'held_out'),
    (3, 'train'),
  ]
