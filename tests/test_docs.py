"""What is said of public names: they have docstrings, examples hold, and a page can be made of it.

`pdoc -d google bigtrain` shows the page.
"""

import ast
import doctest
import importlib
import inspect
import pathlib
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

HOUSE = pathlib.Path(__file__).parent.parent
ROOMS = ['architecture', 'compute', 'data', 'evaluation', 'iteration', 'tuning']
EXAMPLES = [p for p in (HOUSE / 'bigtrain').rglob('*.py') if '\n  >>> ' in p.read_text()]


def exported(room):
  """Returns what a room hands on, by name."""
  module = importlib.import_module(f'bigtrain.{room}')
  names = re.findall(r'import \w+ as (\w+)', pathlib.Path(module.__file__).read_text())
  return {name: getattr(module, name) for name in names if name != '_epy'}


def faults(function):
  """Yields what is missing or wrong in a function's docstring."""
  tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
  doc = ast.get_docstring(tree) or ''
  todo: list[ast.AST] = list(tree.body)
  for node in todo:
    # What a function inside raises, it raises later.
    if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
      todo.extend(ast.iter_child_nodes(node))
    if isinstance(node, ast.Raise) and node.exc is not None:
      error = ast.unparse(node.exc).partition('(')[0]
      if error not in doc:
        yield f'raises {error}, and does not say when'
  parameters = [arg.arg for arg in ast.walk(tree.args) if isinstance(arg, ast.arg)]
  listed = re.search(r'^Args:\n((?:(?: +.*)?\n)+)', doc + '\n', re.MULTILINE)
  if listed:
    names = re.findall(r'^ {2}(?=\S)\**([\w, *]+):', listed[1], re.MULTILINE)
    said = {name.strip(' *') for group in names for name in group.split(',')}
    yield from (f'has no argument {name}' for name in sorted(said - {*parameters}))
    # A key names a column of the records wherever it stands.
    yield from (f'does not say what {name} is' for name in parameters if name not in {*said, 'key'})


@pytest.mark.parametrize('room', ROOMS)
def test_public_names_say_what_they_are_and_when_they_refuse(room):
  found = []
  for name, thing in exported(room).items():
    if inspect.isclass(thing) or inspect.isfunction(thing):
      # A dataclass is given its signature where it says nothing.
      plain = (thing.__doc__ or f'{name}(').startswith(f'{name}(')
      found += [f'{name} has no docstring'] * plain
    if inspect.isfunction(thing):
      found += [f'{name} {fault}' for fault in faults(inspect.unwrap(thing))]
  assert found == []


def test_the_rules_see_what_is_missing():
  def taught(a, b):
    """Adds.

    Args:
      a: One.
      c: Another.
    """
    if a < b:
      raise ValueError('less')
    return a + b

  assert list(faults(taught)) == [
    'raises ValueError, and does not say when', 'has no argument c', 'does not say what b is'
  ]  # fmt: skip


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_examples_give_what_they_say(path, tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_CACHE', str(tmp_path))
  name = '.'.join(path.relative_to(HOUSE).with_suffix('').parts)
  done = doctest.testmod(importlib.import_module(name), extraglobs={'np': np})
  assert done.attempted
  assert done.failed == 0


@pytest.mark.slow
def test_a_page_is_made_without_a_warning(tmp_path):
  pytest.importorskip('pdoc', reason='pdoc makes pages of docstrings')
  command = [sys.executable, '-W', 'error', '-m', 'pdoc', '-d', 'google', '-o', str(tmp_path)]
  done = subprocess.run([*command, 'bigtrain'], cwd=HOUSE, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert 'Error' not in done.stderr
  assert (tmp_path / 'bigtrain' / 'train.html').exists()
