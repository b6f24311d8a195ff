"""What a checkpoint keeps, which ones stay, and what is refused."""

import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain.iteration import Checkpoints

POSITION = {'next_index': 7, 'nested': {'epoch': [1, 2]}, 'none': None}


def state(seed=0, width=3):
  rng = np.random.default_rng(seed)
  return {
    'step': jnp.asarray(seed, jnp.int32),
    'params': {'kernel': jnp.asarray(rng.normal(size=(4, width)), jnp.float32)},
    'half': jnp.asarray(rng.normal(size=5), jnp.bfloat16),
    'ema': None,
  }


def shapes(tree):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def save(workdir, *steps, keep=2):
  checkpoints = Checkpoints(str(workdir), keep)
  for step in steps:
    checkpoints.save(step, state(step), {**POSITION, 'step': step})
  checkpoints.close()


def files(folder):
  return {
    path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
    for path in folder.rglob('*')
    if path.is_file()
  }


def test_state_and_data_position_come_back_as_they_were(tmp_path):
  save(tmp_path, 3)
  restored, position = Checkpoints(str(tmp_path)).restore(3, shapes(state()))
  assert position == {**POSITION, 'step': 3}
  assert jax.tree.structure(restored) == jax.tree.structure(state())
  for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state(3)), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def test_what_is_saved_is_the_state_at_the_call_although_it_is_donated_next(tmp_path):
  checkpoints = Checkpoints(str(tmp_path))
  saved = state(1)
  checkpoints.save(1, saved, POSITION)
  jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)(saved)
  checkpoints.wait()
  restored, _ = checkpoints.restore(1, shapes(state()))
  checkpoints.close()
  np.testing.assert_array_equal(restored['params']['kernel'], state(1)['params']['kernel'])


@pytest.mark.parametrize('keep', [1, 2, 3])
def test_the_newest_stay(tmp_path, keep):
  save(tmp_path, 1, 2, 10, 20, keep=keep)
  assert Checkpoints(str(tmp_path)).steps() == [1, 2, 10, 20][-keep:]


def test_a_step_that_is_saved_already_is_left_as_it_is(tmp_path):
  save(tmp_path, 5)
  before = files(tmp_path)
  save(tmp_path, 5)
  assert files(tmp_path) == before


def test_a_save_that_was_cut_off_is_no_checkpoint(tmp_path):
  save(tmp_path, 4)
  (tmp_path / 'checkpoints' / '9.orbax-checkpoint-tmp').mkdir()
  assert Checkpoints(str(tmp_path)).steps() == [4]


def test_a_workdir_without_checkpoints_has_no_steps_and_stays_empty(tmp_path):
  assert Checkpoints(str(tmp_path)).steps() == []
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'other', [state(width=4), {**state(), 'more': jnp.zeros(2)}, {'step': state()['step']}]
)
def test_a_checkpoint_of_another_experiment_is_refused(tmp_path, other):
  save(tmp_path, 3)
  before = files(tmp_path)
  with pytest.raises(ValueError, match=r'3 cannot be restored into this experiment: .*--workdir'):
    Checkpoints(str(tmp_path)).restore(3, shapes(other))
  assert files(tmp_path) == before


def test_restoring_leaves_files_untouched(tmp_path):
  save(tmp_path, 2, 3)
  before = files(tmp_path)
  checkpoints = Checkpoints(str(tmp_path))
  checkpoints.restore(max(checkpoints.steps()), shapes(state()))
  checkpoints.close()
  assert files(tmp_path) == before


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def parameters(folder):
  """The largest file: the one that holds arrays."""
  return max((p for p in folder.glob('state/ocdbt*/d/*')), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize('harm', [flip, truncate, lambda path: path.unlink()])
def test_damage_is_found_set_aside_and_the_step_before_is_taken(tmp_path, harm):
  save(tmp_path, 3, 7)
  harm(parameters(tmp_path / 'checkpoints' / '7'))
  with pytest.raises(
    ValueError, match=r'7 is damaged: .*(changed|missing).*one of the steps \[3\]'
  ):
    Checkpoints(str(tmp_path)).restore(7, shapes(state()))
  step, restored, position = Checkpoints(str(tmp_path)).newest(shapes(state()))
  assert (step, position['step']) == (3, 3)
  np.testing.assert_array_equal(restored['params']['kernel'], state(3)['params']['kernel'])
  assert [p.name for p in (tmp_path / 'quarantine').iterdir()] == ['7']
  assert Checkpoints(str(tmp_path)).steps() == [3]


def test_files_that_were_swapped_and_folders_without_files_are_damage(tmp_path):
  save(tmp_path, 3, 7)
  parameters(tmp_path / 'checkpoints' / '3').replace(parameters(tmp_path / 'checkpoints' / '7'))
  (tmp_path / 'checkpoints' / '9').mkdir()
  with pytest.raises(ValueError, match=r'every checkpoint of .* is damaged: they lie in .*anew'):
    Checkpoints(str(tmp_path)).newest(shapes(state()))
  assert {p.name for p in (tmp_path / 'quarantine').iterdir()} == {'3', '7', '9'}
  with pytest.raises(ValueError, match='every checkpoint'):  # Nor does the next try start anew.
    Checkpoints(str(tmp_path)).newest(shapes(state()))


def test_a_checkpoint_of_a_run_that_was_killed_before_it_was_hashed_is_taken(tmp_path):
  save(tmp_path, 3, 7)
  (tmp_path / 'checkpoints' / '7' / 'sha256.0.json').unlink()
  assert Checkpoints(str(tmp_path)).newest(shapes(state()))[0] == 7
  assert Checkpoints(str(tmp_path / 'other')).newest(shapes(state())) is None


@pytest.fixture
def small_disk(tmp_path):
  """A disk of 2 MiB."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  command = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', str(disk)]
  if shutil.which('mount') is None or subprocess.run(command, capture_output=True).returncode:
    pytest.skip('a small disk of its own takes the right to mount one')
  yield disk
  subprocess.run(['umount', '-l', str(disk)], check=True)


def test_a_full_disk_is_named_and_swept_and_the_next_save_works(small_disk, caplog):
  checkpoints = Checkpoints(str(small_disk))
  checkpoints.save(1, state(1), POSITION)
  checkpoints.wait()
  ballast = small_disk / 'ballast'
  rng = np.random.default_rng(0)  # Random, for Orbax compresses.
  large = {**state(2), 'large': jnp.asarray(rng.normal(size=2**16), jnp.float32)}
  ballast.write_bytes(bytes(2**20 + 2**19 + 2**18))
  checkpoints.save(2, large, POSITION)
  with pytest.raises(OSError, match=r'could not be written .*Is the disk full'):
    checkpoints.wait()
  assert [p.name for p in (small_disk / 'checkpoints').iterdir()] == ['1']
  checkpoints.save(3, large, POSITION)
  checkpoints.save(4, large, POSITION)  # Warns of the one before, and fails as well.
  assert 'Training goes on' in caplog.text
  ballast.unlink()
  checkpoints.save(5, large, POSITION)
  checkpoints.close()
  assert Checkpoints(str(small_disk)).newest(shapes(large))[0] == 5
