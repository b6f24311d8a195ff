"""Every experiment runs end to end, on tiny knobs, and leaves a run behind."""

import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from bigtrain import data
from bigtrain.program import Program
from experiments import fashion, shakespeare

ROOT = pathlib.Path(__file__).resolve().parent.parent
FASHION = pathlib.Path('/usr/share/datasets/fashion-mnist')
EMOJI = pathlib.Path(os.environ.get('BIGTRAIN_DATA', '')) / 'emoji-datasource-16.0.0.tgz'

TINY = {  # RUN is the workdir of a run before, of which FIRST has the knobs.
  'digits': [
    [],
    ['--model=mlp'],
    ['--model=convnet', '--width=16'],
  ],
  'distil': [['--teacher=RUN', '--steps=2', '--hidden=4']],
  'emoji': [['--width=16', '--epochs=1', '--batch=512']],
  'fashion': [['--width=4', '--epochs=1', '--batch=19000']],
  'fashion_rows': [['--width=8', '--depth=1', '--epochs=0.1', '--batch=1024']],
  'prompts': [['--width=8', '--epochs=1', '--batch=512', '--seconds=0.4']],
  'reviews': [['--train=head', '--size=64', '--length=8', '--epochs=1']],
  'tables': [['--epochs=1', '--width=8'], ['--table=houses', '--epochs=1', '--width=8']],
  'stdlib_lm': [
    ['--epochs=0.001', '--vocab=300', '--length=64', '--batch=64', '--depth=1', '--width=32'],
  ],
  'stdlib_moe': [['--epochs=0.001', '--vocab=300', '--length=256', '--width=16', '--experts=2']],
  'shakespeare': [
    ['--steps=20', '--every=10', '--depth=1', '--width=32'],
    ['--steps=20', '--depth=1', '--width=32', '--nomodern', '--conv=0', '--optimizer=adamw'],
  ],
  'transfer': [['--first=RUN', '--steps=2', '--depth=1', '--width=32', '--share=0.1']],
}
FIRST = {
  'distil': ['--role=teacher', '--steps=2'],
  'transfer': ['--task=python', '--steps=2', '--depth=1', '--width=32'],
}
LARGE = {'lm_1b', 'lm_8b', 'moe_lm', 'vit_imagenet'}  # In test_large_experiments.py.
NEEDED = {  # From $BIGTRAIN_DATA.
  'prompts': [data.spoken_prompts],
  'reviews': [data.minilm, data.clothing_reviews],
  'tables': [data.adult, data.california_housing],
}
CASES = [(name, knobs) for name, many in TINY.items() for knobs in many]


def test_every_experiment_is_here():
  files = {path.stem for path in (ROOT / 'experiments').glob('*.py')} - {'__init__', '__main__'}
  assert files == set(TINY) | LARGE


@pytest.mark.skipif(not FASHION.exists(), reason='needs Fashion-MNIST')
@pytest.mark.parametrize('model', ['resnet', 'convnext', 'vit'])
def test_the_other_models_of_fashion_take_its_images(model):
  net = fashion.experiment(model=model, width=4, augment=False).model
  logits = jax.eval_shape(
    lambda x: net.init_with_output(jax.random.key(0), x, train=False)[0],
    jax.ShapeDtypeStruct((2, 28, 28, 1), 'float32'),
  )
  assert logits.shape == (2, 10)


@pytest.mark.parametrize(('name', 'knobs'), CASES)
def test_end_to_end(name, knobs, tmp_path):
  environment = dict(os.environ)
  if name.startswith('fashion') and not FASHION.exists():
    pytest.skip('Fashion-MNIST is not here: apt-get install dataset-fashion-mnist')
  if name == 'emoji' and not EMOJI.exists():
    pytest.skip('the emoji are not in $BIGTRAIN_DATA: npm pack emoji-datasource@16.0.0')
  if name in NEEDED:
    try:
      for needed in NEEDED[name]:
        needed()
    except FileNotFoundError as error:
      pytest.skip(str(error))
  if name in ('shakespeare', 'transfer'):
    text = 'ROMEO: it is the east, and Juliet is the sun.\n' * 300
    (tmp_path / 'tinyshakespeare.txt').write_text(text)
    environment['BIGTRAIN_DATA'] = str(tmp_path)
  if name == 'digits':
    knobs = [*knobs, '--epochs=2']
  start = [sys.executable, '-m', f'experiments.{name}']
  if name in FIRST:
    first = f'--workdir={tmp_path / "first"}'
    before = subprocess.run([*start, first, *FIRST[name]], cwd=ROOT, env=environment)
    assert before.returncode == 0
    knobs = [knob.replace('RUN', str(tmp_path / 'first')) for knob in knobs]
  workdir = tmp_path / 'run'
  command = [*start, f'--workdir={workdir}', *knobs]
  done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True)
  assert done.returncode == 0, done.stderr
  rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  assert any('held_out/loss' in row for row in rows)
  assert (workdir / 'flags.txt').exists()
  assert (workdir / f'{name}.py').exists()
  assert (workdir / 'tokenizer.json').exists() == (name in ('stdlib_lm', 'stdlib_moe'))
  if name in FIRST:
    return  # Time: two runs are enough.
  again = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True)
  assert again.returncode == 0, again.stderr
  assert 'Done at step' in again.stdout
  assert again.stdout == done.stdout


def test_levers_are_knobs_of_their_experiment():
  for name in TINY:
    module = importlib.import_module(f'experiments.{name}')
    for lever, knobs in getattr(module, 'LEVERS', {}).items():
      rooms = ('data', 'compute', 'architecture', 'tuning', 'evaluation', 'iteration')
      assert lever.split(':')[0] in rooms
      assert set(knobs) <= set(module.experiment.__kwdefaults__)


def test_the_race_is_run_with_no_more_parameters_than_the_recipe(tmp_path, monkeypatch):
  kinds = ''.join(chr(i) for i in range(33, 33 + 65))  # As many as tiny-shakespeare has.
  (tmp_path / 'tinyshakespeare.txt').write_text(kinds * 100)
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  recipe, race = (
    Program(shakespeare.experiment(**knobs)).parameters
    for knobs in (shakespeare.NANOGPT, shakespeare.RACE)
  )
  assert race <= recipe == 804_096


def test_a_fork_runs_from_an_empty_folder(tmp_path):
  source = (ROOT / 'experiments' / 'digits.py').read_text()
  (tmp_path / 'mine.py').write_text(source.replace('depth: int = 4', 'depth: int = 1'))
  command = [sys.executable, 'mine.py', '--workdir=run', '--epochs=1', '--model=mlp', '--depth=2']
  done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'run' / 'mine.py').exists()
  # What a person sees: bigtrain's own lines and no library's, then what to try.
  said = [line.split('] ')[0] for line in done.stderr.splitlines()]
  assert {re.sub(r'.* (\w+\.py):\d+', r'\1', line) for line in said} == {
    'program.py',
    'progress.py',
    'train.py',
  }
  assert 'Next:\n  python mine.py report --workdir=run' in done.stdout
