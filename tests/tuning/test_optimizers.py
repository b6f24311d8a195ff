"""Optimisers do what their papers say; schedules start and end where they say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import compute, tuning
from bigtrain.architecture import products

PARAMS = {
  'embed': {'embedding': np.ones((16, 8), np.float32)},
  'layer': {'kernel': np.ones((16, 32), np.float32), 'bias': np.ones(32, np.float32)},
  'stack': np.ones((3, 16, 32), np.float32),
}


def random_like(tree, seed=0):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), tree)


def first_update(optimizer, grads, params=PARAMS):
  return optimizer.update(grads, optimizer.init(params), params)[0]


@pytest.mark.parametrize('make', [tuning.adamw, tuning.sgd, tuning.muon])
def test_decay_shrinks_matrices_alone(make):
  zeros = jax.tree.map(np.zeros_like, PARAMS)
  updates = first_update(make(0.1, decay=0.5), zeros)
  np.testing.assert_allclose(updates['layer']['kernel'], -0.05, atol=1e-6)
  np.testing.assert_allclose(updates['embed']['embedding'], -0.05, atol=1e-6)
  np.testing.assert_allclose(updates['layer']['bias'], 0)


def test_clipping_bounds_the_whole_gradient():
  grads = jax.tree.map(lambda x: 100 * x, random_like(PARAMS))
  updates = first_update(tuning.sgd(1.0, momentum=0.0, decay=0.0, clip=1.0), grads)
  assert optax.tree.norm(updates) == pytest.approx(1.0, rel=1e-5)


def test_muons_update_is_orthogonal_and_the_rest_is_adams():
  grads = random_like(PARAMS)
  chain = tuning.polar_express(8)
  options = dict(decay=0.0, clip=None)
  updates = first_update(tuning.muon(0.1, ratio=1.0, coefficients=chain, **options), grads)
  for matrix in (updates['layer']['kernel'], *updates['stack']):
    values = np.linalg.svd(matrix / 0.1, compute_uv=False)
    np.testing.assert_allclose(values, np.sqrt(2), rtol=0.02)  # sqrt(out / in).
  adam = first_update(tuning.adamw(0.1, **options), grads)
  np.testing.assert_allclose(updates['embed']['embedding'], adam['embed']['embedding'])
  np.testing.assert_allclose(updates['layer']['bias'], adam['layer']['bias'])


@pytest.mark.parametrize('mesh', ['data:8', 'data:2,fsdp:4'])
def test_a_stack_over_many_devices_equals_one_matrix_at_a_time(mesh):
  params = {'a': np.ones((3, 16, 32)), 'b': np.ones((32, 16)), 'c': np.ones((16, 32))}
  params = jax.tree.map(lambda x: x.astype(np.float32), params)
  grads = random_like(params)
  optimizer = tuning.muon(0.1, decay=0.0, clip=None)
  with jax.set_mesh(compute.make_mesh(mesh)):
    together = jax.jit(lambda g: first_update(optimizer, g, params))(grads)
  for name in ('b', 'c'):
    alone = first_update(optimizer, {name: grads[name]}, {name: params[name]})
    np.testing.assert_allclose(together[name], alone[name], atol=1e-5)
  for index in range(3):
    one = {'a': grads['a'][index]}
    alone = first_update(optimizer, one, {'a': params['a'][index]})
    np.testing.assert_allclose(together['a'][index], alone['a'], atol=1e-5)


def test_muon_adds_gradients_up_once_and_sends_no_part_of_them_about():
  params = {name: jnp.ones((16, 16)) for name in 'abc'}
  optimizer = tuning.muon(0.1, clip=None)
  mesh = compute.make_mesh('data:8')
  rows = jax.ShapeDtypeStruct((8, 16), jnp.float32, sharding=compute.batch_sharding(mesh))

  def step(params, state, x):
    def loss(params):
      y = x
      for kernel in params.values():
        y = jnp.tanh(products.product(y, kernel))
      return y.sum()

    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state

  whole = compute.replicate(mesh, jax.eval_shape(lambda: (params, optimizer.init(params))))
  with jax.set_mesh(mesh):
    text = jax.jit(step, out_shardings=whole).lower(params, optimizer.init(params), rows)
  program = text.compile().as_text()
  assert 'all-reduce(' in program
  assert 'all-to-all(' not in program
  assert 'collective-permute(' not in program


@pytest.mark.parametrize(
  'make', [tuning.warmup_cosine, tuning.warmup_linear, tuning.warmup_stable_decay]
)
def test_schedules_rise_to_the_peak_and_fall_to_the_end(make):
  schedule = make(2.0, 100, warmup=10, end=0.1)
  values = np.array([float(schedule(step)) for step in range(101)])
  assert 0 < values[0] < values[5] < values[10]
  assert values.max() == pytest.approx(2.0)
  assert values[10] == pytest.approx(2.0)
  assert values[100] == pytest.approx(0.2)
  assert (np.diff(values[10:]) <= 1e-6).all()


def test_a_warm_up_longer_than_the_run_is_refused():
  with pytest.raises(ValueError, match='less than the 10 steps'):
    tuning.warmup_cosine(1.0, 10, warmup=10)


def test_orthogonalising_zeros_gives_zeros():
  result = tuning.orthogonalize(jnp.zeros((2, 4, 8)), tuning.JORDAN)
  np.testing.assert_array_equal(result, 0)
