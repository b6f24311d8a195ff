"""Parameters of a run as the beginning of another, of the same shape or not."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest
import toys

from bigtrain import iteration
from bigtrain.program import Program
from bigtrain.train import fit


class Wider(nn.Module):
  """The toy net under another name, with another head and one layer more."""

  classes: int = 12

  @nn.compact
  def __call__(self, x, *, train: bool):
    x = nn.Dense(16, name='first')(x.reshape(x.shape[0], -1))
    x = nn.BatchNorm(use_running_average=not train, name='norm')(x)
    x = nn.relu(nn.Dense(16, name='second')(nn.relu(x)))
    return nn.Dense(self.classes, name='head')(x)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  workdir = str(tmp_path_factory.mktemp('run'))
  experiment = toys.experiment(steps=5, every=None)
  return workdir, fit(Program(experiment), workdir, progress=False).state


def start(experiment):
  return Program(experiment).init()


def test_the_same_model_begins_with_the_averages_of_the_run_and_a_new_optimiser(run):
  workdir, state = run
  experiment = toys.experiment(seed=1)
  state = jax.device_get(state)
  begun = start(dataclasses.replace(experiment, start=iteration.warm_start(workdir)))
  jax.tree.map(np.testing.assert_array_equal, begun.params, state.ema)
  jax.tree.map(np.testing.assert_array_equal, begun.ema, state.ema)
  jax.tree.map(np.testing.assert_array_equal, begun.model_state, state.model_state)
  assert int(begun.step) == 0
  jax.tree.map(np.testing.assert_array_equal, begun.opt_state, start(experiment).opt_state)


RENAME = [
  (r'(batch_stats/)?norm/(.*)', r'\g<1>BatchNorm_0/\2'),
  ('(first|second)/(.*)', r'Dense_0/\2'),
  ('head/(.*)', r'Dense_1/\1'),
]


def test_another_model_takes_what_has_its_names_and_keeps_its_own_head(run, caplog):
  workdir, state = run
  model = dataclasses.replace(toys.experiment(seed=1), model=Wider())
  fresh = start(model)
  warm = iteration.warm_start(workdir, rename=RENAME, keep='head/.*')
  begun = start(dataclasses.replace(model, start=warm))
  for layer in ('first', 'second'):  # One layer of the source begins two of ours.
    np.testing.assert_array_equal(begun.params[layer]['kernel'], state.ema['Dense_0']['kernel'])
  stats = begun.model_state['batch_stats']['norm']['mean']
  np.testing.assert_array_equal(stats, state.model_state['batch_stats']['BatchNorm_0']['mean'])
  jax.tree.map(np.testing.assert_array_equal, begun.params['head'], fresh.params['head'])


def test_every_array_is_accounted_for():
  shapes = {'a': (2, 3), 'b': (4,), 'c': (5,), 'd': (6, 2)}
  arrays = {'a': np.ones((2, 3)), 'c': np.ones(7), 'd': np.ones((4, 2)), 'x': np.ones(1)}
  chosen, report = iteration.match(shapes, arrays, keep='c', reshape=[('d', iteration.extended)])
  assert {path: x.shape for path, x in chosen.items()} == {'a': (2, 3), 'd': (6, 2)}
  assert report.lines() == [
    'warm start: 1 arrays taken',
    '1 reshaped: d (4, 2) -> (6, 2)',
    '1 kept as initialised: c',
    '1 not in the source, so as initialised: b',
    '2 in the source, and not used: c, x',
  ]


def test_another_shape_is_named_and_nothing_in_common_too(run):
  workdir, _ = run
  model = dataclasses.replace(toys.experiment(), model=Wider())
  words = ['head/bias', '(12,)', '(10,)', "keep='head/bias'"]
  warm = iteration.warm_start(workdir, rename=RENAME)
  with pytest.raises(ValueError, match='must have shape') as caught:
    start(dataclasses.replace(model, start=warm))
  assert [word for word in words if word not in str(caught.value)] == []
  with pytest.raises(ValueError, match=r'found none of the parameters, such as .*Dense_0'):
    start(dataclasses.replace(model, start=iteration.warm_start(workdir)))
  with pytest.raises(ValueError, match=r'holds no checkpoint of step 3: choose one of \[5\]'):
    start(dataclasses.replace(model, start=iteration.warm_start(workdir, step=3)))


def test_new_rows_are_the_mean_and_old_ones_stay():
  rows = np.arange(6.0).reshape(3, 2)
  assert iteration.extended(rows, (5, 2)).tolist() == [*rows.tolist(), [2, 3], [2, 3]]
  assert iteration.extended(rows, (2, 2)).tolist() == rows[:2].tolist()


def test_layers_are_dropped_and_grown_by_renames():
  arrays = {f'block_{i}/kernel': np.full(2, i) for i in range(4)}
  shapes = {f'block_{i}/kernel': (2,) for i in range(2)}
  chosen, report = iteration.match(shapes, arrays, rename=[(r'block_1/(.*)', r'block_3/\1')])
  assert [x[0] for x in chosen.values()] == [0, 3]
  assert report.unused == ('block_1/kernel', 'block_2/kernel')
  shapes = {f'block_{i}/kernel': (2,) for i in range(6)}
  chosen, report = iteration.match(shapes, arrays, rename=[(r'block_[45]/(.*)', r'block_3/\1')])
  assert [x[0] for x in chosen.values()] == [0, 1, 2, 3, 3, 3]
  assert not report.fresh


def test_what_orbax_saved_elsewhere_is_a_source(tmp_path):
  import orbax.checkpoint as ocp

  params = {'Dense_0': {'kernel': np.ones((16, 16), np.float32), 'bias': np.ones(16, np.float32)}}
  with ocp.StandardCheckpointer() as saver:
    saver.save(tmp_path / 'theirs', {'params': params, 'opt': {'count': np.zeros(1)}})
  source = iteration.orbax_folder(str(tmp_path / 'theirs'))
  begun = start(dataclasses.replace(toys.experiment(), start=iteration.warm_start(source)))
  jax.tree.map(np.testing.assert_array_equal, begun.params['Dense_0'], params['Dense_0'])
  for folder, inside, word in (
    ('theirs', 'model', 'has no branch'),
    ('nothing', '', 'is no tree'),
    ('.', '', 'is no tree'),
  ):
    source = iteration.orbax_folder(str(tmp_path / folder), inside=inside)
    with pytest.raises(ValueError, match=word):
      source()


def test_positions_are_resampled_on_their_grid():
  row, column = np.mgrid[:4, :4]
  ramp = np.stack([row, column], -1).reshape(1, 16, 2).astype(np.float32)
  twice = iteration.resampled(ramp, (1, 64, 2)).reshape(8, 8, 2)
  inside = (np.arange(1, 7) - 0.5) / 2  # Bilinear: a ramp stays one, but at the rim.
  np.testing.assert_allclose(twice[1:-1, 3, 0], inside, atol=1e-5)
  np.testing.assert_allclose(twice[5, 1:-1, 1], inside, atol=1e-5)
  np.testing.assert_array_equal(iteration.resampled(ramp, ramp.shape), ramp)


def test_what_is_not_trained_stays_and_costs_neither_gradient_nor_state(run):
  import optax

  from bigtrain import compute
  from bigtrain.train import train_step

  workdir, _ = run
  plain = dataclasses.replace(
    toys.experiment(steps=5, every=None), start=iteration.warm_start(workdir)
  )
  headed = dataclasses.replace(plain, trainable='Dense_1/.*')
  begun = start(headed)
  after = fit(Program(headed), progress=False).state
  frozen = [name for name in begun.params if name != 'Dense_1']
  for name in frozen:
    jax.tree.map(np.testing.assert_array_equal, begun.params[name], after.params[name])
  assert not np.array_equal(begun.params['Dense_1']['kernel'], after.params['Dense_1']['kernel'])
  assert set(after.ema) == {'Dense_1'}
  assert set(after.averaged) == set(begun.params)
  moments = optax.tree.get(after.opt_state, 'mu')
  assert set(moments) == {'Dense_1'}

  def flops(experiment):
    shapes, batch = Program(experiment).shapes, experiment.data[0]
    step = lambda s, b: train_step(experiment, s, b)  # noqa: E731
    return compute.count_flops(jax.make_jaxpr(step)(shapes, batch).jaxpr)

  body, head = 8 * 2 * 16 * 16, 8 * 2 * 16 * 10
  assert flops(headed) == body + 2 * head  # Forward, and the gradient of the head's kernel.
  assert flops(plain) == 2 * body + 3 * head
  with pytest.raises(ValueError, match=r"trainable='heads' matches no parameter: .*Dense_0"):
    Program(dataclasses.replace(plain, trainable='heads'))


def test_training_all_by_a_pattern_is_training_all():
  plain = toys.experiment(steps=5, every=None)
  runs = [
    fit(Program(e), progress=False) for e in (plain, dataclasses.replace(plain, trainable='.*'))
  ]
  jax.tree.map(np.testing.assert_array_equal, *[run.state for run in runs])
