"""The noise scale is that of a problem where it is known, and measuring it changes nothing."""

import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

from bigtrain import train, tuning
from bigtrain.evaluation import Mean
from bigtrain.gradient_noise import noise_said
from bigtrain.program import Program
from bigtrain.state import init, shapes_of
from bigtrain.train import train_step

_INPUTS, _NOISE = 10, 1.0


class Line(nn.Module):
  """x times a vector."""

  @nn.compact
  def __call__(self, x_BD, *, train: bool):
    del train
    return x_BD @ self.param('slope', nn.initializers.constant(0.3), (x_BD.shape[1],))


def squared(apply, batch):
  return {'loss': Mean.of(0.5 * jnp.square(apply(batch['x']) - batch['y']))}


@pytest.mark.parametrize('accumulate', [1, 4])
def test_of_a_linear_regression_it_is_what_the_covariance_says(accumulate):
  experiment = dataclasses.replace(
    toys.experiment(batch=256, ema=0.0, accumulate=accumulate),
    model=Line(), objective=squared, optimizer=optax.sgd(0.0), noise_scale=2,
  )  # fmt: skip
  example = {'x': np.zeros((256, _INPUTS), np.float32), 'y': np.zeros(256, np.float32)}

  @jax.jit
  def run(state):
    def body(state, key):
      one, two = jax.random.split(key)
      x = jax.random.normal(one, (256, _INPUTS))
      y = x.sum(axis=1) + _NOISE * jax.random.normal(two, (256,))  # The true slope is all ones.
      state, means = train_step(experiment, state, {'x': x, 'y': y})
      return state, {key: means[key] for key in ('noise_variance', 'noise_square')}

    return jax.lax.scan(body, state, jax.random.split(jax.random.key(0), 2_000))[1]

  found = jax.device_get(run(init(experiment, example)))
  np.testing.assert_array_equal(found['noise_square'].weight, np.arange(2_000) % 2 == 0)
  assert np.all(found['noise_square'].total[1::2] == 0)
  scale = tuning.critical_batch(*(found[f'noise_{n}'].total[::2] for n in ('variance', 'square')))
  # A gradient is x (x . d - e), with x and e normal and d what the slope is off by.
  off = _INPUTS * 0.7**2
  analytic = ((_INPUTS + 1) * off + _NOISE**2 * _INPUTS) / off
  assert scale == pytest.approx(analytic, rel=0.05)


def test_the_estimates_have_no_bias():
  rng = np.random.default_rng(0)
  gradients = np.array([1.0, 2.0]) + 5 * rng.normal(size=(200_000, 16, 2))
  parts = gradients.reshape(-1, 4, 4, 2).mean(axis=2)
  variance, square = tuning.noise_terms(
    np.square(parts).sum(axis=2).mean(axis=1), np.square(gradients.mean(axis=1)).sum(axis=1), 4, 16
  )
  assert variance.mean() == pytest.approx(50, rel=0.01)
  assert square.mean() == pytest.approx(5, rel=0.01)
  assert (square < 0).any()  # So that averages, not single steps, are to be divided.
  assert tuning.critical_batch(variance, square) == pytest.approx(10, rel=0.02)
  assert tuning.critical_batch([1.0], [-1.0]) == np.inf
  assert tuning.batch_costs(10, 10) == (2, 2)


def test_a_run_says_it_and_is_trained_as_without(tmp_path):
  plain = toys.experiment()
  kept = train.fit(Program(plain), progress=False).state
  measured = dataclasses.replace(plain, noise_scale=20)
  run = train.fit(Program(measured), str(tmp_path), log_every=10, progress=False, trackers=())
  jax.tree.map(np.testing.assert_array_equal, kept.params, run.state.params)
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').open()]
  assert [row['step'] for row in rows if 'train/noise_square' in row] == [10, 30]
  assert noise_said(str(tmp_path), 8).startswith('Gradient noise scale, in examples: ')


def test_what_has_no_parts_is_refused():
  odd = dataclasses.replace(toys.experiment(batch=5), noise_scale=1)
  shapes = shapes_of(odd.data)
  state = jax.eval_shape(functools.partial(init, odd), shapes)
  with pytest.raises(ValueError, match='choose an even batch'):
    jax.eval_shape(functools.partial(train_step, odd), state, shapes)
