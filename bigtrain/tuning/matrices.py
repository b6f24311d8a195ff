"""Momentum made orthogonal, many matrices at a time.

Conventions: a parameter of 2 axes is a matrix [in, out]; of 3, a stack of them [layers, in, out];
of 4, a convolution [height, width, in, out], seen as the matrix [height * width * in, out]. What
lies under 'blocks' belongs to scanned layers, and has one more axis in front, for them.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bigtrain.tuning.orthogonal import Coefficients, orthogonalize


class MuonState(NamedTuple):
  """The mean gradient, a tree like the parameters'."""

  momentum: Any


def scale_by_muon(
  *,
  coefficients: Coefficients,
  momentum: float = 0.95,
  nesterov: bool = True,
  axes: tuple[str, ...] | None = None,
) -> optax.GradientTransformation:
  """Replaces gradients of matrices by orthogonal matrices of their momentum.

  Matrices of one shape, or of that shape transposed, are stacked and made orthogonal together.
  Under a mesh (`jax.set_mesh`) the stack's leading axis is spread over devices, which would
  otherwise all repeat the same work on replicated parameters; without a mesh nothing changes. The
  result of a stack is gathered on every device before it's taken apart: where that doesn't fit,
  give `axes=()`.

  Args:
    coefficients: As in `orthogonalize`.
    momentum: Share of the mean gradient that a step keeps.
    nesterov: Adds the latest gradient once more.
    axes: Mesh axes to spread over: None for all of the mesh, () for none.

  Returns:
    A transformation of trees whose leaves all have 2 to 4 axes. The update of a matrix [in, out]
    has singular values of about sqrt(max(1, out / in)).
  """

  def init(params):
    return MuonState(jax.tree.map(jnp.zeros_like, params))

  def update(updates, state, params=None):
    del params
    mean = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, state.momentum, updates)
    ahead = mean
    if nesterov:
      ahead = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, mean, updates)
    leaves, structure = jax.tree_util.tree_flatten_with_path(ahead)
    return structure.unflatten(_together(leaves, coefficients, axes)), MuonState(mean)

  return optax.GradientTransformation(init, update)


def axes_of_one(path: Any, leaf: Any) -> int:
  """Returns how many axes a parameter has in one layer, scanned or not, by its path in a tree."""
  scanned = any(getattr(key, 'key', None) == 'blocks' for key in path)
  return leaf.ndim - 1 if scanned else leaf.ndim


def _together(
  leaves_by_path: list[tuple[Any, jax.Array]],
  coefficients: Coefficients,
  axes: tuple[str, ...] | None,
) -> list[jax.Array]:
  """Returns each leaf made orthogonal and scaled, by one call of `orthogonalize` a shape."""
  stacks, groups = [], {}
  leaves = [leaf for _, leaf in leaves_by_path]
  for index, (path, leaf) in enumerate(leaves_by_path):
    stack = as_stack(leaf, axes_of_one(path, leaf))
    stacks.append(stack)
    groups.setdefault(tuple(sorted(stack.shape[1:])), []).append(index)
  results = list(leaves)
  for members in groups.values():
    x_NMK = jnp.concatenate([_wide(stacks[index]) for index in members])
    x_NMK = _spread(x_NMK, coefficients, axes)
    start = 0
    for index in members:
      stack = stacks[index]
      part = x_NMK[start : start + len(stack)]
      start += len(stack)
      # An involution: what was transposed to be wide is transposed back.
      part = part if part.shape == stack.shape else jnp.swapaxes(part, 1, 2)
      rows, columns = stack.shape[1:]
      results[index] = (part * math.sqrt(max(1, columns / rows))).reshape(leaves[index].shape)
  return results


def as_stack(leaf: jax.Array, axes: int) -> jax.Array:
  """Returns a parameter as a stack of matrices [N, M, K]; `axes` is how many one layer's has."""
  if not 2 <= axes <= 4:
    raise ValueError(f'a matrix has 2 to 4 axes, got shape {leaf.shape}')
  if axes == 3:
    return leaf.reshape(-1, *leaf.shape[-2:])
  layers = leaf.shape[0] if leaf.ndim > axes else 1
  return leaf.reshape(layers, -1, leaf.shape[-1])


def _wide(stack: jax.Array) -> jax.Array:
  return stack if stack.shape[1] <= stack.shape[2] else jnp.swapaxes(stack, 1, 2)


def _spread(
  x_NMK: jax.Array, coefficients: Coefficients, axes: tuple[str, ...] | None
) -> jax.Array:
  mesh = jax.sharding.get_abstract_mesh()
  axes = tuple(mesh.auto_axes) if axes is None else axes
  devices = math.prod(mesh.shape[axis] for axis in axes)
  if devices == 1:
    return orthogonalize(x_NMK, coefficients)
  count = len(x_NMK)
  spec = jax.sharding.PartitionSpec
  if all(mesh.shape[axis] == 1 for axis in mesh.axis_names if axis != 'data'):
    # The gradient is added up once, for all. Left to itself, XLA spreads the momentum as well, and
    # sends parts of it about: a tenth of a small step on CPU.
    x_NMK = jax.lax.with_sharding_constraint(x_NMK, spec())
  # A stack that doesn't divide is filled up with zeros, which stay zeros.
  x_NMK = jnp.pad(x_NMK, ((0, -count % devices), (0, 0), (0, 0)))
  x_NMK = jax.lax.with_sharding_constraint(x_NMK, spec(axes))
  x_NMK = orthogonalize(x_NMK, coefficients)
  return jax.lax.with_sharding_constraint(x_NMK, spec())[:count]
