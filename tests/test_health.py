"""Steps that are not finite, and losses that jump."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

from bigtrain import data, evaluation, train
from bigtrain.evaluation import Mean
from bigtrain.health import MOST_IN_A_ROW, Diverged, Health
from bigtrain.iteration import Checkpoints
from bigtrain.program import Program
from bigtrain.state import init


@jax.custom_jvp
def poison(x, bad):
  """x, with a derivative that is not finite where `bad`."""
  return x


@poison.defjvp
def _(primals, tangents):
  x, bad = primals
  return x, tangents[0] * jnp.where(bad, jnp.inf, 1.0)


def objective(apply, batch, kind='loss'):
  """The usual one, where no label is negative; there the loss or its gradient is not finite."""
  bad = (batch['label'] < 0).any()
  means = evaluation.softmax_cross_entropy(
    lambda x: apply(jnp.where(bad & (kind == 'batch'), jnp.nan, x)),
    {**batch, 'label': jnp.abs(batch['label'])},
  )
  total = means['loss'].total
  total = poison(total, bad) if kind == 'gradient' else jnp.where(bad, jnp.nan, total)
  return {**means, 'loss': Mean(total=total, weight=means['loss'].weight)}


def poisoned(bad, steps=60, size=400):
  """An experiment of one record a step, whose batches with the numbers `bad` are poison."""
  source = {**{k: v.copy() for k, v in toys.source(size)[np.arange(size)].items()}}
  stream = data.forever(data.arrays(number=np.arange(size)), 1)
  hit = [int(stream[n]['number'][0]) for n in bad]
  source['label'][hit] = -1 - source['label'][hit]
  plain = toys.experiment(batch=1, every=None, steps=steps, lr=1e-3)
  return dataclasses.replace(
    plain, data=data.forever(data.arrays(**source), 1), objective=objective, evals={}
  )


def fit(experiment, workdir):
  return train.fit(Program(experiment), str(workdir), save_every=10, log_every=10, progress=False)


@pytest.mark.parametrize('kind', ['loss', 'gradient', 'batch'])
def test_a_step_that_is_not_finite_changes_nothing_but_the_count(kind):
  plain = toys.experiment(every=None)
  experiment = dataclasses.replace(plain, objective=lambda a, b: objective(a, b, kind))
  batch = experiment.data[0]
  step = jax.jit(lambda s, b: train.train_step(experiment, s, b))
  first, _ = step(init(experiment, batch), batch)
  after, means = step(first, {**batch, 'label': -1 - batch['label']})
  assert not np.isfinite([means['loss'].total, means['grad_norm'].total]).all()
  jax.tree.map(np.testing.assert_array_equal, after, first.replace(step=first.step + 1))
  moved, _ = step(after, batch)
  assert not np.array_equal(*(jax.tree.leaves(s.params)[0] for s in (moved, after)))


def test_bad_steps_are_left_out_of_the_journal_and_counted(tmp_path):
  bad = [0, 1, 14, 37]
  run = fit(poisoned(bad), tmp_path)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(run.state)))
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert [row.get('train/skipped', 0) for row in rows] == [2, 1, 0, 1, 0, 0]
  assert np.isfinite([row['train/loss'] for row in rows]).all()


def test_many_in_a_row_lead_back_to_the_last_good_checkpoint_and_past_that_data(tmp_path):
  run = fit(poisoned(range(25, 50)), tmp_path)
  assert run.step == 60
  checkpoints = Checkpoints(str(tmp_path))
  _, state, position = checkpoints.newest(Program(poisoned([])).shapes)
  checkpoints.close()
  # Step 20 was the last good one; what was read meanwhile is not read again.
  assert position['step'] >= 60 + 25
  jax.tree.map(np.testing.assert_array_equal, state, run.state)
  steps = [json.loads(line)['step'] for line in (tmp_path / 'metrics.jsonl').open()]
  assert steps == sorted(set(steps))


def test_what_never_ends_ends_training_and_keeps_the_checkpoint(tmp_path):
  with pytest.raises(Diverged, match=r'steps \d+ to \d+ is not finite: lower the learning rate'):
    fit(poisoned(range(25, 300), steps=300), tmp_path)
  assert Checkpoints(str(tmp_path)).steps()[-1] == 20
  with pytest.raises(Diverged, match='steps 1 to 20'):
    fit(poisoned(range(100)), tmp_path / 'new')


def seen(losses):
  """The lines that a run of these losses gives, and in dispatches of ten."""
  lines = [], []
  for found, size in zip(lines, (1, 10), strict=True):
    health = Health()
    for at in range(0, len(losses), size):
      found += health.see(at + 1, losses[at : at + size], np.ones(len(losses[at : at + size])))
  assert lines[0] == lines[1]
  return lines[0]


@pytest.mark.parametrize('seed', range(5))
def test_noise_is_no_spike_and_ten_times_the_loss_is_one_at_once(seed):
  rng = np.random.default_rng(seed)
  level = 0.5 + 3 * np.exp(-np.arange(10_000) / 2_000)
  losses = level * np.exp(0.15 * rng.normal(size=10_000))
  assert seen(losses) == []
  spikes = rng.choice(np.arange(2_000, 10_000), 20, replace=False)
  losses[spikes] *= 10
  assert [int(line.split(':')[0].split()[1]) for line in seen(losses)] == sorted(spikes + 1)


def test_a_spike_does_not_become_usual_but_a_new_level_does():
  rng = np.random.default_rng(0)
  losses = 1 + 0.01 * rng.normal(size=400)
  losses[100:110] = 30
  assert len(seen(losses)) == 10
  losses[200:] += 30
  assert len(seen(losses)) < 10 + MOST_IN_A_ROW


def test_the_batch_is_named_also_when_data_was_left_out():
  lines = list(Health(ahead=30).see(5, np.array([1.0, np.nan]), np.ones(2)))
  assert lines == ['step 6 was skipped: its loss is not finite (batch 35 of the data)']
