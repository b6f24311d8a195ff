"""A forward pass as StableHLO, which runs without the code of the model.

`MODEL` is for JAX: `jax.export.deserialize` reads it, for any batch size and on every platform that
it was made for. `TEXT` is the same for a batch of one size, as text: what other compilers start
from. `WEIGHTS` lies beside them, unless the weights are inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import flax.traverse_util as traverse
import jax
import numpy as np
from etils import epath

MODEL, TEXT, WEIGHTS = 'model.jax_export', 'model.mlir', 'weights.safetensors'
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')


def export_stablehlo(
  folder: str,
  function: Callable[[Any, Mapping[str, Any]], Any],
  variables: Mapping[str, Any],
  inputs: Mapping[str, Any],
  *,
  platforms: Sequence[str] = ('cpu', 'cuda', 'tpu'),
  batch: int = 0,
  weights: Literal['beside', 'inside'] = 'beside',
) -> Any:
  """Writes a forward pass and its weights, and returns its outputs as shapes and types.

  Args:
    folder: That is there, and holds nothing of the kind.
    function: Maps variables and inputs to outputs; every batch size is traced alike.
    variables: A tree of arrays. In the files they go by their paths, as 'params/head/kernel'.
    inputs: By name, shapes and types with the examples first.
    platforms: Of PLATFORMS, on which it is to run.
    batch: Examples; 0 is any number (`TEXT` then takes one).
    weights: Whether they are an argument, or constants of the program.

  Raises:
    ValueError: A platform is unknown, the batch is below 0, or the model cannot be traced for any
      batch size.
  """
  from jax import export
  from jax.sharding import AbstractDevice, AbstractMesh, AxisType
  from safetensors.numpy import save_file

  unknown = [name for name in platforms if name not in PLATFORMS]
  if unknown or not platforms or batch < 0:
    raise ValueError(
      f'platforms are of {", ".join(PLATFORMS)}, and a batch is at least 1 (0 is any size), '
      f'got {", ".join(platforms) or "none"} and {batch}'
    )
  flat: dict[str, Any] = traverse.flatten_dict(dict(variables), sep='/')
  arrays = {path: np.ascontiguousarray(x) for path, x in flat.items()}

  def whole(weights, given):
    return function(traverse.unflatten_dict(weights, sep='/'), given)

  def export_for(size: Any, platforms: Sequence[str]) -> Any:
    given = {
      name: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for name, x in inputs.items()
    }
    if weights == 'inside':
      return export.export(jax.jit(lambda x: whole(arrays, x)), platforms=platforms)(given)
    shapes = {path: jax.ShapeDtypeStruct(x.shape, x.dtype) for path, x in arrays.items()}
    return export.export(jax.jit(whole), platforms=platforms)(shapes, given)

  # As if for a CPU: on another machine models take kernels that only its devices have.
  device = AbstractDevice(device_kind='cpu', num_cores=None, platform='cpu')
  here = AbstractMesh((1,), ('data',), (AxisType.Auto,), abstract_device=device)

  any_size = export.symbolic_shape('batch')[0]
  try:
    with jax.sharding.use_abstract_mesh(here):
      exported = export_for(batch or any_size, platforms)
      text = export_for(batch or 1, platforms[:1]).mlir_module()
  except (jax.errors.JAXTypeError, TypeError, ValueError, NotImplementedError) as error:
    if batch:
      raise
    raise ValueError(
      f'the model cannot be traced for any batch size ({str(error).strip().splitlines()[0]}): '
      'give a number of examples, such as 1'
    ) from error
  place = epath.Path(folder)
  (place / MODEL).write_bytes(bytes(exported.serialize()))
  (place / TEXT).write_text(text)
  if weights == 'beside':
    save_file(arrays, str(place / WEIGHTS))
  leaves = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in exported.out_avals]
  return jax.tree.unflatten(exported.out_tree, leaves)
