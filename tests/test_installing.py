"""What an installation brings: the packages, nothing beside them, and a lock that fits setup.py."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOUSE = pathlib.Path(__file__).parent.parent


def required():
  """Returns setup.py's install_requires; only its own constants stand in the strings."""
  tree = ast.parse((HOUSE / 'setup.py').read_text())
  constants = {
    node.targets[0].id: node.value.value
    for node in tree.body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    and isinstance(node.value, ast.Constant)
  }  # fmt: skip
  (call,) = [
    node for node in ast.walk(tree)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'setup'
  ]  # fmt: skip
  (listed,) = [k.value for k in call.keywords if k.arg == 'install_requires']
  assert isinstance(listed, ast.List)
  texts = [ast.unparse(element) for element in listed.elts]
  return [
    Requirement(re.sub(r'\{(\w+)\}', lambda m: constants[m[1]], text.lstrip('f').strip('"\'')))
    for text in texts
  ]


def locked():
  """Returns the lock's entries: (requirement, how many hashes)."""
  text = (HOUSE / 'requirements.lock').read_text()
  entries = re.findall(r'^([\w.-]+==[^\\\n]+)((?:\\\n +--hash=sha256:[0-9a-f]{64} ?)*)', text, re.M)
  return [(Requirement(name.strip()), hashes.count('--hash')) for name, hashes in entries]


@pytest.mark.parametrize('need', required(), ids=lambda need: need.name)
def test_the_lock_has_what_setup_asks_for(need):
  """Where it does not: make it anew, as its first lines say."""
  found = [
    one for one, _ in locked() if canonicalize_name(one.name) == canonicalize_name(need.name)
  ]
  assert found, f'requirements.lock lacks {need}'
  for one in found:
    (pin,) = one.specifier
    assert need.specifier.contains(pin.version), f'{one} is not {need}'
  here = [one for one in found if one.marker is None or one.marker.evaluate()]
  assert len(here) == 1


def test_every_entry_of_the_lock_is_hashed_and_names_no_place():
  text = (HOUSE / 'requirements.lock').read_text()
  entries = locked()
  assert len(entries) == len(re.findall(r'^[^\s#]', text, re.MULTILINE))
  assert [str(one) for one, hashes in entries if not hashes] == []
  assert not re.search(r'://|index-url|find-links|trusted-host', text)


def test_a_wheel_has_bigtrain_and_the_experiments():
  setuptools = pytest.importorskip('setuptools', reason='finds what a wheel has')
  packages = setuptools.find_packages(str(HOUSE), include=['bigtrain*', 'experiments*'])
  folders = {
    '.'.join(path.parent.relative_to(HOUSE).parts)
    for name in ('bigtrain', 'experiments')
    for path in (HOUSE / name).rglob('*.py')
  }
  assert set(packages) == folders
  # Wheels take modules alone: what the library reads must be one.
  others = [
    path for path in (HOUSE / 'bigtrain').rglob('*.*') if path.suffix not in ('.py', '.pyc')
  ]
  assert others == []


def test_bigtrain_is_imported_at_once():
  times = []
  for _ in range(3):  # The least: the machine may be busy with something else.
    command = [sys.executable, '-X', 'importtime', '-c', 'import bigtrain']
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=True)
    (line,) = [x for x in done.stderr.splitlines() if x.endswith('| bigtrain')]
    times.append(int(line.split('|')[1]) / 1e6)
  assert min(times) < 0.3
