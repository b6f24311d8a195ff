"""The terminal shows where training is, and a log is readable without one."""

import math
import sys

from bigtrain.progress import Progress, sparkline

READING = {'loss': 1.25, 'examples_per_second': 100.0, 'data_wait': 0.125, 'mfu': 0.5}


def test_a_log_has_a_line_now_and_then_and_one_at_the_end(log_lines):
  bar = Progress(100, 10)
  for step in range(10, 101, 10):
    bar.update(step, READING)
  bar.close()
  first = 'step 10/100  loss 1.2500  100 examples/s  0:09 left  MFU 50.0%  data wait 12.5%'
  assert log_lines == [first, first.replace('step 10/', 'step 100/').replace('0:09', '0:00')]


def test_off_shows_results_and_trouble_alone(log_lines):
  bar = Progress(100, 10, shown=False)
  bar.update(100, READING)
  bar.say('step 100  held_out: loss 1.25')
  assert log_lines == ['step 100  held_out: loss 1.25']


def test_a_terminal_has_one_live_line_with_a_sparkline(monkeypatch, capsys):
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
  monkeypatch.setenv('TERM', 'xterm')
  monkeypatch.setenv('COLUMNS', '160')
  bar = Progress(100, 10)
  for step, loss in ((10, 3.0), (20, 2.0), (30, 1.0)):
    bar.update(step, {**READING, 'loss': loss})
  bar.say('[bold]not markup[/bold]')
  bar.close()
  shown = capsys.readouterr().err
  assert '█▅▁  loss 1.0000' in shown
  assert 'step 30/100' in shown
  assert 'MFU 50.0%' in shown
  assert '[bold]not markup[/bold]' in shown


def test_a_sparkline_falls_with_the_loss_and_forgets_the_first_steps():
  assert sparkline([]) == ''
  assert sparkline([2.0]) == '▁'
  assert sparkline([math.nan, 1.0, 1.0]) == '▁▁'
  assert sparkline([8.0, 7, 6, 5, 4, 3, 2, 1], 8)[0] == '█'
  line = sparkline([1e6, *(100.0 - i for i in range(99))])
  assert len(line) == 16
  assert (line[0], line[-1]) == ('█', '▁')
  assert list(line) == sorted(line, reverse=True)
  assert len(set(line)) == 8  # The first value did not flatten the rest.
