"""Rounding by chance keeps the mean, and lets small updates count."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigtrain.compute.rounding import round_stochastically, stochastic_rounding


def test_a_number_becomes_one_of_its_neighbours_and_the_mean_stays():
  x = jnp.float32(1 + 0.3 / 128)
  rounded = round_stochastically(jnp.full(20_000, x), jax.random.key(0)).astype(jnp.float32)
  assert set(np.unique(rounded)) == {1.0, 1 + 1 / 128}
  np.testing.assert_allclose((rounded.mean() - 1) * 128, 0.3, atol=0.015)
  kept = jnp.asarray([0.0, -2.5, jnp.inf, -jnp.inf, jnp.nan])  # What bfloat16 has stays.
  np.testing.assert_array_equal(round_stochastically(kept, jax.random.key(1)).astype(float), kept)


def trained(optimizer, dtype, steps=200):
  params = {'w': jnp.ones(4_000, dtype)}
  state = optimizer.init(params)

  def step(carry, _):
    params, state = carry
    updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
    return (optax.apply_updates(params, updates), state), None

  return jax.lax.scan(step, (params, state), None, length=steps)[0]


def test_updates_that_the_nearest_number_swallows_count():
  plain, _ = trained(optax.sgd(1e-4), jnp.bfloat16)
  assert set(np.unique(plain['w'].astype(jnp.float32))) == {1.0}
  params, _ = trained(stochastic_rounding(optax.sgd(1e-4)), jnp.bfloat16)
  assert params['w'].dtype == jnp.bfloat16
  np.testing.assert_allclose(params['w'].astype(jnp.float32).mean(), 0.98, atol=5e-4)


def test_the_state_is_float32_and_other_parameters_are_left_alone():
  optimizer = stochastic_rounding(optax.adam(1e-3))
  state = optimizer.init({'w': jnp.ones(4, jnp.bfloat16)})
  assert {x.dtype.name for x in jax.tree.leaves(state.inner[0].mu)} == {'float32'}
  found, _ = trained(optimizer, jnp.float32, steps=3)
  expected, _ = trained(optax.adam(1e-3), jnp.float32, steps=3)
  np.testing.assert_array_equal(found['w'], expected['w'])
