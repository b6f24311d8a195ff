"""Matrix products, and the dense layer made of them."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Multiplies [..., D] by a kernel [D, F].

  JAX derives the gradient of `x @ kernel` as [F, D] and turns it. Where it is added up over devices
  before that, XLA cannot fold the turn into the product: on two virtual CPU devices a small
  transformer's step took 8 % longer. Here it is computed as it lies. (No forward-mode derivative.)
  """
  # Called by a plain function, whose code `quantised` can replace.
  return _product(x, kernel)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return x @ kernel, (x, kernel)


def _backward(residuals: tuple[jax.Array, jax.Array], y: jax.Array) -> tuple[jax.Array, jax.Array]:
  x, kernel = residuals
  lead = tuple(range(x.ndim - 1))
  return y @ kernel.T, jax.lax.dot_general(x, y, ((lead, lead), ((), ())))


_product = jax.custom_vjp(lambda x, kernel: _forward(x, kernel)[0])
_product.defvjp(_forward, _backward)


def dense(features: int, **kwargs: Any) -> nn.Dense:
  """A dense layer that computes by `product`."""
  return nn.Dense(features, dot_general=lambda x, kernel, *_, **__: product(x, kernel), **kwargs)


def each(init: Any) -> Any:
  """Initialises a stack matrix by matrix: an initialiser takes a stack for a convolution."""

  def stacked(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: init(key, shape[1:]))(jax.random.split(key, shape[0]))

  return stacked
