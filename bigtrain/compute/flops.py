"""What a step costs in floating-point operations."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.extend


def count_flops(jaxpr: Any) -> float:
  """Floating-point operations of the matrix products and convolutions in a program, as traced.

  A multiplication with its addition counts 2. A scanned body counts once an iteration, a kernel's
  once a cell of its grid, a mapped shard's once a shard, a `while` body once, the costliest branch
  of a `cond` counts. The compiler's own count would take the lowered program, and counts scanned
  bodies once.
  """
  total = 0.0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      (contracted, _), _ = params['dimension_numbers']
      shape = equation.invars[0].aval.shape
      total += 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    elif name == 'ragged_dot_general':  # Each row meets one of the matrices.
      (contracted, _), _ = params['ragged_dot_dimension_numbers'].dot_dimension_numbers
      shape = equation.invars[0].aval.shape
      total += 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    elif name == 'conv_general_dilated':
      kernel = equation.invars[1].aval.shape
      out_features = kernel[params['dimension_numbers'].rhs_spec[0]]
      total += 2.0 * equation.outvars[0].aval.size * math.prod(kernel) / out_features
    else:
      inner = [count_flops(inner) for inner in _inner(params)]
      times = _times(name, params)
      total += times * (max(inner, default=0.0) if name == 'cond' else sum(inner))
  return total


def _times(name: str, params: dict[str, Any]) -> int:
  if name == 'scan':
    return params['length']
  if name == 'pallas_call':
    return math.prod(params['grid_mapping'].grid)
  if name == 'shard_map':
    mesh = params['mesh']
    # Renamed from one JAX to the next.
    axes = params.get('newly_manual_axes', params.get('manual_axes', mesh.axis_names))
    return math.prod(mesh.shape[axis] for axis in axes)
  return 1


def has_convolutions(jaxpr: Any) -> bool:
  """Whether a program, or any function that it calls, holds a convolution."""
  return any(
    equation.primitive.name == 'conv_general_dilated'
    or any(has_convolutions(inner) for inner in _inner(equation.params))
    for equation in jaxpr.eqns
  )


def _inner(params: dict[str, Any]) -> Iterator[Any]:
  for value in jax.tree.leaves(list(params.values()), is_leaf=lambda x: hasattr(x, 'jaxpr')):
    if hasattr(value, 'jaxpr'):
      yield value.jaxpr
    elif isinstance(value, jax.extend.core.Jaxpr):
      yield value
