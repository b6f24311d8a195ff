"""What a step costs in floating-point operations, and what the chip could do in a second."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.extend

# Dense bfloat16 operations a second and chip, by `jax.Device.device_kind`; from the vendors' data
# sheets.
_PEAK = {
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
  'TPU7x': 2307e12,
  'NVIDIA A100': 312e12,
  'NVIDIA L4': 121e12,
  'NVIDIA H100': 989e12,
  'NVIDIA H200': 989e12,
}


def peak_flops(device: Any) -> float | None:
  """Peak bfloat16 FLOP/s of a device, or None where it is not known (CPUs among them)."""
  matches = [kind for kind in _PEAK if device.device_kind.startswith(kind)]
  return _PEAK[max(matches, key=len)] if matches else None


def count_flops(jaxpr: Any) -> float:
  """Floating-point operations of the matrix products and convolutions in a program, as traced.

  A multiplication with its addition counts 2. A scanned body counts once an iteration, a `while`
  body once, the costliest branch of a `cond` counts. The compiler's own count would take the
  lowered program, and counts scanned bodies once.
  """
  total = 0.0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      (contracted, _), _ = params['dimension_numbers']
      shape = equation.invars[0].aval.shape
      total += 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    elif name == 'conv_general_dilated':
      kernel = equation.invars[1].aval.shape
      out_features = kernel[params['dimension_numbers'].rhs_spec[0]]
      total += 2.0 * equation.outvars[0].aval.size * math.prod(kernel) / out_features
    else:
      inner = [count_flops(inner) for inner in _inner(params)]
      times = params['length'] if name == 'scan' else 1
      total += times * (max(inner, default=0.0) if name == 'cond' else sum(inner))
  return total


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
