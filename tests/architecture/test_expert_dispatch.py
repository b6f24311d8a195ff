"""Experts on several devices give what they give on one, gradients too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import compute
from bigtrain.architecture.expert_dispatch import through_experts

E, D, F, A = 8, 6, 4, 2


def feed(x, sizes, matrices):
  up, down = (matrices[name] for name in ('up', 'down'))
  return jax.lax.ragged_dot(jnp.tanh(jax.lax.ragged_dot(x, up, sizes)), down, sizes)


def inputs(batch=8):
  keys = jax.random.split(jax.random.key(0), 5)
  matrices = {
    'up': jax.random.normal(keys[0], (E, D, F)),
    'down': jax.random.normal(keys[1], (E, F, D)),
  }
  x = jax.random.normal(keys[2], (batch, 4, D))
  weights = jax.nn.softmax(jax.random.normal(keys[3], (batch, 4, A)))
  # The first expert is nobody's, the last one is many's.
  chosen = jnp.minimum(jax.random.randint(keys[4], (batch, 4, A), 1, 12), E - 1)
  return matrices, x, weights, chosen


def value_and_gradients(mesh, function, matrices, x, weights, chosen):
  def loss(matrices, x, weights):
    y = function(matrices, x, weights, chosen)
    return jnp.square(y).sum(), y

  with jax.set_mesh(compute.make_mesh(mesh)):
    both = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    return jax.jit(both)(matrices, x, weights)


def by_token(matrices, x, weights, chosen):
  """Every expert computes everything; each token picks what it chose."""
  hidden = jnp.tanh(jnp.einsum('bld,edf->blef', x, matrices['up']))
  every = jnp.einsum('blef,efd->bled', hidden, matrices['down'])
  return jnp.einsum('blad,bla->bld', jnp.take_along_axis(every, chosen[..., None], 2), weights)


@pytest.mark.parametrize(
  ('mesh', 'batch'),
  [
    ('data:8', 3),  # Does not divide: all devices do everything.
    ('expert:8', 8),
    ('data:2,expert:2,tensor:2', 8),
    ('expert:4,sequence:2', 2),
    ('fsdp:2,expert:2,tensor:2', 2),
  ],
)
def test_is_what_each_token_chose(mesh, batch):
  arrays = inputs(batch)

  def sorted_by_expert(matrices, *rest):
    return through_experts(feed, matrices, *rest)

  found = value_and_gradients(mesh, sorted_by_expert, *arrays)
  expected = value_and_gradients('data:8', by_token, *arrays)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_what_does_not_divide_is_named_with_its_cure():
  with (
    jax.set_mesh(compute.make_mesh('tensor:8')),
    pytest.raises(ValueError, match=r'hidden must divide by 8 \(tensor.*got 4: use 8'),
  ):
    through_experts(feed, *inputs())
