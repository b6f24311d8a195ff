"""Partitions: functions from a mesh and a tree of shapes to a tree of shardings.

A rule is (pattern, axes). The pattern is a regular expression searched for in a parameter's path
('block_0/attention/qkv'); the first that is found decides. The axes, a PartitionSpec, are those of
the parameter's *last* axes: what is before them are the layers of a stack, which lie on `stage`.

What is not a parameter but has a parameter's path at the end of its own, and its shape, lies as the
parameter does: the optimiser's state, an average.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bigtrain.compute.meshes import describe

Rule = tuple[str, P]


def replicate(mesh: Mesh, tree: Any) -> Any:
  """Every device holds every array whole: data parallel."""
  return jax.tree.map(lambda _: NamedSharding(mesh, P()), tree)


def fsdp(mesh: Mesh, tree: Any, min_size: int = 2**20) -> Any:
  """Shards each large array along its largest axis that divides.

  ZeRO stage 3 (Rajbhandari et al., 2020).

  Optimiser state has the shapes of the parameters, so it is laid out with them. XLA gathers an
  array where it is used and scatters its gradient.

  The stacks of a scanned model ('blocks') lie on `stage` as well, where there are several.

  Args:
    mesh: With axes named `fsdp` and `stage`.
    tree: Of anything with a shape.
    min_size: Elements. A smaller array stays whole: gathering it costs more than it saves.
  """
  parts, stages = mesh.shape['fsdp'], mesh.shape['stage']

  def spec(path: Any, leaf: Any) -> NamedSharding:
    stack = stages > 1 and 'blocks' in _name(path).split('/') and leaf.shape[:1] != ()
    stack = stack and leaf.shape[0] % stages == 0
    first = ['stage'] if stack else []
    axes = [axis for axis, size in enumerate(leaf.shape) if size % parts == 0 and axis >= stack]
    if leaf.size < min_size or parts == 1 or not axes:
      return NamedSharding(mesh, P(*first))
    axis = max(axes, key=lambda axis: leaf.shape[axis])
    return NamedSharding(mesh, P(*first, *[None] * (axis - len(first)), 'fsdp'))

  return jax.tree_util.tree_map_with_path(spec, tree)


def rules(table: Sequence[Rule], otherwise: Any = fsdp) -> Any:
  """Returns a partition that lays parameters out by path.

  Args:
    table: (pattern, PartitionSpec), in order; see the top of the file.
    otherwise: The partition of what no rule names.

  Returns:
    A partition. It raises ValueError where a parameter has fewer axes than its rule, or an axis
    does not divide.

  >>> partition = rules([('head/kernel$', P(None, 'tensor'))], otherwise=replicate)
  >>> mesh = jax.make_mesh((1, 1, 2), ('stage', 'fsdp', 'tensor'))
  >>> shape = jax.ShapeDtypeStruct((4, 8), 'float32')
  >>> laid = partition(mesh, {'head': {'kernel': shape}, 'body': {'kernel': shape}})
  >>> tuple(laid['head']['kernel'].spec), tuple(laid['body']['kernel'].spec)
  ((None, 'tensor'), ())
  """
  compiled = [(re.compile(pattern), spec) for pattern, spec in table]

  def partition(mesh: Mesh, tree: Any) -> Any:
    params = getattr(tree, 'params', tree)
    fallback = jax.tree_util.tree_leaves_with_path(otherwise(mesh, params))
    found = {}  # By path: the parameter's shape, and where it lies.
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, leaf), (_, other) in zip(leaves, fallback, strict=True):
      name = _name(path)
      spec = next((spec for pattern, spec in compiled if pattern.search(name)), None)
      sharding = other if spec is None else NamedSharding(mesh, _fit(name, leaf.shape, spec, mesh))
      found[tuple(name.split('/'))] = (leaf.shape, sharding)

    def follow(path, leaf, other):
      parts = tuple(_name(path).split('/'))
      for start in range(len(parts)):
        shape, sharding = found.get(parts[start:], (None, None))
        if shape == leaf.shape:
          return sharding
      return other

    return jax.tree_util.tree_map_with_path(follow, tree, otherwise(mesh, tree))

  return partition


# Megatron's layout (Shoeybi et al. 2019): a block's first products are split by their outputs, the
# second by their inputs, so that one sum a layer crosses `tensor`.
EXPERTS: tuple[Rule, ...] = (
  (r'(^|/)(up|gate)$', P('expert', 'fsdp', 'tensor')),
  (r'(^|/)down$', P('expert', 'tensor', 'fsdp')),
)
TRANSFORMER: tuple[Rule, ...] = (
  *EXPERTS,
  (r'(^|/)(qkv|kv)$', P(None, 'fsdp', 'tensor')),
  (r'(^|/)q$', P('fsdp', 'tensor')),
  (r'(^|/)(up|gate|head)/kernel$', P('fsdp', 'tensor')),
  (r'(^|/)(out|down)/kernel$', P('tensor', 'fsdp')),
  (r'(^|/)embedding$', P('tensor', 'fsdp')),
)


def fsdp_tensor(mesh: Mesh, tree: Any) -> Any:
  """Matrices of transformers over `fsdp` and `tensor`, by `TRANSFORMER`; the rest as `fsdp` does.

  Raises:
    ValueError: A size does not divide.
  """
  return rules(TRANSFORMER)(mesh, tree)


def expert(mesh: Mesh, tree: Any) -> Any:
  """Experts over `expert` (and `fsdp`, `tensor`), by `EXPERTS`; the rest as `fsdp` does.

  Raises:
    ValueError: A size does not divide.
  """
  return rules(EXPERTS)(mesh, tree)


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _fit(name: str, shape: tuple[int, ...], spec: P, mesh: Mesh) -> P:
  """Returns a rule's axes as the PartitionSpec of a parameter of that shape."""
  before = len(shape) - len(spec)
  if before < 0:
    raise ValueError(
      f'partition of {name}: the rule has {len(spec)} axes and the shape {list(shape)} '
      f'{len(shape)}: give the rule fewer, or a pattern that leaves {name} out'
    )
  stages = mesh.shape['stage']
  layers = ['stage' if stages > 1 and shape[0] % stages == 0 else None] if before else []
  full = [*layers, *[None] * (before - len(layers)), *spec]
  for axis, (size, names) in enumerate(zip(shape, full, strict=True)):
    names = (names,) if isinstance(names, str) else names or ()
    for unknown in set(names) - set(mesh.shape):
      raise ValueError(
        f'partition of {name}: the mesh has no axis {unknown!r}: use {", ".join(mesh.shape)}'
      )
    parts = math.prod(mesh.shape[each] for each in names)
    if size % parts:
      down, up = size // parts * parts, -(-size // parts) * parts
      raise ValueError(
        f'partition of {name}: axis {axis} of {list(shape)} must divide by {parts} '
        f'({" x ".join(names)} of --mesh={describe(mesh)}), got {size}: '
        f'use {f"{down} or " if down else ""}{up}, another --mesh, or a rule before this one'
      )
  # An axis of one device shards nothing, and is not shown.
  kept = [tuple(n for n in ([a] if isinstance(a, str) else a or ()) if mesh.shape[n] > 1)
          for a in full]  # fmt: skip
  while kept and not kept[-1]:
    kept.pop()
  return P(*[names[0] if len(names) == 1 else names or None for names in kept])
