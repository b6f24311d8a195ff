"""Matrix products, and the dense layer made of them.

Letters: P places, D width, F hidden width, E experts, T tiles, I places of a tile.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.spreading import platform

_TILE = 128  # Rows: fewer leave a CPU's product with little to do.


def product(x: jax.Array, kernel: Any) -> jax.Array:
  """Multiplies [..., D] by a kernel [D, F].

  A kernel may be something other than an array that knows its product, `kernel.multiplied(x)`.

  JAX derives the gradient of `x @ kernel` as [F, D] and turns it. Where it is added up over devices
  before that, XLA cannot fold the turn into the product: on two virtual CPU devices a small
  transformer's step took 8 % longer. Here it is computed as it lies. (No forward-mode derivative.)
  """
  # Called by a plain function, whose code `quantised` can replace.
  own = getattr(kernel, 'multiplied', None)
  return _product(x, kernel) if own is None else own(x)


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


def ragged(x_PD: jax.Array, stack_EDF: jax.Array, sizes_E: jax.Array) -> jax.Array:
  """Multiplies each group of rows by a matrix of its own.

  Args:
    x_PD: Rows, those of the first matrix first.
    stack_EDF: The matrices.
    sizes_E: How many rows each has.

  Returns:
    [P, F]; rows that belong to no matrix are 0.
  """
  if platform() != 'cpu':
    return jax.lax.ragged_dot(x_PD, stack_EDF, sizes_E)
  # XLA's CPU backend multiplies every row by every matrix. Here each tile of rows has one matrix,
  # and the last tile of each is filled with rows that are not read: 4 times as fast for 8 matrices.
  P, E = len(x_PD), len(stack_EDF)
  tile = max(8, min(_TILE, P // E))
  tiles_E = -(-sizes_E // tile)
  ends_E = jnp.cumsum(sizes_E)
  starts_E, firsts_E = ends_E - sizes_E, jnp.cumsum(tiles_E) - tiles_E
  t_T = jnp.arange(-(-P // tile) + E)
  owners_T = jnp.minimum(jnp.searchsorted(jnp.cumsum(tiles_E), t_T, side='right'), E - 1)
  rows_T = starts_E[owners_T] + (t_T - firsts_E[owners_T]) * tile
  x_TID = jnp.take(x_PD, rows_T[:, None] + jnp.arange(tile), axis=0, mode='clip')
  y_TIF = jnp.einsum('tid,tdf->tif', x_TID, stack_EDF[owners_T])
  p_P = jnp.arange(P)
  owners_P = jnp.minimum(jnp.searchsorted(ends_E, p_P, side='right'), E - 1)
  places_P = firsts_E[owners_P] * tile + p_P - starts_E[owners_P]
  y_PF = y_TIF.reshape(-1, y_TIF.shape[-1])[places_P]
  return jnp.where((p_P < ends_E[-1])[:, None], y_PF, 0)


def each(init: Any) -> Any:
  """Initialises a stack matrix by matrix: an initialiser takes a stack for a convolution."""

  def stacked(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: init(key, shape[1:]))(jax.random.split(key, shape[0]))

  return stacked
