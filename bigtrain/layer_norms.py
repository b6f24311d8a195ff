"""Norms of gradients, updates and parameters, layer by layer: where training goes wrong."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bigtrain.evaluation import Mean


def layer_norms(kind: str, tree: Any) -> dict[str, Mean]:
  """Returns the norm of each layer's arrays.

  Args:
    kind: Of the names that come back: 'grad' gives 'grad_norm/block_0'.
    tree: Parameters, or what has their paths. What stands at its top are the layers; of a scanned
      model's stack ('blocks') each entry is one, 'blocks_0', 'blocks_1', ...
  """
  norms = {}
  for name, part in tree.items():
    if name == 'blocks':
      stacks = [x.astype(jnp.float32).reshape(len(x), -1) for x in jax.tree.leaves(part)]
      layers = jnp.sqrt(jnp.stack([jnp.square(x).sum(axis=1) for x in stacks]).sum(axis=0))
      norms |= {f'{name}_{i}': norm for i, norm in enumerate(layers)}
    else:
      norms[name] = optax.tree.norm(jax.tree.map(lambda x: x.astype(jnp.float32), part))
  return {f'{kind}_norm/{n}': Mean(total=x, weight=jnp.ones(())) for n, x in norms.items()}
