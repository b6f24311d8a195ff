"""Matrices as tiles, for one row at a time on a CPU: what writing a text token by token asks for.

XLA's CPU backend multiplies one row by a matrix on one core, copies a matrix out of a stack before
it does, and converts one of bfloat16 each time. Here a matrix lies as tiles of 64 outputs, of
float32, and the product is a sum that XLA fuses: each core walks through tiles of its own, in the
order of memory.

Letters: D width, F outputs, T tiles, J outputs of a tile.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util as traverse
import jax
import jax.numpy as jnp

from bigtrain.architecture.products import product

_TILE = 64  # Outputs: 8 registers of 8 numbers, as many sums as a core has under way at a time.
_SMALL = 2**16  # Numbers: a smaller matrix stays in a core's cache.
_STACKS = ('qkv', 'kv')
_NAMES = ('kernel', 'q', *_STACKS)  # Parameters of a decoder that multiply, and do nothing else.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tiles:
  """A matrix [D, F] as tiles [T, D, J]; a stack of them is one matrix, beside each other.

  Attributes:
    tiles: The numbers, float32.
    dtype: Of the product.
    stack: How many matrices.
  """

  tiles: jax.Array
  dtype: Any = dataclasses.field(metadata={'static': True})
  stack: int = dataclasses.field(default=1, metadata={'static': True})

  @classmethod
  def of(cls, matrix: jax.Array) -> Tiles:
    """Lays a matrix [D, F] or a stack [N, D, F] out; F divides by 64."""
    D, F = matrix.shape[-2:]
    tiles = matrix.reshape(-1, D, F // _TILE, _TILE).swapaxes(1, 2).reshape(-1, D, _TILE)
    return cls(tiles.astype(jnp.float32), matrix.dtype, matrix.shape[0] if matrix.ndim == 3 else 1)

  def astype(self, dtype: Any) -> Tiles:
    """Returns the same numbers, multiplied in another type."""
    return Tiles(self.tiles, dtype, self.stack)

  def matrix(self) -> jax.Array:
    """Returns the matrix."""
    T, D, J = self.tiles.shape
    return self.tiles.swapaxes(0, 1).reshape(D, T * J).astype(self.dtype)

  def multiplied(self, x: jax.Array) -> jax.Array:
    """Returns x [..., D] times the matrix; sums are float32."""
    if math.prod(x.shape[:-1]) != 1:
      return product(x, self.matrix())
    x_D = x.reshape(-1).astype(jnp.float32)
    y_TJ = jnp.sum(self.tiles * x_D[:, None], axis=1)
    return y_TJ.reshape(*x.shape[:-1], -1).astype(self.dtype)


def tiles_of(params: Mapping[str, Any]) -> dict[str, Any]:
  """Returns parameters with large matrices as Tiles, in new memory; the others are the same."""
  flat: dict[str, Any] = traverse.flatten_dict(dict(params), sep='/')
  lay_out = jax.jit(Tiles.of)
  for path, x in flat.items():
    name, stacked = path.rpartition('/')[2], x.ndim == 3
    wanted = name in _NAMES and x.ndim in (2, 3) and stacked == (name in _STACKS)
    if wanted and x.shape[-1] % _TILE == 0 and x.size >= _SMALL:
      flat[path] = lay_out(x)
  return traverse.unflatten_dict(flat, sep='/')


def weights(module: nn.Module, name: str, init: Any, shape: tuple[int, ...], dtype: Any) -> Any:
  """Returns `module.param(name, init, shape)`, or the Tiles in its place, in some type."""
  found = module.get_variable('params', name) if module.has_variable('params', name) else None
  return (found if isinstance(found, Tiles) else module.param(name, init, shape)).astype(dtype)


def products(x: jax.Array, stack: Any) -> list[jax.Array]:
  """Multiplies [..., D] by each of a stack of kernels [D, F]."""
  if isinstance(stack, Tiles):  # In one: XLA would copy each part out of the stack.
    return jnp.split(stack.multiplied(x), stack.stack, axis=-1)
  return [product(x, kernel) for kernel in stack]


def through_tiles(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
  """Multiplies by Tiles in the place of `nn.Dense`; for `nn.intercept_methods`."""
  module = context.module
  if not (isinstance(module, nn.Dense) and context.method_name == '__call__'):
    return call(*args, **kwargs)
  kernel = module.get_variable('params', 'kernel')
  if not isinstance(kernel, Tiles):
    return call(*args, **kwargs)
  y = kernel.astype(module.dtype or args[0].dtype).multiplied(args[0])
  bias = module.get_variable('params', 'bias')
  return y if bias is None else y + bias.astype(y.dtype)
