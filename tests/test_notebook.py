"""What a notebook calls: training from Python, and the notebooks themselves, with tiny knobs."""

import json
import pathlib

import numpy as np
import pytest

import bigtrain
from bigtrain import data, record
from bigtrain.evaluation import looks
from experiments.digits import experiment

HOUSE = pathlib.Path(__file__).parent.parent
TINY = {
  'bring_your_own_data': {'ROWS': 300, 'EPOCHS': 2},
  'compare_runs': {'EPOCHS': 1},
  'fine_tune_and_distil': {'STEPS': 20, 'FEW_STEPS': 5},
  'look_at_data': {},
  'quickstart': {'EPOCHS': 1, 'WIDTH': 16},
  'shard_and_compile': {'EPOCHS': 1},
  'tune_and_study': {'EPOCHS': 1, 'TRIALS': 2, 'SEEDS': 2},
}
SLOW = {'fine_tune_and_distil'}  # Eight runs, each compiled.


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  workdir = str(tmp_path_factory.mktemp('runs') / 'mlp')
  return bigtrain.run(experiment, workdir=workdir, model='mlp', epochs=3, log_every=10)


def test_a_run_from_python_is_the_run_of_the_command_line(trained):
  kept = record.read(trained.workdir)
  assert kept['experiment'] == 'digits'
  assert kept['knobs']['epochs'] == 3
  assert kept['knobs']['dropout'] == 0.1  # Also what was left as it is.
  assert kept['starts'][0]['command'] == "bigtrain.run(digits, model='mlp', epochs=3)"
  assert [look['evaluation'] for look in looks(trained.workdir)].count('test') == 1


def test_the_model_of_a_run_gives_the_accuracy_that_was_reported(trained):
  _, held_out, _ = data.split_stratified(data.digits(), held_out=0.1, test=0.1)
  records = [held_out[i] for i in range(len(held_out))]
  logits = trained.model(np.stack([r['image'] for r in records]))
  right = np.asarray(logits).argmax(-1) == [r['label'] for r in records]
  assert right.mean() == pytest.approx(trained.results['held_out']['accuracy'])


def test_the_journal_comes_by_columns(trained):
  steps = trained.metrics['step']
  assert steps[0] == 10
  assert len(steps) == len(trained.metrics['train/loss'])
  assert '<tr><td>10</td>' in trained.metrics._repr_html_()


def test_the_same_call_again_is_done_at_once(trained):
  before = trained.metrics['step']
  again = bigtrain.run(experiment, workdir=trained.workdir, model='mlp', epochs=3, log_every=10)
  assert np.array_equal(again.metrics['step'], before)
  assert again.results['held_out'] == trained.results['held_out']


def test_what_does_not_fit_is_said_before_anything_is_written(tmp_path):
  with pytest.raises(ValueError, match='epoch is no knob of the experiment: did you mean epochs'):
    bigtrain.run(experiment, workdir=str(tmp_path / 'a'), epoch=1)
  with pytest.raises(TypeError, match='epochs: an Experiment has no knobs'):
    bigtrain.run(experiment(epochs=1), workdir=str(tmp_path / 'a'), epochs=1)
  assert not (tmp_path / 'a').exists()


def test_every_notebook_is_tried():
  assert {path.stem for path in (HOUSE / 'notebooks').glob('*.ipynb')} == set(TINY)


@pytest.mark.parametrize(
  'name', [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in sorted(TINY)]
)
def test_a_notebook_runs_from_top_to_bottom(name, tmp_path, monkeypatch):
  shells = pytest.importorskip('IPython.core.interactiveshell', reason='needs IPython')
  monkeypatch.chdir(tmp_path)
  cells = json.loads((HOUSE / 'notebooks' / f'{name}.ipynb').read_text())['cells']
  shell = shells.InteractiveShell()
  for cell in cells:
    if cell['cell_type'] == 'code':
      assert not cell['outputs'], 'a notebook is kept without outputs'
      shell.run_cell(''.join(cell['source'])).raise_error()
      if 'parameters' in cell['metadata'].get('tags', []):
        shell.user_ns.update(TINY[name])
