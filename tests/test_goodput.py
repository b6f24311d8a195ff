"""Where the time went adds up to all of it; traces are of the steps that were asked for."""

import time

import pytest
from toys import check_sentence, experiment

from bigtrain import compute
from bigtrain.goodput import Goodput, line
from bigtrain.program import Program
from bigtrain.train import fit


@pytest.fixture
def clock(monkeypatch):
  """Returns a list whose one number is the time."""
  now = [0.0]
  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  return now


def test_time_is_counted_once_and_by_what_it_went_into(clock):
  goodput = Goodput()
  clock[0] += 2
  with goodput.spending('compile'):
    clock[0] += 5
  goodput.started()
  clock[0] += 10
  goodput.spent('data', 3)
  with goodput.spending('evaluation'):
    clock[0] += 1
  goodput.started()  # Again, which changes nothing.
  goodput.ended()
  clock[0] += 2
  spent = goodput.read()
  found = {kind: seconds for kind, seconds in spent.items() if seconds}
  assert found == {'steps': 7, 'start': 2, 'compile': 5, 'data': 3, 'evaluation': 1, 'end': 2}
  assert sum(spent.values()) == clock[0]
  assert goodput.share() == 7 / 20
  said = 'Goodput 35.0%; compile 25.0%, data 15.0%, start 10.0%, end 10.0%, evaluation 5.0%'
  assert line(spent) == said


def test_waiting_is_never_more_than_there_was(clock):
  goodput = Goodput()
  goodput.started()
  clock[0] += 1
  goodput.spent('data', 5)
  assert goodput.read()['data'] == 1
  assert goodput.read()['steps'] == 0


@pytest.mark.parametrize('spec', ['5', 'a:b', '5:0', '5:-1'])
def test_a_profile_that_makes_no_sense_is_refused(spec):
  check_sentence(lambda: compute.Profile(spec, 'x'), ['STEP:COUNT'], f'--profile={spec}')


def test_a_run_says_its_goodput_and_leaves_the_trace_that_was_asked_for(tmp_path):
  program = Program(experiment(steps=20, every=None))
  program.profile = compute.Profile('10:5', str(tmp_path))
  run = fit(program, str(tmp_path), log_every=10, progress=False)
  program.profile.close()
  assert run.step == 20
  spent = program.goodput.read()
  assert spent['compile'] > 0
  assert spent['evaluation'] > 0
  assert '"train/goodput"' in (tmp_path / 'metrics.jsonl').read_text()
  names = [path.name for path in (tmp_path / 'profile').rglob('*') if path.is_file()]
  assert any(name.endswith('.xplane.pb') for name in names)
  assert any('perfetto' in name for name in names)
