"""Trackers get all of a run, and a run gets nothing of a tracker's trouble."""

import json
import threading
import time

import numpy as np
import pytest
from PIL import Image
from toys import check_sentence, plant_run

from bigtrain import trackers
from bigtrain.journal import Journal
from bigtrain.trackers import KINDS, Trackers, send_pictures


def follow(tmp_path, name):
  """Makes a run, tells one tracker of it in two attempts, then of a picture; returns its key."""
  workdir = plant_run(tmp_path / 'run', {'lr': 0.5, 'name': '<b>'}, [])
  (tmp_path / 'run' / 'checkpoints' / '20').mkdir(parents=True)
  (tmp_path / 'run' / 'checkpoints' / '20' / 'state').write_text('x')
  for step in (10, 20):
    journal = Journal(workdir, step - 10, [name])
    journal.write(step, {'train/loss': step / 2})
    journal.close()
  place = tmp_path / 'run' / 'evaluation' / 'held_out'
  place.mkdir(parents=True)
  Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(place / 'roc.png')
  (place / 'metrics.json').write_text('{"step": 20, "metrics": {}}')
  send_pictures(workdir)
  return json.loads((tmp_path / 'run' / 'trackers.json').read_text())[name]


def test_tensorboard_has_knobs_metrics_pictures_and_the_place_of_checkpoints(tmp_path):
  events = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
  follow(tmp_path, 'tensorboard')
  found = events.EventAccumulator(str(tmp_path / 'run' / 'tensorboard'))
  found.Reload()
  assert [(e.step, e.value) for e in found.Scalars('train/loss')] == [(10, 5.0), (20, 10.0)]
  assert [e.width for e in found.Images('held_out/roc')] == [6]
  texts = {
    tag: found.Tensors(tag)[-1].tensor_proto.string_val[0] for tag in found.Tags()['tensors']
  }
  assert b'| lr | 0.5 |' in texts['knobs/text_summary']
  assert texts['checkpoints/text_summary'].endswith(b'run/checkpoints')


@pytest.mark.slow
def test_mlflow_has_them_in_one_run(tmp_path, monkeypatch):
  pytest.importorskip('mlflow', reason='mlflow is not installed')
  pytest.importorskip('sqlalchemy', reason='mlflow keeps local runs by sqlalchemy')
  from mlflow.tracking import MlflowClient

  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('MLFLOW_TRACKING_URI', f'sqlite:///{tmp_path}/mlflow.db')
  key = follow(tmp_path, 'mlflow')
  client = MlflowClient()
  where = client.get_experiment_by_name('toy').experiment_id
  (run,) = client.search_runs([where])
  assert run.data.params == {'lr': '0.5', 'name': '<b>'}
  history = client.get_metric_history(run.info.run_id, 'train/loss')
  assert [(m.step, m.value) for m in history] == [(10, 5.0), (20, 10.0)]
  assert run.data.tags['bigtrain.key'] == key
  assert run.data.tags['checkpoints'] == f'file://{tmp_path}/run/checkpoints/20'
  assert [f.path for f in client.list_artifacts(run.info.run_id, 'pictures/20/held_out')] == [
    'pictures/20/held_out/roc.png'
  ]


def test_wandb_without_a_key_keeps_them_in_the_workdir(tmp_path, monkeypatch):
  pytest.importorskip('wandb', reason='wandb is not installed')
  monkeypatch.delenv('WANDB_API_KEY', raising=False)
  monkeypatch.setenv('WANDB_MODE', 'offline')
  key = follow(tmp_path, 'wandb')
  files = list((tmp_path / 'run' / 'wandb').glob(f'offline-run-*/run-{key}.wandb'))
  said = b''.join(file.read_bytes() for file in files)
  for word in (b'train/loss', b'held_out/roc', f'checkpoints-{key}'.encode(), b'"<b>"'):
    assert word in said


def test_trackio_has_them_in_one_run(tmp_path, monkeypatch, capsys):
  pytest.importorskip('trackio', reason='trackio is not installed')
  from trackio.sqlite_storage import SQLiteStorage

  folder = tmp_path / 'trackio'
  monkeypatch.setattr('trackio.sqlite_storage.TRACKIO_DIR', folder)
  monkeypatch.setattr('trackio.utils.TRACKIO_DIR', folder)
  key = follow(tmp_path, 'trackio')
  rows = SQLiteStorage.get_logs('toy', f'run-{key}')
  assert [(r['step'], r['train/loss']) for r in rows if 'train/loss' in r] == [
    (10, 5.0),
    (20, 10.0),
  ]
  assert any('held_out/roc' in row for row in rows)
  assert capsys.readouterr().out == ''


class Slow:
  """A tracker that does not answer."""

  release = threading.Event()

  def __init__(self, run):
    self.release.wait()


class Broken:
  """A tracker that fails after its first step."""

  def __init__(self, run):
    self.steps = 0

  def scalars(self, step, metrics):
    self.steps += 1
    if self.steps > 1:
      raise ConnectionError('the server is gone')


def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(tmp_path, monkeypatch, log_lines):
  monkeypatch.setitem(KINDS, 'mlflow', Broken)
  monkeypatch.setattr(trackers, 'check', lambda names: None)
  journal = Journal(str(tmp_path), 0, ['mlflow'])
  for step in range(1, 9):
    journal.write(step, {'train/loss': 1.0})
  journal.close()
  assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 8
  assert log_lines == ['mlflow fails and is left out: ConnectionError: the server is gone']


def test_a_tracker_that_hangs_is_not_waited_for(tmp_path, monkeypatch, log_lines):
  monkeypatch.setitem(KINDS, 'wandb', Slow)
  monkeypatch.setattr(trackers, 'check', lambda names: None)
  monkeypatch.setattr(trackers, '_PATIENCE', 0.1)
  start = time.monotonic()
  journal = Journal(str(tmp_path), 0, ['wandb'])
  journal.write(1, {'train/loss': 1.0})
  assert time.monotonic() - start < 1
  journal.close()
  Slow.release.set()
  assert log_lines == ['wandb has not ended in 0 s and is left behind']
  assert (tmp_path / 'metrics.jsonl').exists()


@pytest.mark.parametrize(
  ('name', 'words'),
  [('wandbb', ['did you mean wandb?']), ('x', ['tensorboard, wandb, mlflow, trackio'])],
)
def test_a_tracker_that_is_not_known_is_named(tmp_path, name, words):
  check_sentence(lambda: Trackers([name], str(tmp_path)), words, f'--trackers={name}')


def test_a_tracker_that_is_not_installed_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  check_sentence(lambda: Trackers(['wandb'], str(tmp_path)), ['pip install wandb'], '--trackers')
