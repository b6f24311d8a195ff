"""Optimiser states of 8 bits a number (Dettmers et al. 2022, block-wise quantisation).

An array is kept as whole numbers of 8 bits, and one scale for each block of its last axis, so that
a large number costs precision among its neighbours alone. In place of the paper's table of 256
values a code stands for a power of itself, which needs no look-up: neighbours differ by 2 % near a
block's largest number, and by more towards 0. What lies between two is rounded up or down by
chance, so that its mean is right: a second moment that changes by a thousandth a step would
otherwise stand still.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

_BLOCK = 256  # Numbers of the last axis that share a scale, where it divides by that.
_LEAST = 4096  # Numbers of an array from which it is worth it.
_POWERS = {'signed': 3, 'positive': 4}  # The least but 0: 5e-7 and 2e-10 of the largest.
_MOST = {'signed': 127, 'positive': 255}


class Signed(NamedTuple):
  """Numbers of either sign: codes int8, of the array's shape, and scales [..., blocks]."""

  codes: jax.Array
  scales: jax.Array


class Positive(NamedTuple):
  """Numbers from 0: codes uint8, of the array's shape, and scales [..., blocks]."""

  codes: jax.Array
  scales: jax.Array


class EightBitState(NamedTuple):
  """The inner state, packed, and the updates so far, from which the rounding's chance comes."""

  inner: Any
  count: jax.Array


def eight_bit(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
  """Keeps an optimiser's large float32 arrays in 8 bits between its steps.

  Adam's two moments take 2 bytes a parameter and not 8. Arrays of fewer than 4,096 numbers, such as
  gains and biases, stay. Second moments are known by Optax's name for them, 'nu', and are kept
  with their precision where there is no sign; one above 0 never becomes 0. A step is computed in
  float32, on one leaf of the state after another where XLA sees to it.

  Args:
    optimizer: An Optax transformation such as `tuning.adamw(rate)`.
  """
  inner = optax.with_extra_args_support(optimizer)

  def packed(state: Any, count: jax.Array) -> Any:
    key = jax.random.fold_in(jax.random.key(0), count)
    number = iter(range(1 << 30))  # Each array has draws of its own.

    def one(path: Any, x: Any) -> Any:
      if x.dtype != jnp.float32 or x.size < _LEAST or not x.ndim:
        return x
      positive = any(getattr(k, 'name', None) == 'nu' for k in path)
      return pack(x, jax.random.fold_in(key, next(number)), positive=positive)

    return jax.tree_util.tree_map_with_path(one, state)

  def init(params):
    return EightBitState(packed(inner.init(params), jnp.uint32(0)), jnp.zeros((), jnp.uint32))

  def update(updates, state, params=None, **extra):
    whole = jax.tree.map(
      lambda x: unpack(x) if isinstance(x, (Signed, Positive)) else x,
      state.inner,
      is_leaf=_is_packed,
    )
    updates, new = inner.update(updates, whole, params, **extra)
    count = state.count + 1
    return updates, EightBitState(packed(new, count), count)

  return optax.GradientTransformationExtraArgs(init, update)


def pack(x: jax.Array, key: jax.Array, *, positive: bool = False) -> Signed | Positive:
  """Returns an array in 8 bits, rounded by chance to one of the two numbers around each.

  Args:
    x: Float32, one axis or more; with `positive` nothing below 0.
    key: Decides the rounding.
    positive: Whether the codes are spent on positive numbers alone. These never become 0.
  """
  kind = 'positive' if positive else 'signed'
  most, power = _MOST[kind], _POWERS[kind]
  size = jnp.abs(x).reshape(*x.shape[:-1], -1, _block(x.shape))
  scales = size.max(axis=-1)
  part = size / jnp.where(scales == 0, 1, scales)[..., None]
  below = jnp.clip(jnp.floor(most * part ** (1 / power)), 0, most - 1)
  low, high = (below / most) ** power, ((below + 1) / most) ** power
  up = jax.random.uniform(key, part.shape) < (part - low) / (high - low)
  code = below + up
  if positive:
    code = jnp.where(part > 0, jnp.maximum(code, 1), 0)
    return Positive(code.reshape(x.shape).astype(jnp.uint8), scales)
  return Signed((jnp.sign(x) * code.reshape(x.shape)).astype(jnp.int8), scales)


def unpack(x: Signed | Positive) -> jax.Array:
  """Returns the float32 array that `pack` made smaller."""
  kind = 'signed' if isinstance(x, Signed) else 'positive'
  part = x.codes.astype(jnp.float32) / _MOST[kind]
  size = jnp.abs(part) ** _POWERS[kind]
  blocks = size.reshape(*x.codes.shape[:-1], -1, _block(x.codes.shape)) * x.scales[..., None]
  return jnp.sign(part) * blocks.reshape(x.codes.shape)


def _is_packed(x: Any) -> bool:
  return isinstance(x, (Signed, Positive))


def _block(shape: tuple[int, ...]) -> int:
  return _BLOCK if shape[-1] % _BLOCK == 0 else shape[-1]
