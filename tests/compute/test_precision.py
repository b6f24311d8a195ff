"""Training in fewer bits: the losses of float32 within a bound, in the bits that were asked for."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import architecture, compute, tuning
from bigtrain.architecture import low_precision
from bigtrain.state import init
from bigtrain.train import train_step
from experiments import stdlib_lm

STEPS = 30


@functools.cache
def experiment():
  made = stdlib_lm.experiment(vocab=0, length=64, batch=8, depth=1, width=64, conv=0)
  return dataclasses.replace(made, optimizer=tuning.adamw(1e-3), schedule=None)


def in_bfloat16():
  return dataclasses.replace(experiment(), model=experiment().model.clone(dtype='bfloat16'))


def kept_in_bfloat16():
  optimizer = compute.stochastic_rounding(experiment().optimizer)
  return dataclasses.replace(experiment(), optimizer=optimizer, param_dtype='bfloat16')


def quantised(kind):
  model = architecture.quantised(experiment().model, kind)
  return dataclasses.replace(experiment(), model=model)


def losses(experiment):
  """Returns the loss of each step, and the last state."""
  batches = experiment.data.iterator(0, 1)
  step = jax.jit(functools.partial(train_step, experiment))
  state: Any = jax.jit(functools.partial(init, experiment))(next(experiment.data.iterator(0, 1)))
  found = []
  for _ in range(STEPS):
    state, means = step(state, next(batches))
    found.append(float(means['loss'].value))
  return np.array(found), state


@functools.cache
def in_float32():
  return losses(experiment())[0]


def test_in_float32_it_learns():
  assert in_float32()[-1] < in_float32()[0] - 1


@pytest.mark.parametrize('make', [in_bfloat16, kept_in_bfloat16])
def test_bfloat16_gives_about_the_losses_of_float32(make):
  found, state = losses(make())
  np.testing.assert_allclose(found, in_float32(), atol=0.02)
  assert (found != in_float32()).any()
  types = {x.dtype for x in jax.tree.leaves(state.params)}
  assert types == {jnp.dtype(jnp.float32 if make is in_bfloat16 else jnp.bfloat16)}


@pytest.mark.parametrize('kind', ['int8', 'fp8'])
def test_products_of_8_bits_give_about_the_losses_of_float32(kind):
  pytest.importorskip('qwix', reason="needs pip install 'bigtrain[quantise]'")
  found, _ = losses(quantised(kind))
  np.testing.assert_allclose(found, in_float32(), atol=0.02)
  assert (found != in_float32()).any()


def products(jaxpr):
  """Yields the types and the results' shapes of all products, those of inner functions too."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      types = tuple(str(x.aval.dtype) for x in equation.invars)
      yield types, equation.outvars[0].aval.shape
    for value in jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda x: hasattr(x, 'eqns')
    ):
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        yield from products(inner)


@pytest.mark.parametrize('kind', ['int8', 'fp8'])
def test_every_product_of_a_scanned_stack_has_8_bits_but_those_of_the_head(kind):
  pytest.importorskip('qwix', reason="needs pip install 'bigtrain[quantise]'")
  model = experiment().model.clone(scan=True, remat='full', feed='swiglu', dtype='bfloat16')
  tokens = jnp.zeros((2, 64), jnp.int32)
  variables = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), tokens)
  model = architecture.quantised(model, kind)

  def loss(variables):
    return jnp.asarray(model.apply(variables, tokens, train=True), jnp.float32).sum()

  found = list(products(jax.make_jaxpr(jax.grad(loss))(variables).jaxpr))
  forward, backward = low_precision.KINDS[kind]
  eight = [types for types, _ in found if types in ((forward, forward), (backward, forward))]
  # q, k, v, out, up, gate and down: forward, again but for down, and two gradients of each.
  assert len(eight) == 7 + 6 + 2 * 7
  assert eight.count((backward, forward)) == (27 if kind == 'int8' else 2 * 7)
  # The head has one product and two gradients; attention's have an axis of heads.
  others = [shape for types, shape in found if types not in eight]
  assert sum(len(shape) < 4 for shape in others) == 3


def test_what_there_is_not_is_refused():
  with pytest.raises(ValueError, match=r"quantise must be '' or one of 'int8', 'fp8', got 'int4'"):
    architecture.quantised(experiment().model, 'int4')
  with pytest.raises(ValueError, match=r"param_dtype must be .* got 'int8'"):
    dataclasses.replace(experiment(), param_dtype='int8')
