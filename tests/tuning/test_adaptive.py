"""Each optimiser reduces a convex problem, decays matrices alone, and shards as parameters do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import compute, tuning

RATES = {
  'adafactor': 0.1, 'adagrad': 0.5, 'lamb': 0.1, 'lion': 0.02, 'nadamw': 0.1, 'prodigy': 1.0,
  'rmsprop': 0.02, 'schedule_free': 0.1, 'soap': 0.1, 'sophia': 0.02,
}  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 8)).astype(np.float32)
Y = X @ RNG.normal(size=(8, 16)).astype(np.float32)
START = {'kernel': np.zeros((8, 16), np.float32), 'bias': np.ones(16, np.float32)}
START['kernel'] += 0.1


def loss(params):
  return jnp.mean(jnp.square(X @ params['kernel'] + params['bias'] - Y))


def descend(optimizer, steps=200):
  optimizer, gradient = optax.with_extra_args_support(optimizer), jax.grad(loss)

  def step(_, carry):
    params, state = carry
    updates, state = optimizer.update(gradient(params), state, params, grad_fn=gradient)
    return optax.apply_updates(params, updates), state

  params = jax.tree.map(jnp.asarray, START)
  return jax.jit(lambda p: jax.lax.fori_loop(0, steps, step, (p, optimizer.init(p))))(params)[0]


@pytest.mark.parametrize('name', RATES)
def test_a_convex_problem_is_reduced(name):
  optimizer = getattr(tuning, name)(RATES[name], decay=0.0)
  assert loss(descend(optimizer)) < 0.1 * loss(START)


@pytest.mark.parametrize('name', ['adafactor', 'adagrad', 'lion', 'nadamw', 'rmsprop', 'soap'])
def test_decay_is_decoupled_and_of_matrices_alone(name):
  optimizer = getattr(tuning, name)(0.1, decay=0.5)
  zeros = jax.tree.map(np.zeros_like, START)
  updates, _ = optimizer.update(zeros, optimizer.init(START), START)
  np.testing.assert_allclose(updates['kernel'], -0.05 * START['kernel'], rtol=1e-5)
  np.testing.assert_allclose(updates['bias'], 0)


@pytest.mark.parametrize(
  ('ours', 'theirs'),
  [
    (tuning.nadamw(0.1, decay=0.0, clip=None), optax.nadamw(0.1, b2=0.95, weight_decay=0.0)),
    (tuning.lion(0.1, decay=0.0, clip=None), optax.lion(0.1, weight_decay=0.0)),
    (tuning.lamb(0.1, decay=0.0, clip=None), optax.lamb(0.1)),
    (tuning.rmsprop(0.1), optax.rmsprop(0.1, decay=0.99)),
    (tuning.adagrad(0.1), optax.adagrad(0.1)),
  ],
)
def test_what_is_optaxs_equals_optaxs(ours, theirs):
  a, b = descend(ours, 5), descend(theirs, 5)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4), a, b)


@pytest.mark.parametrize('name', RATES)
def test_states_are_sharded_as_parameters_are(name):
  mesh = compute.make_mesh('fsdp:8')
  optimizer = getattr(tuning, name)(0.1)
  params = {'kernel': jax.ShapeDtypeStruct((1024, 1024), jnp.float32)}
  shapes = jax.eval_shape(lambda p: (p, optimizer.init(p)), params)
  shardings = compute.fsdp(mesh, shapes)
  for leaf, sharding in zip(*map(jax.tree.leaves, (shapes, shardings)), strict=True):
    if leaf.shape == (1024, 1024):
      assert not sharding.is_fully_replicated


def test_moments_of_low_precision_still_reduce():
  optimizer = tuning.nadamw(0.1, decay=0.0, dtype=jnp.bfloat16)
  kinds = {x.dtype for x in jax.tree.leaves(optimizer.init(START))}
  assert jnp.dtype('bfloat16') in kinds
  assert loss(descend(optimizer)) < 0.1 * loss(START)


def test_a_penalty_is_the_gradient_of_what_it_says():
  grads = jax.tree.map(np.zeros_like, START)
  step = tuning.penalty(l1=0.2, l2=0.3)
  found, _ = step.update(grads, step.init(START), START)
  expected = jax.grad(lambda w: 0.2 * jnp.abs(w).sum() + 0.15 * jnp.square(w).sum())(
    START['kernel']
  )
  np.testing.assert_allclose(found['kernel'], expected, rtol=1e-6)
  np.testing.assert_allclose(found['bias'], 0)


def test_rates_by_path():
  step = optax.chain(optax.sgd(1.0), tuning.by_path({'bias': 0.0, 'kern': 0.5}))
  grads = jax.tree.map(np.ones_like, START)
  updates, _ = step.update(grads, step.init(START), START)
  np.testing.assert_allclose(updates['kernel'], -0.5)
  np.testing.assert_allclose(updates['bias'], 0)
  with pytest.raises(ValueError, match='embed'):
    tuning.by_path({'embed': 0.5}).init(START)


def test_noise_has_the_variance_that_is_asked_for():
  zeros = {'w': np.zeros((200, 200), np.float32)}
  step = tuning.gradient_noise(0.25, decay=0.0)
  found, _ = step.update(zeros, step.init(zeros))
  assert float(jnp.var(found['w'])) == pytest.approx(0.25, rel=0.02)
