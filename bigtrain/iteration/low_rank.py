"""Low-rank adapters: `x W + (alpha / rank) x A B`, where A and B are trained and W stays.

    model = iteration.LoRA(base, targets='.*/attention/.*', rank=8)
    Experiment(model=model, trainable='lora/.*', start=iteration.warm_start(RUN), ...)

The model's own parameters keep their paths, so that warm starts need no renames; beside them stand
'lora/PATH/a' and 'lora/PATH/b'. A product of which W is a part never forms W + A B, so neither the
gradient of W nor memory for it is spent; B starts at 0. Parameters of an array that is kept as
int8 are 'PATH/int8' and 'PATH/scale'; a warm start makes them of the array itself.

What follows any layer of Flax that multiplies by a matrix: `nn.Dense`, and our own products. Any
other use of a target (a convolution, an embedding) sees the merged array: as exact, at the cost of
its gradient. Stacks of matrices, as scanned layers have, get an A and a B each.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util as traverse
import jax
import jax.numpy as jnp

_LORA = 'lora'


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8:
  """A matrix [..., D, F] as integers and a scale [..., F], one of each output.

  `x @ W` is computed as `(x @ int8) * scale`: exact for what is kept.
  """

  int8: jax.Array
  scale: jax.Array

  @classmethod
  def of(cls, matrix: Any) -> Int8:
    """Rounds a matrix to 255 levels of each output's largest number."""
    largest = jnp.max(jnp.abs(matrix), axis=-2, keepdims=True)
    scale = jnp.where(largest > 0, largest, 1) / 127
    return cls(jnp.round(matrix / scale).astype(jnp.int8), scale.squeeze(-2))

  @property
  def dtype(self) -> Any:
    """What it is computed in."""
    return self.scale.dtype

  def astype(self, dtype: Any) -> Int8:
    """Returns the same, computed in another type."""
    return Int8(self.int8, self.scale.astype(dtype))

  def multiplied(self, x: jax.Array) -> jax.Array:
    """Returns x [..., D] times the matrix."""
    return (x @ self.int8.astype(x.dtype)) * self.scale

  def merged(self) -> jax.Array:
    """Returns the matrix."""
    return self.int8.astype(self.dtype) * self.scale[..., None, :]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sum:
  """`W + factor A B` in the place of a matrix W [..., D, F]; A is [..., D, R], B is [..., R, F].

  A part along the leading axis is a Sum too. Whatever else is asked of it, the merged array does.
  """

  base: Any  # First: Flax compares the shape of the first leaf with what a layer wants.
  a: jax.Array | None
  b: jax.Array | None
  factor: float = dataclasses.field(metadata={'static': True})

  @property
  def dtype(self) -> Any:
    """Of the matrix."""
    return self.base.dtype

  def astype(self, dtype: Any) -> Sum:
    """Returns the same in another type."""
    a, b = (None if x is None else x.astype(dtype) for x in (self.a, self.b))
    return Sum(self.base.astype(dtype), a, b, self.factor)

  def __iter__(self) -> Iterator[Sum]:
    for index in range(len(jax.tree.leaves(self)[0])):
      yield jax.tree.map(lambda x, index=index: x[index], self)

  def multiplied(self, x: jax.Array) -> jax.Array:
    """Returns x [..., D] times the matrix, without forming it."""
    y = self.base.multiplied(x) if isinstance(self.base, Int8) else x @ self.base
    return y if self.a is None or self.b is None else y + self.factor * ((x @ self.a) @ self.b)

  def merged(self) -> jax.Array:
    """Returns the matrix."""
    base = self.base.merged() if isinstance(self.base, Int8) else self.base
    if self.a is None or self.b is None:
      return base
    product = jnp.matmul(self.a, self.b, precision=jax.lax.Precision.HIGHEST)
    return base + (self.factor * product).astype(base.dtype)

  def __jax_array__(self) -> jax.Array:
    return self.merged()

  def __getattr__(self, name: str) -> Any:
    if name.startswith('__'):
      raise AttributeError(name)
    return getattr(self.merged(), name)


@dataclasses.dataclass(frozen=True)
class LoRA:
  """A model with low-rank adapters (Hu et al. 2022, section 4.1); stands where the model stood.

  Attributes:
    model: Any Flax module.
    targets: A pattern of whole paths, such as '.*/attention/.*'; of what it matches, matrices get
      an adapter, and vectors do not.
    rank: R.
    alpha: The product of A and B counts `alpha / rank` times, so that a good rate of one rank is
      one of another.
    int8: A pattern of whole paths of matrices that are kept as int8 (frozen, a quarter of float32;
      Dettmers et al. 2023 do so with 4 bits); None keeps all as they are.

  Raises (when it is initialised):
    ValueError: A pattern matches no matrix.
  """

  model: nn.Module
  targets: str
  rank: int = 8
  alpha: float = 16.0
  int8: str | None = None

  def __post_init__(self):
    if self.rank < 1:
      raise ValueError(f'LoRA: rank must be at least 1, got {self.rank}')

  def init_with_output(
    self, key: Any, *args: Any, lora: bool = True, **kwargs: Any
  ) -> tuple[Any, dict[str, Any]]:
    """As Flax's: the model's own variables, and the adapters beside its parameters."""
    del lora  # They begin as nothing.
    output, variables = self.model.init_with_output(key, *args, **kwargs)
    flat: dict[str, Any] = traverse.flatten_dict(variables['params'], sep='/')
    key = key['params'] if isinstance(key, Mapping) else key
    targets = matching(flat, self.targets, 'LoRA: targets')
    rounded = matching(flat, self.int8, 'LoRA: int8') if self.int8 else ()
    for path, own in zip(targets, jax.random.split(key, len(targets)), strict=True):
      *lead, width, features = flat[path].shape
      a = jax.random.normal(own, (*lead, width, self.rank), flat[path].dtype) / width**0.5
      flat[f'{_LORA}/{path}/a'] = a
      flat[f'{_LORA}/{path}/b'] = jnp.zeros((*lead, self.rank, features), flat[path].dtype)
    for path in rounded:
      kept = Int8.of(flat.pop(path))
      flat[f'{path}/int8'], flat[f'{path}/scale'] = kept.int8, kept.scale
    return output, {**variables, 'params': traverse.unflatten_dict(flat, sep='/')}

  def apply(
    self, variables: Mapping[str, Any], *args: Any, lora: bool = True, **kwargs: Any
  ) -> Any:
    """As Flax's, of the model's methods too; without `lora`, what the frozen model says."""
    params = self._sums(variables['params'], lora)
    with nn.intercept_methods(_dense):
      return self.model.apply({**variables, 'params': params}, *args, **kwargs)

  def merge(self, params: Mapping[str, Any]) -> Any:
    """Returns the parameters of `model` alone, adapters added in: it computes the same."""
    return jax.tree.map(
      lambda x: x.merged() if isinstance(x, Sum) else x,
      self._sums(params),
      is_leaf=lambda x: isinstance(x, Sum),
    )

  def alone(self) -> tuple[nn.Module, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Returns the model, and what maps variables with adapters to its own, as `merge` does."""
    return self.model, lambda variables: {**variables, 'params': self.merge(variables['params'])}

  def _sums(self, params: Mapping[str, Any], lora: bool = True) -> dict[str, Any]:
    """Returns the model's parameters, with a Sum wherever something was added or rounded."""
    flat: dict[str, Any] = traverse.flatten_dict(
      {name: part for name, part in params.items() if name != _LORA}, sep='/'
    )
    for path in [path.removesuffix('/int8') for path in flat if path.endswith('/int8')]:
      kept = Int8(flat.pop(f'{path}/int8'), flat.pop(f'{path}/scale'))
      flat[path] = Sum(kept, None, None, 0.0)
    added: dict[str, Any] = traverse.flatten_dict(params[_LORA] if lora else {}, sep='/')
    for path in [path.removesuffix('/a') for path in added if path.endswith('/a')]:
      base = flat[path].base if isinstance(flat[path], Sum) else flat[path]
      a, b = added[f'{path}/a'], added[f'{path}/b']
      flat[path] = Sum(base, a, b, self.alpha / self.rank)
    return traverse.unflatten_dict(flat, sep='/')


def matching(flat: Mapping[str, Any], pattern: str, place: str) -> list[str]:
  """Returns the paths of matrices that a pattern matches as a whole.

  Raises:
    ValueError: There are none; names the nearest paths.
  """
  matrices = [path for path, x in flat.items() if x.ndim - ('blocks' in path.split('/')) >= 2]
  found = [path for path in matrices if re.fullmatch(pattern, path)]
  if not found:
    near = difflib.get_close_matches(pattern, matrices, 5, 0) or matrices[:5]
    raise ValueError(
      f'{place}={pattern!r} matches no matrix: the nearest paths are {", ".join(near)}'
    )
  return found


def _dense(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
  """Multiplies in the place of `nn.Dense`, which would make an array of its kernel first."""
  module = context.module
  dense = isinstance(module, nn.Dense) and context.method_name == '__call__'
  kernel = module.get_variable('params', 'kernel') if dense else None
  if not isinstance(kernel, Sum):
    return call(*args, **kwargs)
  (x,) = args
  dtype = module.dtype or jnp.result_type(x, kernel.dtype)
  y = kernel.astype(dtype).multiplied(x.astype(dtype))
  bias = module.get_variable('params', 'bias')
  return y if bias is None else y + bias.astype(dtype)
