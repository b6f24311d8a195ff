"""Norms of layers add up to the norm of all, and come with each step that asks for them."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import toys

from bigtrain.layer_norms import layer_norms
from bigtrain.state import init, shapes_of
from bigtrain.train import train_step


def test_layers_of_a_stack_are_told_apart_and_all_add_up():
  draw = np.random.default_rng(0).normal
  tree = {
    'embed': {'embedding': jnp.asarray(draw(size=(8, 4)))},
    'blocks': {'block_0': {'up': jnp.asarray(draw(size=(3, 4, 4))), 'bias': jnp.ones((3, 4))}},
  }
  found = {name: float(mean.value) for name, mean in layer_norms('grad', tree).items()}
  assert set(found) == {f'grad_norm/{n}' for n in ('embed', 'blocks_0', 'blocks_1', 'blocks_2')}
  second = jax.tree.map(lambda x: x[1], tree['blocks'])
  np.testing.assert_allclose(found['grad_norm/blocks_1'], optax.tree.norm(second), rtol=1e-6)
  total = math.sqrt(sum(norm**2 for norm in found.values()))
  np.testing.assert_allclose(total, optax.tree.norm(tree), rtol=1e-6)


def test_a_step_gives_them_where_they_are_asked_for():
  experiment = toys.experiment()
  shapes = shapes_of(experiment.data)
  state = jax.eval_shape(functools.partial(init, experiment), shapes)
  for asked in (False, True):
    other = dataclasses.replace(experiment, norms=asked)
    _, means = jax.eval_shape(functools.partial(train_step, other), state, shapes)
    for kind in ('grad', 'update', 'param'):
      assert (f'{kind}_norm/Dense_0' in means) == asked
