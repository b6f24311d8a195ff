"""Adapters after layers: `y + U gelu(D y)`, narrow in between, in a model whose rest is frozen.

    model = iteration.Bottleneck(base, targets='block_.*/(attention|feed)', width=32)
    Experiment(model=model, trainable='.*/adapter_.*', start=iteration.warm_start(RUN), ...)

Unlike `iteration.LoRA` they stay in the model: there is nothing to merge them into.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Bottleneck:
  """A model with adapters after some of its layers (Houlsby et al. 2019, section 2.1); stands where
  the model stood.

  Attributes:
    model: Any Flax module; its parameters keep their paths.
    targets: A pattern of whole paths of layers whose output is an array.
    width: Inside an adapter.

  Raises (when it is initialised):
    ValueError: `targets` matches no layer.
  """

  model: nn.Module
  targets: str
  width: int = 32

  def __post_init__(self):
    if self.width < 1:
      raise ValueError(f'Bottleneck: width must be at least 1, got {self.width}')

  def init_with_output(self, key: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """As Flax's; each adapter begins as nothing."""
    seen: dict[str, bool] = {}
    with nn.intercept_methods(functools.partial(self._insert, seen)):
      output = self.model.init_with_output(key, *args, **kwargs)
    if not any(seen.values()):
      near = difflib.get_close_matches(self.targets, seen, 5, 0)
      raise ValueError(
        f'Bottleneck: targets={self.targets!r} matches no layer: the nearest are {", ".join(near)}'
      )
    return output

  def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
    """As Flax's, of the model's methods too."""
    with nn.intercept_methods(functools.partial(self._insert, {})):
      return self.model.apply(variables, *args, **kwargs)

  def _insert(self, seen: dict[str, bool], call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    y = call(*args, **kwargs)
    path = '/'.join(context.module.path)
    if context.method_name != '__call__' or not path:
      return y
    seen[path] = re.fullmatch(self.targets, path) is not None
    return self._adapted(context.module.scope, y) if seen[path] else y

  def _adapted(self, scope: Any, y: jax.Array) -> jax.Array:
    features = y.shape[-1]

    def param(name: str, init: Any, *shape: int) -> jax.Array:
      if scope.has_variable('params', name):  # Also where a layer is called twice.
        return scope.get_variable('params', name).astype(y.dtype)
      return scope.param(name, init, shape).astype(y.dtype)

    down = param('adapter_down', nn.initializers.lecun_normal(), features, self.width)
    up = param('adapter_up', nn.initializers.zeros, self.width, features)
    return y + jnp.matmul(nn.gelu(y @ down), up)
