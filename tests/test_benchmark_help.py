"""A program asked for --help says what it is for, and starts nothing."""

import pathlib
import subprocess
import sys

HOUSE = pathlib.Path(__file__).parent.parent

# Each in a process of its own, which finds what all of them import there already.
SCRIPT = """
import os, runpy, signal, sys
import grain, jax, optax, sklearn
from absl import app
from bigtrain import program, train
for name in sys.argv[1:]:
  print(f'== {name}', flush=True)
  child = os.fork()
  if not child:
    os.dup2(1, 2)
    signal.alarm(20)
    sys.argv = [name, '--help']
    try:
      runpy.run_module(name, run_name='__main__', alter_sys=True)
      code = 3
    except SystemExit as end:
      code = int(end.code or 0)
    sys.stdout.flush()
    os._exit(code)
  print('ended with', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def programs():
  """Yields the modules of the repository that are started with `python -m`, but experiments."""
  for path in sorted([*HOUSE.glob('benchmarks/**/*.py'), *HOUSE.glob('tpu/*.py')]):
    text = path.read_text()
    if '__main__' in text and 'import tensorflow' not in text:
      yield '.'.join(path.relative_to(HOUSE).with_suffix('').parts)
  yield from ('bigtrain', 'experiments')


def test_help_is_shown_and_nothing_is_started():
  names = list(programs())
  assert 'benchmarks.soak.kills' in names
  done = subprocess.run(
    [sys.executable, '-c', SCRIPT, *names], cwd=HOUSE, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  parts = dict(part.split('\n', 1) for part in done.stdout.split('== ')[1:])
  assert list(parts) == names
  for name, said in parts.items():
    assert f'python -m {name}' in said, said
    # absl's own help ends with 1.
    assert said.rstrip().endswith(('ended with 0', 'ended with 1')), said
    assert 'Traceback' not in said, said
