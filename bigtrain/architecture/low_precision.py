"""Training by products of 8-bit numbers, through qwix.

Every product of a dense layer, and of attention's queries, keys and values, takes both its arrays
as 8-bit numbers with a scale for each row or column, forward and backward. Parameters, sums and all
else (attention itself, norms, experts) keep their types.
"""

from __future__ import annotations

import inspect
from typing import Any

import flax.linen as nn
import jax

from bigtrain.architecture import products

# Of activations and parameters, and of gradients, which need the wider range (Micikevicius et al.
# 2022).
KINDS = {'int8': ('int8', 'int8'), 'fp8': ('float8_e4m3fn', 'float8_e5m2')}


def quantised(model: nn.Module, kind: str, *, spared: str = '(.*/)?head') -> nn.Module:
  """Returns the model, to be trained by 8-bit products; its parameters are the same.

  Args:
    model: Of any family; what it computes by `product` and `dense` is quantised.
    kind: 'int8', 'fp8', or '' for the model itself.
    spared: A regular expression that matches the whole path of each layer that keeps its precision:
      the output layer by default, whose errors are the loss's own.

  Raises:
    ValueError: There is no such kind.
    ImportError: qwix is not installed.
  """
  if not kind:
    return model
  if kind not in KINDS:
    raise ValueError(f"quantise must be '' or one of {', '.join(map(repr, KINDS))}, got {kind!r}")
  try:
    import qwix
  except ImportError as error:
    raise ImportError(
      f'quantise={kind!r} needs qwix, which is not here: pip install qwix'
    ) from error

  class Products(qwix.QtProvider):
    def get_intercept_map(self) -> dict[str, Any]:
      return {f'{products.__name__}.product': self._product}

    def _product(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
      y = self.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
      return y.astype(x.dtype)  # The scales are float32.

  forward, backward = KINDS[kind]
  rules = [
    qwix.QtRule(module_path=spared),
    qwix.QtRule(weight_qtype=forward, act_qtype=forward, bwd_qtype=backward),
  ]
  family = type(model)
  methods = [
    name
    for name in sorted({*dir(family)} - {*dir(nn.Module), *family.__dataclass_fields__})
    if name == '__call__' or (name[0] != '_' and inspect.isfunction(getattr(family, name)))
  ]
  return qwix.quantize_model(model, Products(rules), methods=methods)
