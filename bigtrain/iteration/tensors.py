"""Weights in safetensors files: read lazily, and written whole or not at all.

The format itself is the library's (safetensors), which checks a header before anything is read:
its length, shapes, and that offsets neither overlap nor leave the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

_ONE, _INDEX = 'model.safetensors', 'model.safetensors.index.json'
_PICKLES = (b'PK\x03\x04', b'\x80')  # PyTorch's zip of pickles, and a pickle by itself.


class Tensors(Mapping[str, np.ndarray]):
  """The tensors of one or more safetensors files, by name; each is read when it is asked for."""

  def __init__(self, files: Mapping[str, epath.Path]):
    """Args: files, the file that holds each tensor, by its name."""
    self._files = dict(files)
    self._open: dict[str, Any] = {}

  def __iter__(self) -> Iterator[str]:
    return iter(self._files)

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, name: str) -> np.ndarray:
    return self._opened(name).get_tensor(name)

  def shape(self, name: str) -> tuple[int, ...]:
    """Returns a tensor's shape, without reading it."""
    return tuple(self._opened(name).get_slice(name).get_shape())

  def part(self, name: str, index: int, count: int, axis: int = -1) -> np.ndarray:
    """Reads one of `count` equal parts of a tensor, along its last axis (-1) or its first (0)."""
    size = self.shape(name)[axis] // count
    here = slice(index * size, (index + 1) * size)
    return self._opened(name).get_slice(name)[here if axis == 0 else (..., here)]

  def _opened(self, name: str) -> Any:
    path = self._files[name]
    if str(path) not in self._open:
      self._open[str(path)] = _open(path)
    return self._open[str(path)]


def read_safetensors(path: str) -> Tensors:
  """Opens a safetensors file, or a folder of them as Hugging Face lays it out.

  Args:
    path: A file; or a folder with model.safetensors, or with model.safetensors.index.json and the
      files that it names.

  Raises:
    FileNotFoundError: There is nothing of the kind.
    ValueError: A file is damaged, incomplete, hostile or no safetensors file, or the index does not
      agree with the files. Nothing is executed, and no tensor was read.
  """
  place = epath.Path(path)
  if not place.is_dir():
    return Tensors(dict.fromkeys(_open(place).keys(), place))
  if (place / _INDEX).exists():
    return Tensors(_by_index(place))
  if (place / _ONE).exists():
    return read_safetensors(str(place / _ONE))
  others = sorted(p.name for p in place.iterdir() if p.suffix in ('.bin', '.pt', '.pth', '.ckpt'))
  cure = f'convert {others[0]}, a pickle, which could run code' if others else 'check the path'
  raise FileNotFoundError(f'{place} holds neither {_ONE} nor {_INDEX}: {cure}')


def _by_index(place: epath.Path) -> dict[str, epath.Path]:
  try:
    weight_map = json.loads((place / _INDEX).read_text())['weight_map']
    files = {str(name): str(file) for name, file in weight_map.items()}
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f"{place / _INDEX} holds no readable 'weight_map': {error}") from error
  held: dict[str, set[str]] = {}
  for file in sorted(set(files.values())):
    if os.path.basename(file) != file or not file.endswith('.safetensors'):
      raise ValueError(f'{place / _INDEX} names {file!r}, not a safetensors file beside it')
    held[file] = set(_open(place / file).keys())
  lacking = [f'{name} in {file}' for name, file in files.items() if name not in held[file]]
  if lacking:
    raise ValueError(f'{place / _INDEX} names what its files do not hold: {", ".join(lacking)}')
  return {name: place / file for name, file in files.items()}


def _open(path: epath.Path) -> Any:
  """Opens a file by the library, which maps it into memory; names what is wrong with it."""
  import safetensors

  if not path.exists():
    raise FileNotFoundError(f'{path} is not there: was the download interrupted?')
  with path.open('rb') as file:
    start = file.read(8)
  size = path.stat().length
  header = int.from_bytes(start, 'little')
  if len(start) < 8 or header > size - 8:
    if start.startswith(_PICKLES):
      raise ValueError(f'{path} is a pickle, which could run code, not safetensors: convert it')
    raise ValueError(
      f'{path} says that its header takes {header:,} bytes, but has {size:,} in all: it is no '
      f'safetensors file, or a part of one; download it again'
    )
  try:
    return safetensors.safe_open(os.fspath(path), framework='np')
  except safetensors.SafetensorError as error:
    raise ValueError(
      f'{path} is damaged, incomplete or made to mislead ({error}): download it again'
    ) from error


def write_safetensors(
  folder: str, tensors: Mapping[str, np.ndarray], shard_bytes: int = 5_000_000_000
) -> list[str]:
  """Writes tensors as Hugging Face lays them out, and returns the names of the files.

  Args:
    folder: Made if it is not there.
    tensors: By name, read one file's worth at a time.
    shard_bytes: Above this, several files and an index are written.

  Raises:
    FileExistsError: The folder holds weights already.
  """
  from safetensors.numpy import save_file

  place = epath.Path(folder)
  place.mkdir(parents=True, exist_ok=True)
  for name in (_ONE, _INDEX):
    if (place / name).exists():
      raise FileExistsError(f'{place / name} is there already: choose another folder')
  shards: list[list[str]] = [[]]
  room = shard_bytes
  sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
  for name, size in sizes.items():
    if size > room and shards[-1]:
      shards.append([])
      room = shard_bytes
    shards[-1].append(name)
    room -= size
  files = [f'model-{i + 1:05}-of-{len(shards):05}.safetensors' for i in range(len(shards))]
  files = files if len(files) > 1 else [_ONE]
  for file, names in zip(files, shards, strict=True):
    # Under another name first: a file of this name is whole.
    part = place / f'{file}.part'
    whole = {name: np.asarray(tensors[name], order='C') for name in names}  # Scalars too.
    save_file(whole, os.fspath(part), metadata={'format': 'pt'})
    part.replace(place / file)
  if len(files) > 1:
    weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
    index = {'metadata': {'total_size': sum(sizes.values())}, 'weight_map': weight_map}
    (place / _INDEX).write_text(json.dumps(index, indent=2))
  return files
