"""A mixture of experts against a plain loop over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import architecture
from bigtrain.architecture.products import ragged

X = np.random.default_rng(0).normal(size=(2, 7, 8)).astype(np.float32)


def by_loop(params, x, active, normalised):
  """Every expert on every token, weighted by 0 where the token did not choose it."""
  probability = jax.nn.softmax(x @ params['router'])
  least = jnp.sort(probability)[..., -active, None]
  weight = jnp.where(probability >= least, probability, 0)
  weight = weight / weight.sum(-1, keepdims=True) if normalised else weight
  out = 0
  for e in range(params['up'].shape[0]):
    hidden = x @ params['up'][e] * jax.nn.silu(x @ params['gate'][e])
    out += weight[..., e, None] * (hidden @ params['down'][e])
  return out


@pytest.mark.parametrize(('active', 'normalised'), [(1, False), (2, True), (4, True)])
def test_experts_equal_a_loop_over_them(active, normalised):
  model = architecture.Experts(4, active, 16, normalised=normalised)
  params = model.init(jax.random.key(0), X, train=False)['params']
  params = jax.tree.map(lambda p: 20 * p, params)

  def value(call):
    return jax.value_and_grad(lambda p: jnp.sin(call(p)).sum())(params)

  got = value(lambda p: model.apply({'params': p}, X, train=False))
  want = value(lambda p: by_loop(p, X, active, normalised))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)


@pytest.mark.parametrize('sizes', [(3, 0, 17, 5), (0, 0, 30, 0), (2, 3, 1, 0)])
def test_rows_are_multiplied_by_the_matrix_of_their_group(sizes):
  rng = np.random.default_rng(0)
  x, stack = rng.normal(size=(30, 8)), rng.normal(size=(4, 8, 5))
  x, stack = x.astype(np.float32), stack.astype(np.float32)
  owner = np.repeat(np.arange(4), sizes)
  want = np.zeros((30, 5), np.float32)
  want[: len(owner)] = np.einsum('pd,pdf->pf', x[: len(owner)], stack[owner])
  got, back = jax.vjp(lambda *a: ragged(*a, jnp.asarray(sizes)), x, stack)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
  _, theirs = jax.vjp(lambda *a: jax.lax.ragged_dot(*a, jnp.asarray(sizes)), x, stack)
  for a, b in zip(back(got), theirs(got), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def sown(router, x, active=1):
  model = architecture.Experts(4, active, 8)
  params = model.init(jax.random.key(0), x, train=False)['params'] | {'router': router}
  _, found = model.apply({'params': params}, x, train=False, mutable=['losses'])
  return {name: float(value[0]) for name, value in found['losses'].items()}


def test_the_load_balance_loss_is_1_where_experts_are_used_evenly_and_4_where_one_does_all():
  even = np.eye(4, dtype=np.float32)[None]  # Each token asks for an expert of its own.
  for active in (1, 2):
    np.testing.assert_allclose(sown(jnp.eye(4), even)['load_balance'], 1, rtol=1e-6)
    uniform = sown(jnp.zeros((4, 4)), even, active)
    np.testing.assert_allclose(uniform['load_balance'], 1, rtol=1e-6)
    np.testing.assert_allclose(uniform['router_z'], np.log(4) ** 2, rtol=1e-6)
  one = jnp.zeros((4, 4)).at[:, 2].set(50.0)
  np.testing.assert_allclose(sown(one, even)['load_balance'], 4, rtol=1e-6)
