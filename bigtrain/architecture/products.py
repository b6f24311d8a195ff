"""Matrix products, and the dense layer made of them."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax


def product(x: jax.Array, kernel: Any) -> jax.Array:
  """Multiplies [..., D] by a kernel [D, F].

  A kernel may be something other than an array that knows its product, `kernel.multiplied(x)`.
  """
  own = getattr(kernel, 'multiplied', None)
  return _product(x, kernel) if own is None else own(x)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Multiplies two arrays.

  JAX derives the gradient of `x @ kernel` as [F, D] and turns it. Where it is added up over devices
  before that, XLA cannot fold the turn into the product: on two virtual CPU devices a small
  transformer's step took 8 % longer. Here it is computed as it lies. (No forward-mode derivative.)
  """
  return x @ kernel


def _product_backward(residuals: tuple[jax.Array, jax.Array], y: jax.Array) -> tuple:
  x, kernel = residuals
  lead = tuple(range(x.ndim - 1))
  return y @ kernel.T, jax.lax.dot_general(x, y, ((lead, lead), ((), ())))


_product.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _product_backward)


def dense(features: int, **kwargs: Any) -> nn.Dense:
  """A dense layer that computes by `product`."""
  return nn.Dense(features, dot_general=lambda x, kernel, *_, **__: product(x, kernel), **kwargs)


def each(init: Any) -> Any:
  """Initialises a stack matrix by matrix: an initialiser takes a stack for a convolution."""

  def stacked(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: init(key, shape[1:]))(jax.random.split(key, shape[0]))

  return stacked
