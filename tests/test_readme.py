"""Every command of the READMEs is understood: flags exist, files and extras are there.

Verbs are replaced by their signatures, and nothing is built: what they do is tested elsewhere.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import pathlib
import re
import shlex
import subprocess

import pytest

import bigtrain
from bigtrain import launch
from bigtrain.build import Build
from bigtrain.experiment import Experiment

HOUSE = pathlib.Path(__file__).parent.parent
PAGES = [path.name for path in (HOUSE / 'README.md', HOUSE / 'README.zh.md') if path.exists()]


def blocks(page):
  """Yields each indented block of a page, without its indent."""
  for part in re.findall(r'(?:^    .*\n|^\n+(?=    ))+', (HOUSE / page).read_text(), re.MULTILINE):
    yield '\n'.join(line[4:] for line in part.splitlines()).strip()


def commands(page):
  """Returns the shell commands of a page."""
  starts = ('python ', 'pip ', 'cp ', 'git ', 'tpu/')
  lines = [line for block in blocks(page) for line in block.splitlines() if line.startswith(starts)]
  return [part.strip() for line in lines for part in re.split('&&', line.split('  #')[0])]


def snippets(page):
  """Returns the blocks of Python of a page."""
  return [
    block for block in blocks(page) if not block.startswith(('python ', 'pip ', 'cp ', 'tpu/'))
  ]


COMMANDS = sorted({command for page in PAGES for command in commands(page)})


@pytest.mark.parametrize('command', COMMANDS)
def test_a_command_is_understood(command, tmp_path, monkeypatch):
  program, *words = shlex.split(
    command.replace('/tmp/', f'{tmp_path}/').replace('runs', str(tmp_path))
  )
  if program == 'pip':
    extras = re.findall(r'\[(.*?)\]', command)
    known = ast.unparse(ast.parse((HOUSE / 'setup.py').read_text()))
    assert all(f"'{name}':" in known for extra in extras for name in extra.split(','))
    return
  if program.startswith('tpu/'):
    split = words.index('--') if '--' in words else len(words)
    line = ['bash', program, *words[:split], '--dry_run', *words[split:]]
    done = subprocess.run(line, cwd=HOUSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'gcloud' in done.stdout + done.stderr
    return
  if program in ('cp', 'cd', 'git') or words[:2] == ['-m', 'pytest']:
    return
  if words[0] == '-m' and words[1].startswith('experiments.'):
    name, rest = words[1], words[2:]
  elif words[0].endswith('.py'):
    name, rest = 'experiments.digits', words[1:]  # A copy of it, in the README.
  else:
    assert (HOUSE / f'{words[1].replace(".", "/")}.py').exists() or words[1] in (
      'bigtrain', 'experiments'
    )  # fmt: skip
    return
  called = []
  for verb in launch.verbs():
    module = importlib.import_module(f'bigtrain.verbs.{verb}')
    real = getattr(module, verb)

    @functools.wraps(real)
    def dry(*arguments, verb=verb, **options):
      called.append(verb)

    dry.__signature__ = inspect.signature(real)
    monkeypatch.setattr(module, verb, dry)
    monkeypatch.setattr(module, 'prepare', lambda: None, raising=False)
  monkeypatch.setattr(Build, '__call__', lambda self, **knobs: None)
  experiment = importlib.import_module(name).experiment
  if '--help' in rest:
    with pytest.raises(SystemExit, match='0'):
      launch.run(experiment, rest)
    return
  launch.run(experiment, rest)
  assert len(called) == 1


@pytest.mark.parametrize('page', PAGES)
def test_what_snippets_name_exists(page):
  found = {}
  for room in ('architecture', 'compute', 'data', 'evaluation', 'iteration', 'tuning'):
    found[room] = importlib.import_module(f'bigtrain.{room}')
  text = (HOUSE / page).read_text()
  names = set(re.findall(rf'\b({"|".join(found)})\.([A-Za-z_]\w*)(?!\w*\.py)', text))
  lacking = [f'{room}.{name}' for room, name in sorted(names) if not hasattr(found[room], name)]
  assert lacking == []
  for snippet in snippets(page):
    if 'import' in snippet or '(' in snippet:
      ast.parse(snippet)


def test_the_experiment_that_is_shown_trains(tmp_path):
  (shown,) = [text for text in snippets('README.md') if 'launch.run(experiment)' in text]
  path = tmp_path / 'shown.py'
  path.write_text(shown + '\n')
  spec = importlib.util.spec_from_file_location('shown', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  run = bigtrain.run(module.experiment, epochs=2, workdir=str(tmp_path / 'run'))
  assert run.results['held_out']['accuracy'] > 0.3  # A guess has 0.1.
  for knobs in module.LEVERS.values():
    assert isinstance(module.experiment(**knobs), Experiment)


def test_the_pages_say_the_same():
  """The Chinese page has the commands of the English one."""
  for page in PAGES[1:]:
    assert commands(page) == commands(PAGES[0])
    assert list(blocks(page)) == list(blocks(PAGES[0]))
