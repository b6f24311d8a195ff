"""A pipeline gives what the stack gives, gradients too, and its stages hold their own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import compute
from bigtrain.architecture.pipeline import pipeline

D = 8


def layer(params, x):
  """Uses what goes along, and mixes positions."""
  h = jnp.tanh(x['h'] @ params['w'] + params['b'] * x['mark'][:, None, None])
  return {'h': x['h'] + h + 0.1 * jnp.roll(h, 1, axis=1), 'mark': x['mark']}


def inputs(depth=8, batch=8):
  keys = jax.random.split(jax.random.key(0), 3)
  stack = {'w': jax.random.normal(keys[0], (depth, D, D)) / 3, 'b': jnp.ones((depth, D))}
  mark = jnp.arange(batch) / batch
  return stack, {'h': jax.random.normal(keys[1], (batch, 4, D)), 'mark': mark}


def value_and_gradients(mesh, stack, x, **options):
  def loss(stack, h):
    return jnp.square(pipeline(layer, stack, {**x, 'h': h}, **options)['h']).sum()

  with jax.set_mesh(compute.make_mesh(mesh)):
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(stack, x['h'])


@pytest.mark.parametrize(
  ('mesh', 'options'),
  [
    ('stage:8', {}),
    ('stage:4,fsdp:2', {}),
    ('data:2,stage:2,tensor:2', {'microbatches': 2}),
    ('stage:8', {'microbatches': 1}),
  ],
)
def test_is_the_stack_of_layers(mesh, options):
  stack, x = inputs()
  expected = value_and_gradients('data:8', stack, x)
  found = value_and_gradients(mesh, stack, x, **options)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_layers_stay_where_they_are():
  stack, x = inputs()
  mesh = compute.make_mesh('stage:8')
  partition = compute.rules([('', jax.sharding.PartitionSpec(None))])
  laid = jax.device_put(stack, partition(mesh, stack))
  with jax.set_mesh(mesh):
    text = jax.jit(lambda stack, x: pipeline(layer, stack, x)).lower(laid, x).compile().as_text()
  assert 'collective-permute' in text
  shapes = [line.split('=')[1].split('all-gather')[0] for line in text.splitlines()
            if ' all-gather(' in line]  # fmt: skip
  assert not any(f'{D},{D}]' in shape for shape in shapes), shapes


def test_what_does_not_divide_is_named_with_its_cure():
  stack, x = inputs(depth=6)
  with (
    jax.set_mesh(compute.make_mesh('stage:4,data:2')),
    pytest.raises(ValueError, match='divide by 4 pipeline stages, got 6: use 4 or 8'),
  ):
    pipeline(layer, stack, x)
  stack, x = inputs()
  with (
    jax.set_mesh(compute.make_mesh('stage:4,data:2')),
    pytest.raises(ValueError, match='a batch of 8 does not divide into 3 microbatches'),
  ):
    pipeline(layer, stack, x, microbatches=3)
