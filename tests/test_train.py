"""Properties of the training step and of the loop around it."""

import dataclasses
import json

import jax
import numpy as np
import optax
import pytest
import toys

from bigtrain import compute, data, train
from bigtrain.evaluation import Mean
from bigtrain.iteration import Checkpoints
from bigtrain.program import Program, eval_step
from bigtrain.state import bind, init


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def close(a, b, atol=1e-6):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), *jax.device_get((a, b)))


def fit(experiment, workdir=None, mesh='', **kwargs):
  return train.fit(Program(experiment, mesh), workdir, progress=False, **kwargs)


def shard_all(mesh, tree):
  return compute.fsdp(mesh, tree, min_size=1)


def one_step(experiment, batch):
  state = init(experiment, batch)
  return jax.jit(lambda s, b: train.train_step(experiment, s, b))(state, batch)


@pytest.mark.parametrize('accumulate', [2, 4])
def test_microbatches_add_up_to_the_whole_batch(accumulate):
  # SGD, for Adam would hide a gradient that is off by a factor.
  plain = dataclasses.replace(
    toys.experiment(dropout=0.0, batch_norm=False), optimizer=optax.sgd(0.1)
  )
  batch = {**plain.data[0], 'weight': np.array([1, 1, 0, 1, 0, 0, 2, 1], np.float32)}
  whole, means = one_step(plain, batch)
  parts, summed = one_step(dataclasses.replace(plain, accumulate=accumulate), batch)
  close(whole.params, parts.params)
  close(means, summed)


def test_padding_changes_nothing():
  plain = dataclasses.replace(
    toys.experiment(dropout=0.0, batch_norm=False), optimizer=optax.sgd(0.1)
  )
  batch = dict(plain.data[0])
  bad = {k: np.concatenate([v, v[:3]]) for k, v in batch.items()}
  bad['image'][8:] = 100.0
  bad['weight'] = np.array([1] * 8 + [0] * 3, np.float32)
  state, means = one_step(plain, batch)
  padded, padded_means = one_step(plain, bad)
  close(means['loss'].value, padded_means['loss'].value)
  close(state.params, padded.params)


def test_statistics_of_batch_norm_move_in_training_and_rest_in_evaluation():
  experiment = toys.experiment()
  batch = {**experiment.data[0], 'weight': np.ones(8, np.float32)}
  state, _ = one_step(experiment, batch)
  fresh = init(experiment, batch)
  moved = state.model_state['batch_stats']['BatchNorm_0']['mean']
  assert not np.allclose(moved, fresh.model_state['batch_stats']['BatchNorm_0']['mean'])
  evaluation = experiment.evals['held_out']
  a, _, _ = eval_step(experiment, evaluation, state.params, state.model_state, batch)
  b, _, _ = eval_step(experiment, evaluation, state.params, state.model_state, batch)
  assert_equal(a, b)


def test_average_of_parameters_follows_them():
  experiment = toys.experiment(ema=0.999)
  state = init(experiment, experiment.data[0])
  expected = state.params
  step = jax.jit(lambda s, b: train.train_step(experiment, s, b)[0])
  for n in range(3):
    state = step(state, experiment.data[n])
    decay = min(0.999, (1 + n) / (10 + n))
    expected = jax.tree.map(lambda e, p, d=decay: d * e + (1 - d) * p, expected, state.params)
  close(state.ema, expected)


def test_each_step_has_randomness_of_its_own_and_repeats_it():
  experiment = toys.experiment(dropout=0.5, batch_norm=False)
  batch = experiment.data[0]
  state = init(experiment, batch)
  loss = jax.jit(lambda s: train.train_step(experiment, s, batch)[1]['loss'].value)
  later = dataclasses.replace(state, step=state.step + 1)
  assert loss(state) == loss(state)
  assert loss(state) != loss(later)


def test_a_journal_without_entries_is_refused_before_anything_runs():
  with pytest.raises(ValueError, match='at least 1, got 0'):
    fit(toys.experiment(), None, log_every=0)


@pytest.mark.parametrize('count', [1, 3, 10])
def test_a_dispatch_of_many_steps_equals_steps_one_by_one(count):
  experiment = toys.experiment()
  program = Program(experiment)
  assert program.per_dispatch == 10
  batches = [experiment.data[n] for n in range(count)]
  state, means = program.run(program.init(), program.place(batches), count)
  single = program.init()
  for batch in batches:
    single, last = program.run(single, program.place([batch]), 1)
  assert_equal(state, single)
  assert_equal(means['loss'].total[count - 1], last['loss'].total[0])
  assert (np.asarray(means['loss'].weight[count:]) == 0).all()


@pytest.mark.parametrize('k', [7, 10, 23])
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, k):
  whole = fit(toys.experiment(), str(tmp_path / 'whole'), save_every=4)
  part = str(tmp_path / 'part')
  first = fit(toys.experiment(steps=k), part, save_every=5)
  assert first.step == k
  resumed = fit(toys.experiment(), part, save_every=3)
  assert_equal(whole.state, resumed.state)
  assert whole.results == resumed.results


def test_without_a_period_in_steps_checkpoints_come_after_some_time(tmp_path, monkeypatch):
  def saved(folder, seconds):
    monkeypatch.setattr(train, '_SAVE_SECONDS', seconds)
    steps = []
    monkeypatch.setattr(Checkpoints, 'save', lambda self, step, *_: steps.append(step))
    fit(toys.experiment(), str(tmp_path / folder), log_every=5)
    return steps

  assert saved('never', 1e6) == [30]
  # Known from the first entry on, which is fetched two dispatches late.
  often = saved('often', 0.0)
  assert set(range(20, 31, 5)) <= set(often) <= set(range(5, 31, 5))


def test_the_journal_has_the_mean_rate_of_its_steps(tmp_path):
  plain = toys.experiment()
  fit(dataclasses.replace(plain, schedule=lambda step: 0.5 * step), str(tmp_path), log_every=10)
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  rates = [row['train/learning_rate'] for row in rows if 'train/learning_rate' in row]
  np.testing.assert_allclose(rates, [0.5 * 4.5, 0.5 * 14.5, 0.5 * 24.5])


def test_record_order_goes_on_where_it_stopped(tmp_path):
  seen = []

  def spy(batch, draws):
    seen.append(batch['label'].copy())
    return toys.jitter(batch, draws)

  def watched(steps):
    plain = toys.experiment(steps=steps)
    source = data.arrays(image=toys.source().columns['image'], label=np.arange(50) % 10)
    return dataclasses.replace(plain, data=data.forever(source, 8, map=spy))

  fit(watched(20))
  whole = seen[-20:]
  seen.clear()
  fit(watched(7), str(tmp_path))
  first = seen[-7:]
  seen.clear()
  fit(watched(20), str(tmp_path))
  np.testing.assert_array_equal(whole, first + seen[-13:])


def test_a_mesh_of_many_devices_gives_the_losses_of_one(tmp_path):
  losses = []
  for mesh in ('', 'data:8', 'fsdp:8', 'data:2,fsdp:4'):
    experiment = dataclasses.replace(toys.experiment(dropout=0.0), partition=shard_all)
    folder = tmp_path / (mesh or 'one')
    fit(experiment, str(folder), mesh=mesh, log_every=1)
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    losses.append([row['train/loss'] for row in rows if 'train/loss' in row])
  assert len(losses[0]) == 30
  for other in losses[1:]:
    np.testing.assert_allclose(losses[0], other, atol=1e-5)


def test_a_checkpoint_restores_onto_another_mesh(tmp_path):
  experiment = dataclasses.replace(toys.experiment(steps=10), partition=shard_all)
  saved = fit(experiment, str(tmp_path), mesh='fsdp:8')
  restored = fit(experiment, str(tmp_path), mesh='data:4,fsdp:2')
  assert_equal(saved.state, restored.state)
  kernel = restored.state.params['Dense_0']['kernel']
  assert kernel.sharding.shard_shape(kernel.shape) == (8, 16)


def test_old_state_is_donated():
  experiment = toys.experiment()
  program = Program(experiment)
  state = program.init()
  program.run(state, program.place([experiment.data[0]]), 1)
  assert state.params['Dense_0']['kernel'].is_deleted()


def test_evaluation_is_exact_over_a_ragged_end():
  experiment = toys.experiment(batch=8)  # 13 records: 8 and 5.
  program = Program(experiment)
  state = program.init()
  apply, _ = bind(experiment, state.ema, state.model_state)
  whole = experiment.objective(apply, data.once(toys.source(13), 13)[0])
  metrics = program.evaluate('held_out', state)
  np.testing.assert_allclose(metrics['loss'], whole['loss'].value, rtol=1e-6)
  np.testing.assert_allclose(metrics['accuracy'], whole['accuracy'].value, rtol=1e-6)


def test_the_table_of_predictions_has_each_real_example_once():
  class Evaluator:
    def predict(self, apply, batch):
      return {'label': batch['label']}

    def report(self, table):
      self.label = table['label']
      return {'rows': float(len(table['label']))}

  evaluator = Evaluator()
  plain = toys.experiment(batch=8)
  held_out = dataclasses.replace(plain.evals['held_out'], evaluator=evaluator)
  program = Program(dataclasses.replace(plain, evals={'held_out': held_out}))
  assert program.evaluate('held_out', program.init())['rows'] == 13
  np.testing.assert_array_equal(evaluator.label, toys.source(13).columns['label'])


def test_the_test_split_is_evaluated_once_and_at_the_end(tmp_path):
  for _ in range(2):
    run = fit(toys.experiment(), str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [row['step'] for row in rows if 'test/loss' in row] == [30]
    assert run.results['test']['loss'] > 0


def test_an_objective_without_a_loss_is_refused():
  experiment = dataclasses.replace(
    toys.experiment(), objective=lambda apply, batch: {'error': Mean.of(apply(batch['image']))}
  )
  with pytest.raises(ValueError, match="without a 'loss'"):
    Program(experiment)
