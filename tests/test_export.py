"""A trained model is handed over: for other libraries, for other compilers, and to a reader."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys
from test_generate import language
from toys import check_sentence, initialised

from bigtrain import architecture, data, evaluation, iteration, launch, trained
from bigtrain.forward import forward
from bigtrain.program import Program
from bigtrain.train import fit
from bigtrain.verbs.export import export as verb
from bigtrain.verbs.generate import generate

TOKENS = np.random.default_rng(0).integers(1, 256, (3, 16)).astype(np.int32)

FRESH = """
import sys
import numpy as np
from jax import export
from safetensors.numpy import load_file
tokens = np.load('tokens.npy')
for folder in 'beside', 'inside':
  model = export.deserialize(bytearray(open(f'{folder}/model.jax_export', 'rb').read()))
  weights = [load_file(f'{folder}/weights.safetensors')] if folder == 'beside' else []
  for rows in 1, 3:
    np.save(f'{folder}-{rows}.npy', model.call(*weights, {'inputs': tokens[:rows]}))
assert not {'bigtrain', 'flax'} & set(sys.modules)
"""


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The workdir of a trained language model."""
  workdir = str(tmp_path_factory.mktemp('run') / 'language')
  launch.run(language, [f'--workdir={workdir}', '--progress=off'])
  return workdir


@pytest.fixture(scope='module')
def logits(run):
  variables = trained.variables(language(), run)
  return np.asarray(language().model.apply(variables, TOKENS, train=False))


def export(run, *flags):
  return pathlib.Path(launch.run(language, ['export', f'--workdir={run}', *flags]))


def test_other_libraries_compute_the_same_and_make_the_same_tokens(run, logits):
  why = 'compares with the library: pip install torch transformers'
  torch = pytest.importorskip('torch', reason=why)
  transformers = pytest.importorskip('transformers', reason=why)
  folder = export(run, '--to=hugging_face')
  model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
  with torch.no_grad():
    theirs = model(torch.tensor(TOKENS, dtype=torch.long)).logits.numpy()
  np.testing.assert_allclose(theirs, logits, atol=1e-5)
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  assert tokenizer.encode('naïve') == data.Bytes().encode('naïve').tolist()
  assert tokenizer.eos_token_id == model.config.eos_token_id == 0


@pytest.mark.parametrize('kind', ['adapters', pytest.param('student', marks=pytest.mark.slow)])
def test_adapters_are_merged_and_a_student_goes_alone(run, kind, tmp_path):
  net: Any = language().model
  if kind == 'adapters':
    changes = dict(
      model=iteration.LoRA(net, targets='block_0/.*', rank=2, int8='block_0/feed/.*'),
      start=iteration.warm_start(run),
      trainable='lora/.*',
    )
  else:
    changes = dict(
      model=iteration.Taught(net, (net.clone(),)),
      start=iteration.teachers_from(run),
      trainable=iteration.STUDENT,
      objective=evaluation.taught,
    )
  experiment = dataclasses.replace(language(), evals={}, **changes)
  workdir = str(tmp_path / 'run')
  state = fit(Program(experiment), workdir, progress=False).state
  want = experiment.model.apply({'params': state.params}, TOKENS, train=False)
  folder = verb(experiment, workdir=workdir)
  kind, family = architecture.family_of(net)
  source = iteration.published(folder, family, TOKENS)
  params, _ = iteration.warm_start(source)(initialised(net, TOKENS)['params'], {})
  np.testing.assert_allclose(net.apply({'params': params}, TOKENS, train=False), want, atol=1e-5)
  (text,) = generate(experiment, workdir=workdir, prompt='def ', tokens=5, temperature=0.0)
  assert text


def test_a_fresh_process_runs_it_without_the_code_of_the_model(run, logits, tmp_path):
  for place in 'beside', 'inside':
    export(run, '--to=stablehlo', f'--weights={place}', f'--out={tmp_path / place}')
  np.save(tmp_path / 'tokens.npy', TOKENS)
  command = [sys.executable, '-I', '-c', FRESH]
  done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
  assert done.returncode == 0, done.stderr
  for place in 'beside', 'inside':
    for rows in 1, 3:
      got = np.load(tmp_path / f'{place}-{rows}.npy')
      np.testing.assert_allclose(got, logits[:rows], atol=1e-5)
  assert 'stablehlo.dot_general' in (tmp_path / 'beside' / 'model.mlir').read_text()
  about = json.loads((tmp_path / 'beside' / 'export.json').read_text())
  assert about['inputs'] == {'inputs': 'int32[batch, 16]'}
  assert about['outputs'] == 'float32[batch, 16, 256]'


def test_the_card_says_what_the_run_recorded(run):
  text = (export(run, '--to=stablehlo', '--overwrite') / 'README.md').read_text()
  rows = [json.loads(line) for line in (pathlib.Path(run) / 'metrics.jsonl').read_text().split('\n')
          if 'held_out/loss' in line]  # fmt: skip
  assert f'| held_out | loss | {rows[-1]["held_out/loss"]:.4g} |' in text
  assert '--steps=2\n--seed=0\n```' in text
  assert '- examples a step: 4' in text
  assert '### training (' in text
  assert ', held_out (' in text
  assert 'begun with' not in text


def test_the_card_says_what_the_run_began_with(run, tmp_path):
  fork = shutil.copytree(run, tmp_path / 'fork')
  parent = {'workdir': '/runs/parent', 'step': 7, 'experiment': 'mine', 'from': []}
  (fork / 'lineage.json').write_text(json.dumps({'from': [parent]}))
  text = (export(str(fork), '--to=stablehlo', '--overwrite') / 'README.md').read_text()
  assert '- begun with the parameters of: /runs/parent at step 7' in text


def test_nothing_of_another_is_replaced_and_nothing_is_left_half_done(run, tmp_path):
  mine = tmp_path / 'mine'
  mine.mkdir()
  (mine / 'precious').write_text('x')
  new = str(tmp_path / 'new')
  for options, words, start in (
    ({'out': str(mine), 'overwrite': True}, ['no export made it', 'a new folder'], '--out='),
    ({'out': new, 'platforms': ('cpu', 'abacus')}, ['cpu, cuda, rocm, tpu', 'abacus'], 'platforms'),
    ({'out': new, 'examples': -1}, ['at least 1', '-1'], 'platforms'),
    ({'out': new, 'step': 7}, ['no checkpoint of step 7', '[2]'], run),
    ({'out': 'gs://bucket/new'}, ['no local folder'], '--out='),
  ):
    check_sentence(
      lambda o=options: verb(language(), to='stablehlo', workdir=run, **o), words, start
    )
  assert [path.name for path in tmp_path.iterdir()] == ['mine']
  export(run, '--to=stablehlo', f'--out={new}')
  check_sentence(lambda: verb(language(), workdir=run, out=new), ['--overwrite'], '--out=.*holds')


def test_a_model_that_nobody_publishes_is_refused_in_a_sentence(tmp_path):
  check_sentence(
    lambda: verb(toys.experiment(), workdir=str(tmp_path / 'new' / 'run')),
    ['--to=stablehlo takes any'],
    'Net is',
  )
  assert not list(tmp_path.iterdir())


def test_the_forward_pass_reads_what_the_objective_gives_the_model():
  called = forward(toys.experiment())
  assert set(called.inputs) == {'image'}

  def prepared(apply, batch):
    return evaluation.softmax_cross_entropy(lambda x: apply(x / 2), batch)

  experiment = dataclasses.replace(toys.experiment(), objective=prepared)
  variables = toys.initialised(experiment.model, jnp.zeros((1, 4, 4, 1)))
  image = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype(np.float32)
  assert set(forward(experiment).inputs) == {'image'}
  got = forward(experiment).function(variables, {'image': image})
  np.testing.assert_array_equal(got, experiment.model.apply(variables, image / 2, train=False))
  jax.eval_shape(called.function, variables, {'image': image})


def test_a_card_has_intervals_licences_and_no_more_than_is_known():
  about = {'records': 1234, 'licence': 'MIT', 'classes': ('a', 'b'), 'long': 'x' * 1000}
  results = {'test': {'f1': 0.5, 'f1_low': 0.25, 'f1_high': 0.75, 'loss': 1.0}}
  card = iteration.Card('mine', 'A model.', {'parameters': 10_000}, 'Run it.', results,
                        {'a': about, 'b': {**about, 'records': 5}}, {'steps': 1})  # fmt: skip
  text = card.text()
  assert text.startswith('---\nlicense: mit\ntags:\n- bigtrain\n- "mine"\n---\n\n# mine\n')
  assert '| test | f1 | 0.5 | 0.25 to 0.75 |\n| test | loss | 1 |  |' in text
  assert '### a (1,234 records), b (5 records)' in text
  assert '- classes: a, b' in text
  assert 'x' * 301 not in text
  assert '```' not in text
  assert 'Notes' not in text
