"""What is checked before a run: room for its checkpoints."""

import collections
import math
import shutil

import jax
import pytest
import toys

from bigtrain.checks import check_space
from bigtrain.program import Program

Usage = collections.namedtuple('Usage', 'total used free')


@pytest.fixture(scope='module')
def program():
  return Program(toys.experiment())


def size(program):
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(program.shapes))


def test_two_checkpoints_must_fit_and_a_run_that_has_one_needs_another(
  program, tmp_path, monkeypatch
):
  def disk(free):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: Usage(0, 0, free))

  disk(2 * size(program))
  check_space(program, str(tmp_path / 'new'))
  disk(2 * size(program) - 1)
  with pytest.raises(ValueError, match=r'two checkpoints of .* take more: free some'):
    check_space(program, str(tmp_path / 'new'))
  (tmp_path / 'old' / 'checkpoints' / '10').mkdir(parents=True)
  check_space(program, str(tmp_path / 'old'))
  disk(size(program) - 1)
  with pytest.raises(ValueError, match='the next checkpoint of'):
    check_space(program, str(tmp_path / 'old'))
  check_space(program, 'gs://bucket/run')
