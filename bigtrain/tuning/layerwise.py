"""Fine-tuning by depth: what lies low learns more slowly, or later. Optax chains.

    optax.chain(tuning.adamw(schedule), tuning.layer_decay(0.8))
    optax.chain(tuning.adamw(schedule), tuning.unfreeze_gradually(every=100))

How deep a parameter lies is read from its path: 0 for embeddings, 1 for what is in 'block_0', and
so on; the head and all else lie above the last block. In a scanned model 'blocks/block_j' holds
every P-th layer along its first axis, and each layer gets its own share of the update.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

_BLOCK = re.compile(r'(?:^|/)block_(\d+)(?:/|$)')
_SCANNED = re.compile(r'(?:^|/)blocks/')


class Steps(NamedTuple):
  """Updates so far, int32."""

  count: jax.Array


def layer_decay(decay: float, *, bottom: str = 'embed|patch|stem') -> optax.GradientTransformation:
  """Scales updates by `decay ^ (layers above)`: the head learns at the full rate, and each layer at
  `decay` times the rate of the one above (Clark et al. 2020, appendix A; Howard and Ruder 2018).

  Args:
    decay: In (0, 1]; 0.65 to 0.9 are usual.
    bottom: A pattern, searched in paths outside of blocks, of what lies below them.

  Raises:
    ValueError: `decay` is out of its range; or, in `init`, no path is in a block.
  """
  if not 0 < decay <= 1:
    raise ValueError(f'layer_decay takes a decay in (0, 1], got {decay}: try 0.8')

  def init(params):
    depths(params, bottom)
    return optax.EmptyState()

  def update(updates, state, params=None):
    del params
    layers, top = depths(updates, bottom)
    scale = lambda u, layer: u * jnp.asarray(decay ** (top - layer), u.dtype)  # noqa: E731
    return jax.tree.map(scale, updates, layers), state

  return optax.GradientTransformation(init, update)


def unfreeze_gradually(
  every: int, *, bottom: str = 'embed|patch|stem'
) -> optax.GradientTransformation:
  """Lets the head learn first, and one layer more after every so many steps, from the top down
  (Howard and Ruder 2018, section 3.3).

  The optimiser before it sees all gradients, so that its moments are right when a layer's turn
  comes; only the updates wait. Steps are counted in its state: a resumed run goes on as it was.

  Args:
    every: Steps between a layer and the next below.
    bottom: As in `layer_decay`.

  Raises:
    ValueError: `every` is below 1; or, in `init`, no path is in a block.
  """
  if every < 1:
    raise ValueError(f'unfreeze_gradually counts steps, at least 1, got every={every}')

  def init(params):
    depths(params, bottom)
    return Steps(jnp.zeros((), jnp.int32))

  def update(updates, state, params=None):
    del params
    layers, top = depths(updates, bottom)

    def wait(u, layer):
      return jnp.where(state.count >= every * (top - layer), u, jnp.zeros_like(u))

    return jax.tree.map(wait, updates, layers), Steps(state.count + 1)

  return optax.GradientTransformation(init, update)


def depths(params: Any, bottom: str) -> tuple[Any, int]:
  """Returns how deep each parameter lies, as integers that broadcast to it, and the highest.

  Raises:
    ValueError: No path is in a block.
  """
  names = {
    path: jax.tree_util.keystr(path, simple=True, separator='/')
    for path, _ in jax.tree_util.tree_leaves_with_path(params)
  }
  inside = {path: found for path, name in names.items() if (found := _BLOCK.search(name))}
  if not inside:
    raise ValueError(
      f'no path is in a block, such as block_0/...: there are {", ".join(list(names.values())[:5])}'
    )
  period = 1 + max(int(found[1]) for found in inside.values())
  leaves = jax.tree_util.tree_leaves_with_path(params)
  times = max([len(x) for path, x in leaves if _SCANNED.search(names[path])], default=1)
  top = period * times + 1

  def depth(path: Any, leaf: Any) -> np.ndarray:
    name = names[path]
    if path not in inside:
      return np.array(0 if re.search(bottom, name) else top)
    first = 1 + int(inside[path][1])
    if not _SCANNED.search(name):
      return np.array(first)
    return (first + period * np.arange(len(leaf))).reshape(-1, *[1] * (leaf.ndim - 1))

  return jax.tree_util.tree_map_with_path(depth, params), top
