"""Layers one after another: unrolled or scanned, and what the backward pass keeps of each.

Unrolled, a model's parameters hold 'block_0', 'block_1', ... Scanned, they hold 'blocks', in which
'block_0' ... 'block_{P-1}' are P neighbouring layers that may differ (a local layer and a global
one, say), with a leading axis of depth / P. A scanned model compiles in the time of P layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

_POLICIES = jax.checkpoint_policies
# What the backward pass finds again rather than computing it again.
REMAT = {
  'none': None,  # All of it.
  'full': _POLICIES.nothing_saveable,  # A layer's input alone.
  'dots': _POLICIES.dots_saveable,  # The results of all products.
  'weight_dots': _POLICIES.dots_with_no_batch_dims_saveable,  # Of products with parameters.
}
# By layer, in all that is made inside a scan.
_AXES: dict[Any, Any] = {'params': 0, 'cache': 0, 'losses': 0, 'intermediates': 0}


def remat(kind: str, call: Callable[..., jax.Array], scanned: bool) -> Callable[..., jax.Array]:
  """Returns `call(module, x, *arrays)` whose backward pass keeps what `kind` says.

  Args:
    kind: One of REMAT.
    call: Applies a module to arrays.
    scanned: Whether it is called inside a scan, where XLA cannot undo the recomputation.

  Raises:
    ValueError: There is no such kind.
  """
  if kind not in REMAT:
    raise ValueError(f'remat must be one of {", ".join(map(repr, REMAT))}, got {kind!r}')
  if REMAT[kind] is None:
    return call
  return nn.remat(call, policy=REMAT[kind], prevent_cse=not scanned)


def scan(
  call: Callable[[nn.Module, jax.Array, jax.Array], jax.Array],
  module: nn.Module,
  x: jax.Array,
  given: jax.Array,
) -> jax.Array:
  """Applies a module len(given) times, with parameters of its own each time.

  Args:
    call: Maps the module, x and one of `given` to the next x.
    module: Whose parameters get a leading axis.
    x: What goes from one to the next.
    given: An array with a leading axis, of which each time gets one entry.
  """
  body = nn.scan(
    lambda module, x, one: (call(module, x, one), None),
    variable_axes=_AXES,
    split_rngs={'params': True, 'dropout': True},
    length=len(given),
  )
  return body(module, x, given)[0]


def stack_layers(params: Mapping[str, Any], period: int = 1) -> dict[str, Any]:
  """Turns an unrolled model's parameters into those of the same model scanned.

  Args:
    params: With 'block_0', 'block_1', ...; the rest stays as it is. A tree of gradients or of an
      optimiser's moments will do as well.
    period: P.

  Raises:
    ValueError: There are no blocks, or their number does not divide by the period.
  """
  count = sum(name.startswith('block_') for name in params)
  if not count or count % period:
    raise ValueError(
      f'the number of blocks must divide by a period of {period} and not be 0, got {count}'
    )
  stacked = {
    f'block_{j}': jax.tree.map(
      lambda *layers: jnp.stack(layers), *(params[f'block_{i}'] for i in range(j, count, period))
    )
    for j in range(period)
  }
  rest = {name: part for name, part in params.items() if not name.startswith('block_')}
  return {**rest, 'blocks': stacked}


def unstack_layers(params: Mapping[str, Any]) -> dict[str, Any]:
  """Turns a scanned model's parameters into those of the same model unrolled.

  Raises:
    ValueError: There are no scanned blocks.
  """
  if 'blocks' not in params:
    raise ValueError(f"the parameters must hold 'blocks', got {sorted(params)}")
  stacked = params['blocks']
  period = len(stacked)
  times = len(jax.tree.leaves(stacked)[0])
  unrolled = {
    f'block_{i}': jax.tree.map(lambda x, i=i: x[i // period], stacked[f'block_{i % period}'])
    for i in range(times * period)
  }
  return {**{name: part for name, part in params.items() if name != 'blocks'}, **unrolled}
