"""Parameters from and to folders as Hugging Face publishes them.

Which tensor is which parameter is a map that the caller gives: for each parameter's path an object
with `names`, `take`, `give` and `shapes` (see `architecture.family`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import flax.traverse_util as traverse
import jax
import numpy as np
from etils import epath

from bigtrain.iteration.tensors import Tensors, read_safetensors, write_safetensors

_PART = re.compile(r'(.*)\[(\d+)/(\d+)( rows)?\]$')


def import_hugging_face(
  folder: str,
  names: Mapping[str, Any],
  shapes: Mapping[str, Any],
  *,
  prefix: str = '',
  ignored: Collection[str] = (),
) -> dict[str, Any]:
  """Reads a model's parameters from safetensors files.

  Args:
    folder: As in `read_safetensors`.
    names: The map of the family.
    shapes: A tree of shapes and types, as `jax.eval_shape` gives them: the parameters, or all
      variables ({'params': ..., 'batch_stats': ...}).
    prefix: Of tensors' names, which the files may lack (all of them, or none).
    ignored: Patterns of whole names: tensors that may be there without being used.

  Returns:
    A tree like `shapes`, of NumPy arrays of their types.

  Raises:
    ValueError: Names each tensor that is missing, that nobody asked for, or of another shape; and
      each parameter without a name.
  """
  tensors = read_safetensors(folder)
  leaves = _flat(shapes)
  unnamed = sorted(set(leaves) ^ set(names))
  if unnamed:
    raise ValueError(f'the map and the model do not hold the same parameters: {", ".join(unnamed)}')
  bare = bool(prefix) and not any(name.startswith(prefix) for name in tensors)
  wrong, asked = [], set()
  for path, leaf in leaves.items():
    for name, shape in names[path].shapes(leaf.shape).items():
      name, index, count, axis = _place(name, prefix if bare else '')
      asked.add(name)
      shape = list(shape)
      if count > 1:
        shape[axis] *= count
      if name not in tensors:
        wrong.append(f'{name} is missing (for {path})')
      elif index == 0 and (got := list(tensors.shape(name))) != shape:
        wrong.append(f'{name} has shape {got}, not {shape} (for {path})')
  wrong += [
    f'{name} is not of this model'
    for name in tensors
    if name not in asked and not any(re.fullmatch(pattern, name) for pattern in ignored)
  ]
  if wrong:
    raise ValueError(f'{folder} does not fit the model: {"; ".join(wrong)}')
  read = {}
  for path, leaf in leaves.items():
    found = [_read(tensors, *_place(name, prefix if bare else '')) for name in names[path].names]
    read[path] = names[path].take(found).astype(leaf.dtype)
  return _tree(read, shapes)


def published(folder: str, family: Any, *inputs: Any) -> Callable[[], dict[str, np.ndarray]]:
  """Returns a source for `warm_start`: the parameters of a published folder by our paths.

  Args:
    folder: With config.json and safetensors files.
    family: What `architecture.family` gives.
    inputs: What the model takes, such as tokens [1, 1]: shapes are all that matters.
  """

  def arrays() -> dict[str, np.ndarray]:
    model = family.from_config(json.loads((epath.Path(folder) / 'config.json').read_text()))
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), *inputs)
    found = import_hugging_face(
      folder, family.names(model), shapes, prefix=family.prefix, ignored=family.ignored
    )
    return _flat(found)

  return arrays


def export_hugging_face(
  folder: str,
  names: Mapping[str, Any],
  params: Mapping[str, Any],
  config: Mapping[str, Any],
  *,
  shard_bytes: int = 5_000_000_000,
) -> list[str]:
  """Writes safetensors files and config.json; returns the names of the files with weights.

  Args:
    folder: Made if it is not there.
    names: The map of the family.
    params: The parameters, or all variables, as in `import_hugging_face`.
    config: What config.json is to hold.
    shard_bytes: As in `write_safetensors`.

  Raises:
    ValueError: The map and the parameters do not agree.
    FileExistsError: The folder holds a model already.
  """
  leaves = _flat(params)
  unnamed = sorted(set(leaves) ^ set(names))
  if unnamed:
    raise ValueError(f'the map and the model do not hold the same parameters: {", ".join(unnamed)}')
  place = epath.Path(folder)
  if (place / 'config.json').exists():
    raise FileExistsError(f'{place / "config.json"} is there already: choose another folder')
  given: dict[str, Any] = {}
  parts: dict[tuple[str, int], dict[int, np.ndarray]] = {}
  for path, leaf in leaves.items():
    for name, tensor in zip(names[path].names, names[path].give(np.asarray(leaf)), strict=True):
      name, index, count, axis = _place(name)
      if count == 1:
        given[name] = tensor
      else:
        parts.setdefault((name, axis), {})[index] = tensor
  for (name, axis), several in parts.items():
    given[name] = np.concatenate([several[i] for i in sorted(several)], axis)
  files = write_safetensors(folder, given, shard_bytes)
  (place / 'config.json').write_text(json.dumps(dict(config), indent=2) + '\n')
  return files


def _place(name: str, prefix: str = '') -> tuple[str, int, int, int]:
  """Returns a tensor's name in the file, which of how many parts of it is meant, and their axis."""
  found = _PART.match(name)
  name, index, count = (found[1], int(found[2]), int(found[3])) if found else (name, 0, 1)
  return name.removeprefix(prefix), index, count, 0 if found and found[4] else -1


def _read(tensors: Tensors, name: str, index: int, count: int, axis: int) -> np.ndarray:
  return tensors[name] if count == 1 else tensors.part(name, index, count, axis)


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
  flat = traverse.flatten_dict(dict(tree), sep='/')
  if 'params' in tree:
    return {path.removeprefix('params/'): leaf for path, leaf in flat.items()}
  return flat


def _tree(flat: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
  if 'params' in like:
    others = tuple(f'{name}/' for name in like if name != 'params')
    flat = {
      path if path.startswith(others) else f'params/{path}': leaf for path, leaf in flat.items()
    }
  return traverse.unflatten_dict(dict(flat), sep='/')
