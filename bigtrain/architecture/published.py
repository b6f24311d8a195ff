"""How a family says where its parameters lie in the files that Hugging Face publishes.

A family's map is data: for each parameter, by its path, a `Published`: from which tensors it is
taken, and how those are given back. Readers and writers of files take the map as an argument.

Conventions: a path is 'block_0/attention/qkv' in the parameters; what lies in another collection
has that collection's name in front, as in 'batch_stats/stem/norm/mean'. A tensor's name that ends
in '[1/3]' means the second of its three equal parts along the last axis, in '[1/3 rows]' along the
first: several parameters may share a tensor. Arrays are NumPy's. `give` undoes `take` exactly, and
is made of reshapes, turns and slices only, so that it also tells the shapes of the tensors
(`shapes`).

To add a family: a file with `FAMILIES = {model_type: Family(...)}`, and a line in FILES.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

# The file of this room that holds a family, by `model_type` in Hugging Face's config.json.
FILES: dict[str, str] = {
  'bert': 'published_encoders',
  'clip': 'published_towers',
  'gemma2': 'published_decoders',
  'gpt2': 'published_decoders',
  'llama': 'published_decoders',
  'mistral': 'published_decoders',
  'mixtral': 'published_decoders',
  'qwen2': 'published_decoders',
  'qwen3': 'published_decoders',
  'siglip': 'published_towers',
  't5': 'published_t5',
  'vit': 'published_encoders',
  'convnext': 'convnexts',
  'resnet': 'resnets',
}


@dataclasses.dataclass(frozen=True)
class Published:
  """One parameter of ours, made of one or more published tensors.

  Attributes:
    names: Of the tensors.
    take: Maps the tensors, in that order, to the parameter.
    give: Maps the parameter to the tensors.
  """

  names: tuple[str, ...]
  take: Callable[[Sequence[np.ndarray]], np.ndarray]
  give: Callable[[np.ndarray], Sequence[np.ndarray]]

  def shapes(self, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each tensor, by name, from that of the parameter."""
    # Takes no memory: one number, seen everywhere.
    given = self.give(np.broadcast_to(np.zeros((), np.int8), tuple(shape)))
    return {name: x.shape for name, x in zip(self.names, given, strict=True)}


def changed(
  name: str,
  take: Callable[[np.ndarray], np.ndarray],
  give: Callable[[np.ndarray], np.ndarray],
) -> Published:
  """One tensor, changed by a function whose inverse is the other."""
  return Published((name,), lambda tensors: take(tensors[0]), lambda leaf: [give(leaf)])


def same(name: str) -> Published:
  """One tensor, as it is."""
  return changed(name, lambda x: x, lambda x: x)


def turned(name: str, axes: Sequence[int]) -> Published:
  """One tensor, whose axes are permuted: our axis i is its axis `axes[i]`."""
  back = np.argsort(axes)
  return changed(name, lambda x: x.transpose(axes), lambda x: x.transpose(back))


def transposed(name: str) -> Published:
  """A matrix [out, in], as PyTorch keeps those of its linear layers; ours are [in, out]."""
  return turned(name, (1, 0))


def shaped(name: str, ours: Sequence[int], theirs: Sequence[int]) -> Published:
  """One tensor in another shape, its numbers in the same order."""
  return changed(name, lambda x: x.reshape(ours), lambda x: x.reshape(theirs))


def patches(name: str, height: int, width: int, D: int) -> Published:
  """A convolution's [D, channels, height, width], as a product over a patch's numbers."""
  return changed(
    name,
    lambda x: x.transpose(2, 3, 1, 0).reshape(-1, D),
    lambda x: x.reshape(height, width, -1, D).transpose(3, 2, 0, 1),
  )


def linear(ours: str, theirs: str, *, bias: bool = True) -> dict[str, Published]:
  """The parameters of a dense layer, as PyTorch has them."""
  names = {f'{ours}/kernel': transposed(f'{theirs}.weight')}
  return names | {f'{ours}/bias': same(f'{theirs}.bias')} if bias else names


def layer_norm(ours: str, theirs: str, *, bias: bool = True) -> dict[str, Published]:
  """The parameters of a norm, as PyTorch has them."""
  names = {f'{ours}/scale': same(f'{theirs}.weight')}
  return names | {f'{ours}/bias': same(f'{theirs}.bias')} if bias else names


def must(place: str, have: Mapping[str, Any], want: Mapping[str, Any]) -> None:
  """Raises ValueError where a value is not one of those that are wanted."""
  for key, allowed in want.items():
    if have[key] not in allowed:
      words = ' or '.join(map(repr, allowed))
      raise ValueError(f'{place}: {key} must be {words}, got {have[key]!r}')


def stacked(parts: Sequence[Published]) -> Published:
  """Several of one shape, along a new first axis."""

  def take(leaves: list[np.ndarray]) -> np.ndarray:
    return np.stack(leaves)

  return _several(parts, take, list)


def joined(parts: Sequence[Published], axis: int, sizes: Sequence[int]) -> Published:
  """Several, one after another along an axis, where they have these sizes."""

  def take(leaves: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(leaves, axis)

  return _several(parts, take, lambda x: np.split(x, np.cumsum(sizes)[:-1], axis))


def _several(
  parts: Sequence[Published],
  take: Callable[[list[np.ndarray]], np.ndarray],
  give: Callable[[np.ndarray], Sequence[np.ndarray]],
) -> Published:
  def gather(tensors: Sequence[np.ndarray]) -> np.ndarray:
    left = list(tensors)
    return take([part.take([left.pop(0) for _ in part.names]) for part in parts])

  def spread(leaf: np.ndarray) -> list[np.ndarray]:
    leaves = give(leaf)
    return [x for part, each in zip(parts, leaves, strict=True) for x in part.give(each)]

  return Published(tuple(name for part in parts for name in part.names), gather, spread)


@dataclasses.dataclass(frozen=True)
class Family:
  """What a published family of models is to us.

  Attributes:
    from_config: Maps Hugging Face's config.json to the module. Raises ValueError where that asks
      for something that the module cannot do.
    to_config: Maps a module to config.json. Raises ValueError where it is not of this family.
    names: Maps a module to its map: path of each parameter to Published.
    prefix: Of all names but the output layer's, which some published files leave out.
    ignored: Patterns (of `re`, matching whole names) of tensors that published files may hold
      though the model does not need them: copies of tied weights, masks and constants.
  """

  from_config: Callable[[Mapping[str, Any]], nn.Module]
  to_config: Callable[[Any], dict[str, Any]]
  names: Callable[[Any], Mapping[str, Published]]
  prefix: str = ''
  ignored: tuple[str, ...] = ()


def family(model_type: str) -> Family:
  """Returns the family by the name that its config.json has for it.

  Raises:
    ValueError: The name is unknown.
  """
  if model_type not in FILES:
    raise ValueError(
      f'model_type must be one of {", ".join(sorted(FILES))}, got {model_type!r}: '
      f'build the module yourself, and give a map of your own'
    )
  # By its full name, so that importing this file imports no family.
  file = importlib.import_module(f'{__package__}.{FILES[model_type]}')
  return file.FAMILIES[model_type]


def family_of(model: Any) -> tuple[str, Family]:
  """Returns (model_type, family) of the first family that a module belongs to, by name.

  Raises:
    ValueError: There is none; says why of each.
  """
  refused = []
  for model_type in FILES:
    found = family(model_type)
    try:
      found.to_config(model)
    except ValueError as error:
      refused.append(f'{model_type}: {str(error).removeprefix(f"{model_type}: ")}')
    else:
      return model_type, found
  kind = type(model).__name__
  near = [reason for reason in refused if not reason.endswith(f' {kind}')]  # Not of another class.
  raise ValueError(f'{kind} is none of the published families as it is: {"; ".join(near)}')
