"""Rules of the house, as functions from a folder to the sentences that say what breaks them.

Each is tried on small planted trees that break it, then on the house itself.
"""

import ast
import importlib
import pathlib
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

HOUSE = pathlib.Path(__file__).resolve().parent.parent
ROOMS = {'data', 'compute', 'architecture', 'tuning', 'evaluation', 'iteration'}
EXPERIMENTS = sorted(
  path.stem for path in (HOUSE / 'experiments').glob('*.py') if not path.stem.startswith('__')
)
HEAVY = {
  'PIL', 'flax', 'grain', 'jax', 'matplotlib', 'numpy', 'optax', 'orbax', 'pyarrow', 'scipy',
  'sklearn', 'tensorboardX', 'tensorflow', 'tensorflow_datasets', 'tokenizers', 'torch',
}  # fmt: skip


def modules(root: pathlib.Path, *folders: str) -> Iterator[tuple[str, str, ast.Module]]:
  """Yields (path relative to the root, text, syntax tree) of the Python files in some folders."""
  for folder in folders:
    for path in sorted((root / folder).rglob('*.py')):
      text = path.read_text(encoding='utf-8')
      yield path.relative_to(root).as_posix(), text, ast.parse(text)


def name_of(path: str) -> str:
  """Returns the module's name: `bigtrain/data/__init__.py` is `bigtrain.data`."""
  return path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
  """Yields (line, imported module or member, whether for type checkers only), however deep."""
  typing_only = {
    id(inner)
    for node in ast.walk(tree)
    if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)
    for statement in node.body
    for inner in ast.walk(statement)
  }
  package = pathlib.PurePosixPath(path).parts[:-1]
  for node in ast.walk(tree):
    only = id(node) in typing_only
    if isinstance(node, ast.Import):
      yield from ((node.lineno, alias.name, only) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      above = package[: len(package) - node.level + 1] if node.level else ()
      base = '.'.join([*above, *([node.module] if node.module else [])])
      yield from ((node.lineno, f'{base}.{alias.name}', only) for alias in node.names)
    elif isinstance(node, ast.Call) and node.args:
      function = ast.unparse(node.func).split('.')[-1]
      word = re.match(r"f?'([\w.]+)", ast.unparse(node.args[0]))
      if function in ('import_module', '__import__') and word:
        yield node.lineno, word[1], only


def unit(module: str) -> str:
  """Returns the part of the house: a room, 'verbs', 'experiments', or a file beside the rooms."""
  parts = module.split('.')
  return parts[1] if parts[0] == 'bigtrain' and len(parts) > 1 else parts[0]


def import_direction(root: pathlib.Path) -> Iterator[str]:
  """experiments -> launch -> verbs -> train and its neighbours -> experiment -> rooms."""
  tops = {path.stem for path in (root / 'bigtrain').glob('*.py')} - {'__init__', '__main__'}
  hall = tops - {'launch', 'experiment'}
  may = {
    'bigtrain': {'notebook'},
    '__main__': {'launch', *hall},
    'experiment': ROOMS,
    'verbs': {'verbs', 'experiment', *hall, *ROOMS},
    'launch': {'verbs', 'experiment', *hall, *ROOMS},
    'experiments': {'experiments', 'experiment', 'launch', *ROOMS},
    **{room: {room} for room in ROOMS},
    **{name: {'experiment', *hall, *ROOMS} for name in hall},
  }
  for path, _, tree in modules(root, 'bigtrain', 'experiments'):
    mine = unit(name_of(path))
    for line, target, _ in imports(path, tree):
      inside = target.split('.')[0] in ('bigtrain', 'experiments', 'benchmarks', 'tests')
      if inside and unit(target) not in may.get(mine, set()):
        yield f'{path}:{line}: {mine} may not import {target}'


def import_cycles(root: pathlib.Path) -> Iterator[str]:
  """No module reaches itself, wherever in the file the imports stand (types do not count)."""
  found = {name_of(path): (path, tree) for path, _, tree in modules(root, 'bigtrain')}
  rooms = {name for name, (path, _) in found.items() if path.endswith('__init__.py')}
  graph = {
    name: {
      known
      for _, target, only in imports(path, tree)
      for known in (target, target.rpartition('.')[0])
      if not only and known in found and known != name and known not in rooms
    }
    for name, (path, tree) in found.items()
  }  # fmt: skip
  for start in graph:
    seen, todo = set(), list(graph[start])
    while todo:
      name = todo.pop()
      if name not in seen:
        seen.add(name)
        todo.extend(graph[name])
    if start in seen:
      yield f'{found[start][0]} imports itself, by way of {", ".join(sorted(seen - {start}))}'


def tables_of_contents(root: pathlib.Path) -> Iterator[str]:
  """A room's __init__ lazily hands on names that its files define; any other holds a docstring."""
  for path, _, tree in modules(root, 'bigtrain', 'experiments'):
    if not path.endswith('__init__.py'):
      continue
    room = pathlib.PurePosixPath(path).parent
    if not ast.get_docstring(tree):
      yield f'{path}: has no docstring'
    for node in tree.body[1:]:
      text = ast.unparse(node)
      lazy = isinstance(node, ast.With) and 'lazy_api_imports(globals())' in text
      if room.name not in (*ROOMS, 'bigtrain') or not (
        lazy or text == 'from etils import epy as _epy'
      ):
        yield f'{path}:{node.lineno}: does more than hand names on'
      for inner in node.body if isinstance(node, ast.With) else []:
        if not isinstance(inner, ast.ImportFrom) or not inner.module:
          yield f'{path}:{inner.lineno}: does more than hand names on'
          continue
        file = root / f'{inner.module.replace(".", "/")}.py'
        defined = _defined(ast.parse(file.read_text())) if file.is_file() else set()
        for alias in inner.names:
          if alias.name not in defined:
            yield f'{path}:{inner.lineno}: {inner.module} has no {alias.name}'
          if (root / room / f'{alias.name}.py').exists():
            yield f'{path}:{inner.lineno}: {alias.name} is also a file of the room, which hides it'


def _defined(tree: ast.Module) -> set[str]:
  names = set()
  for node in tree.body:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
      names.add(node.name)
    for target in getattr(node, 'targets', [getattr(node, 'target', None)]):
      if isinstance(target, ast.Name):
        names.add(target.id)
  return names


CALLED = {
  'eval', 'exec', 'builtins.eval', 'builtins.exec', 'yaml.load', 'yaml.unsafe_load', 'os.system',
  'os.popen', 'torch.load', 'subprocess.getoutput', 'subprocess.getstatusoutput',
}  # fmt: skip
FALSE = {'allow_pickle', 'shell', 'trust_remote_code'}


def code_from_data(root: pathlib.Path) -> Iterator[str]:
  """Nothing that turns data into running code."""
  pickles = {'pickle', 'cPickle', 'cloudpickle', 'dill', 'marshal', 'shelve', 'joblib'}
  for path, _, tree in modules(root, 'bigtrain', 'experiments', 'benchmarks'):
    for line, target, _ in imports(path, tree):
      if target.split('.')[0] in pickles:
        yield f'{path}:{line}: imports {target}'
    for node in ast.walk(tree):
      if not isinstance(node, ast.Call):
        continue
      called = ast.unparse(node.func)
      if called in CALLED:
        yield f'{path}:{node.lineno}: calls {called}'
      for keyword in node.keywords:
        # Not for a variable either: it could be true.
        if keyword.arg in FALSE and ast.unparse(keyword.value) != 'False':
          yield f'{path}:{node.lineno}: {keyword.arg}={ast.unparse(keyword.value)}'


def sizes(root: pathlib.Path) -> Iterator[str]:
  """A file has one subject: at most 300 lines, an experiment 80."""
  for path, text, _ in modules(root, 'bigtrain', 'experiments'):
    limit = 80 if path.startswith('experiments/') else 300
    if (length := len(text.splitlines())) > limit:
      yield f'{path}: {length} lines, at most {limit}'


def headers(root: pathlib.Path) -> Iterator[str]:
  """An experiment opens with its command, its cost and its measured result."""
  for path, _, tree in modules(root, 'experiments'):
    if path.startswith('experiments/__'):
      continue
    lines = (ast.get_docstring(tree) or '').splitlines()
    if not any(line.strip().startswith(f'python -m {name_of(path)}') for line in lines):
      yield f'{path}: the header does not name the command `python -m {name_of(path)}`'
    said = ' '.join(line for line in lines if not line.strip().startswith('python'))
    if not re.search(r'\d\s*(s|seconds?|min|minutes?|h|hours?)\b.*CPU|CPU.*\d\s*(s|min|h)', said):
      yield f'{path}: the header does not say what it costs, as in `2 minutes on 2 CPU cores`'
    if not re.search(r'\d\.\d|\d\s*%', said) or '<measured' in said:
      yield f'{path}: the header does not give a measured result'


def names(root: pathlib.Path) -> Iterator[str]:
  """A name says what is in a file."""
  for folder in ('bigtrain', 'experiments', 'benchmarks', 'tests'):
    for path in sorted((root / folder).rglob('*')):
      if re.fullmatch(r'(test_)?(utils?|common|helpers?|base|misc|shared|stuff)', path.stem):
        yield f'{path.relative_to(root)}: the name does not say what is in it'


def docstrings(root: pathlib.Path) -> Iterator[str]:
  """Every module and every public class and function says what it is, and long methods too."""
  for path, _, tree in modules(root, 'bigtrain'):
    if not ast.get_docstring(tree):
      yield f'{path}: has no docstring'
    todo: list[ast.AST] = list(tree.body)
    for node in todo:
      if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        continue
      if not node.name.startswith('_') and not ast.get_docstring(node):
        yield f'{path}:{node.lineno}: {node.name} has no docstring'
      if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
        # A method of one statement speaks for itself, as does one of a protocol.
        todo.extend(inner for inner in node.body if len(getattr(inner, 'body', ())) > 1)


def words(root: pathlib.Path) -> Iterator[str]:
  """No work left for later, and nothing that holds on one machine only."""
  bad = re.compile(
    r'\b(TODO|FIXME|XXX)\b'
    r'|(?<![\w.-])(/work/|/home/\w|/root/|/Users/\w|/tmp/(venv|plan)\b|\.\./shared\b)'
  )
  kinds = {'.py', '.md', '.toml', '.sh', '.yaml', '.yml', '.ipynb', '.cfg', ''}
  for path in sorted(root.rglob('*')):
    inside = path.relative_to(root)
    hidden = any(re.match(r'\.(?!ci$)|(runs|build)$', part) for part in inside.parts)
    if hidden or path.suffix not in kinds or not path.is_file() or path.name == 'test_house.py':
      continue
    for number, line in enumerate(
      path.read_text(encoding='utf-8', errors='replace').splitlines(), 1
    ):
      if found := bad.search(line):
        yield f'{inside}:{number}: {found[0]}'


def libraries(root: pathlib.Path) -> Iterator[str]:
  """No spelling that JAX and its neighbours have given up, and no TensorFlow or PyTorch."""
  gone = re.compile(
    r'jax\.experimental\.(shard_map|pjit|maps)\b|jax\.tree_(map|leaves|flatten|unflatten)\b'
    r'|optax\.global_norm\b|with_logical_partitioning\b|logical_axis_rules\b|jax\.xla_computation\b'
  )
  keywords = {('clip', 'a_min'), ('clip', 'a_max'), ('shard_map', 'check_rep'),
              ('make_mesh', 'axis_shapes')}  # fmt: skip
  for path, _, tree in modules(root, 'bigtrain', 'experiments', 'benchmarks'):
    for line, target, _ in imports(path, tree):
      banned = {'clu', 'tiktoken', 'albumentations', 'aqt', 'vizier'}
      if not path.startswith('benchmarks/'):
        banned |= {'tensorflow', 'torch', 'torchvision', 'torchmetrics'}
      if gone.search(target) or target.split('.')[0] in banned:
        yield f'{path}:{line}: imports {target}'
    for node in ast.walk(tree):
      if isinstance(node, ast.Attribute) and gone.fullmatch(ast.unparse(node)):
        yield f'{path}:{node.lineno}: {ast.unparse(node)}'
      if isinstance(node, ast.Call):
        for keyword in node.keywords:
          if (ast.unparse(node.func).split('.')[-1], keyword.arg) in keywords:
            yield f'{path}:{node.lineno}: {ast.unparse(node.func)}({keyword.arg}=)'


def weight(root: pathlib.Path) -> Iterator[str]:
  """What runs before flags are parsed imports nothing heavy."""
  paths = [
    'bigtrain/__init__.py', 'bigtrain/launch.py', 'bigtrain/experiment.py',
    *(f'bigtrain/{room}/__init__.py' for room in sorted(ROOMS)),
    *sorted(p.relative_to(root).as_posix() for p in root.glob('bigtrain/verbs/*.py')),
    *sorted(p.relative_to(root).as_posix() for p in root.glob('experiments/*.py')),
  ]  # fmt: skip
  light = [name_of(path) for path in paths if (root / path).exists()]
  script = textwrap.dedent(f"""
    import importlib, sys
    for name in {light}:
      before = set(sys.modules)
      importlib.import_module(name)
      heavy = {sorted(HEAVY)}
      print(name, *[word for word in heavy if word in sys.modules and word not in before])
  """)
  done = subprocess.run(
    [sys.executable, '-c', script], cwd=root, capture_output=True, text=True, check=False
  )
  if done.returncode:
    yield done.stderr
  for line in done.stdout.splitlines():
    name, *heavy = line.split()
    if heavy:
      yield f'{name} imports {", ".join(heavy)} at the top'


GOOD = {
  'bigtrain/__init__.py': '"""A house."""',
  'bigtrain/launch.py': '''"""The door."""
    import importlib
    def run():
      """Runs."""
      importlib.import_module(f'bigtrain.verbs.{1}')''',
  'bigtrain/journal.py': '"""Notes."""',
  'bigtrain/train.py': '"""The loop."""\nfrom bigtrain import data, experiment, journal',
  'bigtrain/experiment.py': '''"""Words."""
    from bigtrain.data import forever
    class Experiment:
      """What a run is made of."""''',
  'bigtrain/verbs/__init__.py': '"""Verbs."""',
  'bigtrain/verbs/train.py': '''"""Trains."""
    def train():
      """Trains."""
      import numpy
      from bigtrain import train''',
  'bigtrain/data/__init__.py': '''"""Data."""
    from etils import epy as _epy
    with _epy.lazy_api_imports(globals()):
      from bigtrain.data.pipelines import forever as forever''',
  'bigtrain/data/pipelines.py': '"""Batches."""\nfrom bigtrain.data import order\nforever = order',
  'bigtrain/data/order.py': '"""Order."""\nimport math',
  'bigtrain/tuning/__init__.py': '"""Tuning."""',
  'bigtrain/tuning/schedules.py': '"""Schedules."""',
  'experiments/__init__.py': '"""Experiments."""',
  'experiments/toy.py': '''"""A toy.

      python -m experiments.toy --workdir=/tmp/toy

    2 minutes on 2 CPU cores, accuracy 0.98.
    """
    from bigtrain import data, launch
    from bigtrain.experiment import Experiment''',
}

CHECKS = [
  import_direction, import_cycles, tables_of_contents, code_from_data, sizes, headers, names,
  docstrings, words, libraries, weight,
]  # fmt: skip

# What breaks a rule: (the rule, file, its text, part of the answer).
BAD = [
  (import_direction, 'bigtrain/data/order.py', 'from bigtrain.tuning import schedules', ':1: data'),
  (import_direction, 'bigtrain/data/order.py', 'from ..tuning import schedules', 'bigtrain.tuning'),
  (import_direction, 'bigtrain/data/order.py', 'from .. import tuning', 'bigtrain.tuning'),
  (import_direction, 'bigtrain/data/order.py', 'def f():\n  import bigtrain.tuning', ':2: data'),
  (import_direction, 'bigtrain/data/order.py', 'from bigtrain import experiment', ':1: data'),
  (import_direction, 'bigtrain/data/order.py', 'from bigtrain import journal', ':1: data'),
  (
    import_direction,
    'bigtrain/data/order.py',
    "import importlib\nimportlib.import_module('bigtrain.tuning')",
    ':2: data may not import bigtrain.tuning',
  ),
  (
    import_direction,
    'bigtrain/data/order.py',
    'from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from bigtrain.train import f',
    ':3: data may not import bigtrain.train.f',
  ),
  (import_direction, 'bigtrain/experiment.py', 'from bigtrain.train import f', 'experiment may'),
  (import_direction, 'bigtrain/train.py', 'from bigtrain.verbs import train', 'train may not'),
  (import_direction, 'bigtrain/journal.py', 'from bigtrain import launch', 'journal may not'),
  (import_direction, 'bigtrain/verbs/train.py', 'from bigtrain import launch', 'verbs may not'),
  (import_direction, 'bigtrain/launch.py', 'import experiments.toy', 'launch may not'),
  (import_direction, 'bigtrain/verbs/train.py', 'from tests import conftest', 'verbs may not'),
  (import_direction, 'experiments/toy.py', 'from bigtrain.verbs import train', 'may not'),
  (import_direction, 'bigtrain/__init__.py', 'from bigtrain import data', 'bigtrain may not'),
  (import_cycles, 'bigtrain/journal.py', 'def f():\n  from bigtrain.train import g', 'journal.py'),
  (import_cycles, 'bigtrain/data/order.py', 'import bigtrain.data.pipelines', 'order.py imports'),
  (tables_of_contents, 'bigtrain/tuning/__init__.py', '"""A."""\nx = 1', 'more than hand'),
  (tables_of_contents, 'bigtrain/tuning/__init__.py', '', 'has no docstring'),
  (tables_of_contents, 'experiments/__init__.py', '"""A."""\nimport os', 'more than hand'),
  (
    tables_of_contents,
    'bigtrain/data/pipelines.py',
    '"""Batches."""\ndef other(): ...',
    'bigtrain.data.pipelines has no forever',
  ),
  (tables_of_contents, 'bigtrain/data/forever.py', '"""A."""', 'forever is also a file'),
  (
    tables_of_contents,
    'bigtrain/tuning/__init__.py',
    '"""A."""\nwith _epy.lazy_api_imports(globals()):\n  x = 1',
    ':3: does more',
  ),
  (code_from_data, 'bigtrain/journal.py', 'import pickle', 'imports pickle'),
  (code_from_data, 'bigtrain/journal.py', 'def f(x):\n  return eval(x)', ':2: calls eval'),
  (code_from_data, 'benchmarks/race.py', 'exec("1")', 'calls exec'),
  (code_from_data, 'bigtrain/journal.py', 'yaml.load(x)', 'calls yaml.load'),
  (code_from_data, 'bigtrain/journal.py', 'np.load(x, allow_pickle=True)', 'allow_pickle=True'),
  (code_from_data, 'bigtrain/journal.py', 'run(x, shell=True)', 'shell=True'),
  (code_from_data, 'bigtrain/journal.py', 'load(x, trust_remote_code=y)', 'trust_remote_code=y'),
  (sizes, 'bigtrain/journal.py', 'x = 1\n' * 301, '301 lines, at most 300'),
  (sizes, 'experiments/toy.py', 'x = 1\n' * 81, '81 lines, at most 80'),
  (headers, 'experiments/toy.py', '"""2 min on 2 CPU cores: 0.98."""', 'does not name the command'),
  (headers, 'experiments/toy.py', '"""\npython -m experiments.toy\n0.98 is reached"""', 'costs'),
  (headers, 'experiments/toy.py', '"""\npython -m experiments.toy\n9 min, CPU"""', 'measured'),
  (headers, 'experiments/other.py', '', 'does not name the command'),
  (names, 'bigtrain/data/utils.py', '', 'does not say'),
  (names, 'tests/helpers/x.py', '', 'tests/helpers: the name'),
  (docstrings, 'bigtrain/journal.py', '"""A."""\ndef f(): ...', 'f has no docstring'),
  (docstrings, 'bigtrain/journal.py', '"""A."""\nclass C: ...', 'C has no docstring'),
  (docstrings, 'bigtrain/journal.py', '"""A."""\nclass C:\n  "C"\n  def f(s):\n    1\n    2', ':4'),
  (docstrings, 'bigtrain/journal.py', '', 'has no docstring'),
  (words, 'bigtrain/journal.py', '# TODO: more', ':1: TODO'),
  (words, 'README.md', 'a\nsee /home/me/data', 'README.md:2: /home/m'),
  (words, '.ci/run', 'cd /work/main', '.ci/run:1: /work/'),
  (libraries, 'bigtrain/journal.py', 'from jax.experimental import shard_map', 'shard_map'),
  (libraries, 'bigtrain/journal.py', 'x = jax.tree_map(f, y)', 'jax.tree_map'),
  (libraries, 'bigtrain/journal.py', 'optax.global_norm(x)', 'optax.global_norm'),
  (libraries, 'bigtrain/journal.py', 'jnp.clip(x, a_min=0)', 'a_min'),
  (libraries, 'bigtrain/journal.py', 'jax.shard_map(f, check_rep=False)', 'check_rep'),
  (libraries, 'bigtrain/journal.py', 'def f():\n  import tensorflow as tf', 'imports tensorflow'),
  (libraries, 'bigtrain/journal.py', 'import torch', 'imports torch'),
  (weight, 'bigtrain/verbs/train.py', 'import numpy', 'bigtrain.verbs.train imports numpy'),
  (weight, 'bigtrain/launch.py', 'import bigtrain.missing', 'No module named'),
]  # fmt: skip


def plant(root: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
  """Writes files below a folder and returns it."""
  for name, text in files.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(textwrap.dedent(text.replace('"""\n    ', '"""\n')))
  return root


GOOD = {name: re.sub(r'^    ', '', text, flags=re.MULTILINE) for name, text in GOOD.items()}


@pytest.mark.parametrize('check', CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_the_rule(check):
  assert list(check(HOUSE)) == []


@pytest.mark.parametrize('check', CHECKS, ids=lambda check: check.__name__)
def test_the_rule_lets_a_good_house_be(check, tmp_path):
  assert list(check(plant(tmp_path, GOOD))) == []


@pytest.mark.parametrize(
  ('check', 'file', 'text', 'answer'),
  BAD,
  ids=[f'{i}-{c.__name__}' for i, (c, *_) in enumerate(BAD)],
)
def test_the_rule_sees_what_breaks_it(check, file, text, answer, tmp_path):
  found = list(check(plant(tmp_path, {**GOOD, file: text})))
  assert any(answer in sentence for sentence in found), found


def test_every_rule_was_seen_to_fail():
  assert {check for check, *_ in BAD} == set(CHECKS)


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_the_flags_of_an_experiment_say_what_its_defaults_are(name):
  from bigtrain import flags
  from bigtrain.kinds import text

  knobs = flags.knobs(importlib.import_module(f'experiments.{name}').experiment)
  assert knobs
  for knob in knobs.values():
    assert knob.default is not flags.REQUIRED, f'{name} does not run without --{knob.name}'
    assert knob.kind.read(text(knob.default)) == knob.default


VERBS = sorted(p.stem for p in (HOUSE / 'bigtrain' / 'verbs').glob('*.py') if p.stem != '__init__')
# Every experiment with one verb, and every verb with one experiment.
HELP = sorted(
  {(name, 'train') for name in EXPERIMENTS} | {(n, v) for n in EXPERIMENTS[:1] for v in VERBS}
)


@pytest.mark.parametrize(('name', 'verb'), HELP)
def test_help_answers_at_once(name, verb):
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, '-X', 'importtime', '-m', f'experiments.{name}', verb, '--help'],
    cwd=HOUSE, capture_output=True, text=True, check=False,
  )  # fmt: skip
  elapsed = time.perf_counter() - start
  assert done.returncode == 0, done.stderr
  for part in (f'Usage: python -m experiments.{name}', f'Knobs of {name}:', f'Options of {verb}:'):
    assert part in done.stdout
  imported = {line.split('|')[-1].strip().split('.')[0] for line in done.stderr.splitlines()}
  assert imported & HEAVY == set()
  assert elapsed < 2
