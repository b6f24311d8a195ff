"""The front door: what a command line does, and what it is answered when it makes no sense."""

import importlib.util
import os
import subprocess
import sys
import textwrap
import time
import types

import pytest

import bigtrain
from bigtrain import launch

VERBS = {
  'train': '''
    from __future__ import annotations
    import typing
    if typing.TYPE_CHECKING:
      from bigtrain.experiment import Experiment
    prepared = []
    def prepare():
      prepared.append(True)
    def train(
        experiment: Experiment,
        *,
        workdir: str = '',  # Where the run lives.
        save_every: int = 1_000,  # Steps between checkpoints.
        resume: bool = True,
        record=None,
    ):
      """Trains, or resumes.

      At length.
      """
      assert prepared
      record.write()
      return experiment, workdir, save_every
  ''',
  'evaluate': '''
    def evaluate(experiment, *, workdir: str = ''):
      """Measures a checkpoint."""
      return experiment, workdir
  ''',
  'generate': '''
    def generate(experiment, *, prompt: str):
      """Continues a text."""
      return experiment, prompt
  ''',
  'inspect': '''
    def inspect(experiment, *, workdir: str | None = None):
      """Shows what is built."""
      return experiment, workdir
  ''',
  'poison': 'raise AssertionError("only the chosen verb may be imported")\ndef poison(e): ...',
  'nameless': 'def other(experiment): ...',
}  # fmt: skip

EXPERIMENT = '''
  """A toy is trained.

    python toy.py --workdir=/tmp/toy
  """
  from typing import Literal
  def experiment(
      *,
      model: Literal['vit', 'convnet'] = 'vit',  # What sees.
      widths: tuple[int, ...] = (64, 64),
      lr: float = 1e-3,  # At the peak.
      clean: bool = True,
      fail: str = '',
  ):
    if fail == 'raise':
      raise ValueError('fail must not be raise: leave it out')
    if fail == 'bug':
      int('four')
    if fail == 'file':
      open('/nowhere/data')
    if fail == 'opened':
      import tokenize
      tokenize.open('/nowhere/file')
    if fail == 'finite':
      raise FloatingPointError('the loss is not finite: lower lr')
    if fail == 'log':
      import logging as library
      from absl import logging
      logging.info('the file informs')
      logging.debug('the file debugs')
      lines = "logging.info('a library informs'); other.info('another informs')"
      other = library.getLogger('jax')
      exec(compile(f"{lines}; other.warning('another warns')", '/lib/orbax.py', 'exec'))
    if fail == 'key':
      raise KeyError('a bug')
    if fail == 'interrupt':
      raise KeyboardInterrupt
    if fail == 'house':
      from bigtrain.kinds import kind_of
      kind_of(dict)
    if fail == 'library':
      import json
      json.loads('{')
    return dict(model=model, widths=widths, lr=lr, clean=clean)
'''


def load(path, source=EXPERIMENT):
  """Writes an experiment's file and imports it."""
  path.write_text(textwrap.dedent(source).lstrip())
  spec = importlib.util.spec_from_file_location(path.stem, path)
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.experiment


@pytest.fixture(autouse=True)
def _planted_verbs(tmp_path, monkeypatch):
  folder = tmp_path / 'verbs'
  folder.mkdir()
  for name, source in VERBS.items():
    (folder / f'{name}.py').write_text(textwrap.dedent(source))
    monkeypatch.delitem(sys.modules, f'bigtrain.verbs.{name}', raising=False)
  package = types.ModuleType('bigtrain.verbs')
  package.__path__ = [str(folder)]
  monkeypatch.setitem(sys.modules, 'bigtrain.verbs', package)
  monkeypatch.setattr(bigtrain, 'verbs', package, raising=False)
  monkeypatch.setattr(launch, 'VERBS', folder)
  monkeypatch.chdir(tmp_path)
  yield
  for name in VERBS:
    sys.modules.pop(f'bigtrain.verbs.{name}', None)


@pytest.fixture
def toy(tmp_path):
  return load(tmp_path / 'toy.py')


@pytest.fixture
def refused(capsys):
  """Returns a function that runs a command line to its failure: (exit code, what it printed)."""

  def run(experiment, *arguments):
    with pytest.raises(SystemExit) as caught:
      launch.run(experiment, list(arguments))
    return caught.value.code, capsys.readouterr().err

  return run


def test_without_a_verb_it_trains_with_the_defaults_in_runs(toy, tmp_path):
  made, workdir, save_every = launch.run(toy, [])
  assert made == {'model': 'vit', 'widths': (64, 64), 'lr': 1e-3, 'clean': True}
  assert (workdir, save_every) == (os.path.join('runs', 'toy'), 1000)
  assert (tmp_path / 'runs' / 'toy' / 'record.json').exists()


def test_flags_reach_the_experiment_and_options_the_verb(toy, tmp_path):
  words = ['train', '--noclean', '--widths=1,2,3', '--lr', '3e-4', '--save_every=1e3']
  made, workdir, save_every = launch.run(toy, [*words, f'--workdir={tmp_path}/run'])
  assert made == {'model': 'vit', 'widths': (1, 2, 3), 'lr': 3e-4, 'clean': False}
  assert (workdir, save_every) == (f'{tmp_path}/run', 1000)


@pytest.mark.parametrize(
  'words',
  [
    ['evaluate', '--workdir', 'a'],
    ['--workdir=a', 'evaluate'],
    ['--workdir', 'a', 'evaluate'],
    ['--clean', 'evaluate', '--workdir=a'],
    ['--noclean', 'evaluate', '--clean', '--workdir=a'],
  ],
)
def test_the_verb_is_the_first_word_that_is_no_flags_value(toy, words):
  made, workdir = launch.run(toy, words)
  assert (made['clean'], workdir) == (True, 'a')


def test_a_flags_value_may_be_called_like_a_verb(toy):
  workdir = launch.run(toy, ['--workdir', 'evaluate'])[1]
  assert workdir == 'evaluate'


def test_home_is_expanded(toy, monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  assert launch.run(toy, ['evaluate', '--workdir=~/a'])[1] == str(tmp_path / 'home' / 'a')


USAGE = [
  ('--lrr=3', '--lrr is not a flag here: did you mean --lr?'),
  ('--save-every=3', 'did you mean --save_every?'),
  ('--noclear', 'did you mean --noclean?'),
  ('--zzzzz', '--zzzzz is not a flag here: see --help'),
  ('evalute', 'evalute is neither a flag nor a verb: did you mean evaluate?'),
  ('zzz', 'the verbs are evaluate, generate, inspect'),
  ('nameless', 'nameless is neither a flag nor a verb'),
  ('../launch', '../launch is neither a flag nor a verb'),
  ('lr=3', 'lr=3 has no dashes, so it would be ignored: write --lr=3'),
  ('train lr=3', 'write --lr=3'),
  ('train evaluate', 'evaluate comes too late: write the verb first'),
  ('--resume evaluate', 'evaluate comes too late'),
  ('train -- --lr=3', 'write --lr=3'),
  ('--model=vitt', '--model=vitt: one of vit, convnet is expected: did you mean vit?'),
  ('--widths=1,b', '--widths=1,b: an int is expected'),
  ('--lr=fast', '--lr=fast: a float is expected'),
  ('--clean=maybe', '--clean=maybe: true or false'),
  ('--noclean=3', '--noclean'),
  ('--lr', '--lr has no value: write --lr=VALUE'),
  ('--flagfile=nowhere', '--flagfile=nowhere cannot be read: No such file'),
  ('generate', '--prompt must be given'),
  ('evaluate --save_every=3', '--save_every is not a flag here'),
]


@pytest.mark.parametrize(('line', 'sentence'), USAGE, ids=[line for line, _ in USAGE])
def test_a_senseless_command_line_is_answered_in_one_sentence(
  toy, refused, tmp_path, line, sentence
):
  code, printed = refused(toy, *line.split())
  assert code == 2
  assert printed.startswith('error: ')
  assert printed.count('\n') == 1
  assert sentence in printed
  assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
  ('fail', 'sentence', 'place'),
  [
    ('raise', 'error: fail must not be raise: leave it out', 'toy.py:15: raise ValueError('),
    ('file', 'error: /nowhere/data: No such file or directory', "open('/nowhere/data')"),
    ('opened', 'error: /nowhere/file: No such file or directory', "tokenize.open('/nowhere"),
    ('finite', 'error: the loss is not finite: lower lr', 'raise FloatingPointError('),
    ('house', 'cannot be a flag', 'kind_of(dict)'),
  ],
)
def test_a_deliberate_error_is_a_sentence_and_a_place(toy, refused, fail, sentence, place):
  code, printed = refused(toy, f'--fail={fail}')
  assert code == 1
  assert sentence in printed
  assert place in printed
  assert 'Traceback' not in printed
  assert len(printed.splitlines()) == 2


@pytest.mark.parametrize(
  ('fail', 'error'), [('bug', ValueError), ('key', KeyError), ('library', ValueError)]
)
def test_a_bug_keeps_its_traceback(toy, fail, error):
  with pytest.raises(error):
    launch.run(toy, [f'--fail={fail}'])


@pytest.mark.parametrize('words', [['--verbosity=1'], ['--verbosity', '1']])
def test_verbosity_shows_the_traceback_of_a_deliberate_error_too(toy, words):
  with pytest.raises(ValueError, match='leave it out'):
    launch.run(toy, ['--fail=raise', *words])


@pytest.mark.parametrize(
  ('words', 'shown'),
  [
    ([], ['the file informs', 'another warns']),
    (['--verbosity=0'], ['the file informs', 'another warns']),
    (['--verbosity=-1'], ['another warns']),
    (
      ['--verbosity=1'],
      ['the file informs', 'the file debugs', 'a library informs', 'another informs', 'another w'],
    ),
  ],
)
def test_the_log_informs_of_this_run_and_warns_of_libraries(toy, capsys, words, shown):
  launch.run(toy, ['--fail=log', *words])
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == len(shown)
  assert all(said in line for said, line in zip(shown, lines, strict=True))


def test_an_interrupt_is_quiet(toy, refused):
  assert refused(toy, '--fail=interrupt') == (130, '')


def test_help_shows_everything_and_imports_no_other_verb(toy, capsys):
  with pytest.raises(SystemExit) as caught:
    launch.run(toy, ['--help'])
  page = capsys.readouterr().out
  assert caught.value.code == 0
  order = [
    'A toy is trained.', '\n  python toy.py --workdir=/tmp/toy\n', '[VERB] [--flag=value ...]',
    '\n  evaluate ', 'Measures a checkpoint.', '\n  train ', 'Trains, or resumes.',
    'Knobs of toy:', '--model=vit', 'What sees. (vit|convnet)', '--widths=64,64', '--lr=0.001',
    'At the peak. (float)', '--clean=true', 'Options of train:', '--workdir=runs/toy',
    'Where the run lives. (str)', '--save_every=1000', 'Steps between checkpoints. (int)',
    'Everywhere:', '--flagfile=', '--verbosity=', '--help',
  ]  # fmt: skip
  places = [page.find(part) for part in order]
  assert -1 not in places
  assert places == sorted(places)
  assert 'At length' not in page
  assert 'record' not in page


def test_help_of_a_verb_shows_its_options(toy, capsys):
  with pytest.raises(SystemExit):
    launch.run(toy, ['generate', '--help'])
  page = capsys.readouterr().out
  assert '--prompt=...' in page
  assert '(str, required)' in page
  assert '--save_every' not in page


@pytest.mark.parametrize(
  ('source', 'sentence'),
  [
    ('def experiment(depth: int = 4): ...', r'experiment(depth) must be keyword-only'),
    ('def experiment(**knobs): ...', r'experiment(knobs) must be keyword-only'),
    ('def experiment(*, sizes: list[int] = []): ...', 'experiment(sizes): list'),
    ('def experiment(*, workdir: str = ""): ...', 'workdir is already an option of train'),
    ('def experiment(*, verbosity: int = 0): ...', 'verbosity is already a flag'),
    ('def experiment(*, help: int = 0): ...', 'help is already a flag'),
    ('experiment = 3', 'launch.run takes the function that makes an experiment, got 3'),
  ],
)
def test_a_signature_that_cannot_be_flags_is_refused(tmp_path, refused, source, sentence):
  code, printed = refused(load(tmp_path / 'odd.py', source))
  assert code == 1
  assert sentence in printed


def test_another_verb_takes_the_knobs_that_were_trained(toy):
  launch.run(toy, ['--workdir=a', '--widths=7', '--noclean'])
  made, _ = launch.run(toy, ['evaluate', '--workdir=a'])
  assert (made['widths'], made['clean']) == ((7,), False)
  made, _ = launch.run(toy, ['evaluate', '--workdir=a', '--widths=7'])
  assert made['widths'] == (7,)


def test_another_verb_may_not_change_what_was_trained(toy, refused):
  launch.run(toy, ['--workdir=a', '--widths=7'])
  code, printed = refused(toy, 'evaluate', '--workdir=a', '--widths=64,64')
  assert code == 1
  assert 'trained with --widths=7, not --widths=64,64: leave --widths out' in printed


def test_a_verb_that_asks_for_no_workdir_looks_at_none(toy):
  launch.run(toy, ['--widths=7'])
  assert launch.run(toy, ['inspect'])[0]['widths'] == (64, 64)
  assert launch.run(toy, ['inspect', '--workdir=runs/toy'])[0]['widths'] == (7,)
  assert launch.run(toy, ['generate', '--prompt=a'])[0]['widths'] == (64, 64)


def test_flags_of_a_run_start_it_again_and_lose_to_the_command_line(toy):
  launch.run(toy, ['--workdir=a', '--widths=7', '--save_every=5'])
  made, workdir, save_every = launch.run(toy, ['--flagfile=a/flags.txt', '--workdir=b'])
  assert (made['widths'], workdir, save_every) == ((7,), 'b', 5)
  made, _, _ = launch.run(toy, ['--widths=8', '--flagfile=a/flags.txt', '--workdir=c'])
  assert made['widths'] == (8,)
  # Another verb passes over the options of `train` in it.
  assert launch.run(toy, ['evaluate', '--flagfile=a/flags.txt', '--workdir=d'])[0]['widths'] == (7,)


def test_a_verb_waits_for_checks_of_the_workdir(toy, refused, tmp_path):
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'thesis.tex').write_text('mine')
  code, printed = refused(toy, '--workdir=full')
  assert code == 1
  assert 'full holds thesis.tex but no record.json' in printed
  assert [path.name for path in (tmp_path / 'full').iterdir()] == ['thesis.tex']


def test_global_flags_count_as_parsed(toy):
  from absl import flags as absl_flags

  absl_flags.FLAGS.unparse_flags()
  launch.run(toy, ['inspect'])
  assert absl_flags.FLAGS.is_parsed()


def test_help_is_light_and_answers_from_any_folder(tmp_path):
  script = tmp_path / 'elsewhere' / 'fork.py'
  script.parent.mkdir()
  body = textwrap.dedent(EXPERIMENT) + textwrap.dedent('''
    import pathlib, sys, types
    verbs = types.ModuleType('bigtrain.verbs')
    verbs.__path__ = [VERBS]
    sys.modules['bigtrain.verbs'] = verbs
    from bigtrain import architecture, compute, data, evaluation, iteration, launch, tuning
    from bigtrain.experiment import Experiment
    launch.VERBS = pathlib.Path(VERBS)
    try:
      launch.run(experiment)
    finally:
      heavy = {'jax', 'numpy', 'sklearn', 'flax', 'optax', 'grain', 'orbax'} & set(sys.modules)
      print('heavy:', sorted(heavy))
  ''').replace('VERBS', repr(str(tmp_path / 'verbs'))).replace(
    f'launch.{str(tmp_path / "verbs")!r}', 'launch.VERBS'
  )  # fmt: skip
  script.write_text(body.lstrip())
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, 'fork.py', '--help'], cwd=script.parent, capture_output=True, text=True
  )
  assert (done.returncode, done.stderr) == (0, '')
  assert 'Usage: python fork.py' in done.stdout
  assert done.stdout.endswith('heavy: []\n')
  assert time.perf_counter() - start < 2
