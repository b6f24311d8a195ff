"""A state of 8 bits is small, right on average, and trains as one of 32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import compute, tuning
from bigtrain.tuning.eight_bits import pack, unpack


@pytest.mark.parametrize('positive', [False, True])
@pytest.mark.parametrize('shape', [(8, 512), (16, 100)])
def test_a_number_comes_back_near_and_right_on_average(positive, shape):
  x = jax.random.normal(jax.random.key(0), shape) * jnp.geomspace(1e-6, 1, shape[0])[:, None]
  x = jnp.square(x) if positive else x
  again = jax.jit(jax.vmap(lambda key: unpack(pack(x, key, positive=positive))))(
    jax.random.split(jax.random.key(1), 400)
  )
  # Near a block's largest number neighbours are 2.4 % apart.
  large = np.abs(x) > 0.5 * np.abs(x).max(axis=1, keepdims=True)
  assert np.abs(again / x - 1)[:, large].max() < 0.032
  scale = np.abs(x).max(axis=1, keepdims=True)
  assert np.abs((again.mean(axis=0) - x) / scale).max() < 2e-3
  assert np.all(np.sign(again) * np.sign(x) >= 0)


def test_a_second_moment_above_zero_stays_above_it_and_zero_stays_zero():
  x = jnp.array([[1.0, 1e-30, 0.0, 1e-3] * 64])
  again = unpack(pack(x, jax.random.key(0), positive=True))
  np.testing.assert_array_equal(again > 0, x > 0)
  np.testing.assert_array_equal(unpack(pack(0 * x, jax.random.key(0))), 0 * x)


def run(optimizer, steps=150):
  """The losses of a small net on points of 4 classes, and its optimiser's last state."""
  rng = np.random.default_rng(0)
  centres = rng.normal(size=(4, 16))
  label = rng.integers(0, 4, (steps, 64))
  x = (centres[label] + 1.5 * rng.normal(size=(steps, 64, 16))).astype(np.float32)
  params = {
    'a': jnp.asarray(rng.normal(size=(16, 256)) / 4, jnp.float32),
    'b': jnp.asarray(rng.normal(size=(256, 256)) / 16, jnp.float32),
    'c': jnp.zeros((256, 4)),
  }

  def loss(params, x, label):
    h = jax.nn.relu(jax.nn.relu(x @ params['a']) @ params['b'])
    return optax.softmax_cross_entropy_with_integer_labels(h @ params['c'], label).mean()

  @jax.jit
  def train(params, state):
    def step(carry, batch):
      value, grads = jax.value_and_grad(loss)(carry[0], *batch)
      updates, state = optimizer.update(grads, carry[1], carry[0])
      return (optax.apply_updates(carry[0], updates), state), value

    return jax.lax.scan(step, (params, state), (x, label))

  (_, state), losses = train(params, optimizer.init(params))
  return np.array(losses), state


def size_of(state):
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))


def test_training_is_as_with_32_bits_in_little_more_than_a_quarter_of_the_memory():
  adam = tuning.adamw(3e-3, b2=0.999)
  (plain, whole), (losses, small) = run(adam), run(tuning.eight_bit(adam))
  assert losses[-50:].mean() == pytest.approx(plain[-50:].mean(), abs=0.01)
  assert plain[-50:].mean() < 0.5 * plain[0]
  assert size_of(small) < 0.28 * size_of(whole)


def test_a_state_of_8_bits_is_sharded_as_parameters_are():
  mesh = compute.make_mesh('fsdp:8')
  params = {'kernel': jax.ShapeDtypeStruct((1024, 1024), jnp.float32)}
  optimizer = tuning.eight_bit(tuning.adamw(0.1))
  shapes = jax.eval_shape(optimizer.init, params)
  shardings = compute.fsdp(mesh, shapes)
  large = [
    (leaf, sharding)
    for leaf, sharding in zip(*map(jax.tree.leaves, (shapes, shardings)), strict=True)
    if leaf.shape == (1024, 1024)
  ]
  assert {leaf.dtype for leaf, _ in large} == {jnp.dtype('int8'), jnp.dtype('uint8')}
  assert not any(sharding.is_fully_replicated for _, sharding in large)
