"""Tokens to their experts and back, wherever either lie on the mesh.

Each device sorts its own tokens by expert. Where the mesh has an `expert` axis, the devices along
it hold different experts: they share their tokens, each puts those through that chose its experts,
and the results are added up where the tokens came from. No token is dropped, and no expert's
matrices move. Where hidden units are split over `tensor`, results are added up over that too.

Letters: B examples, L positions, D width, F hidden width, E experts, N tokens (B L), A active
experts of a token, P places (N A), one for each token and expert of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from bigtrain.architecture.spreading import BATCH, SEQUENCE, axes_over, layout

EXPERT, TENSOR = 'expert', 'tensor'

# Maps sorted tokens [P, D], how many are each expert's [E], and matrices to [P, D].
Feed = Callable[[jax.Array, jax.Array, Mapping[str, jax.Array]], jax.Array]


def through_experts(
  feed: Feed,
  matrices: Mapping[str, jax.Array],
  x_BLD: jax.Array,
  weights_BLA: jax.Array,
  chosen_BLA: jax.Array,
) -> jax.Array:
  """Returns the sum of each token's experts, weighted.

  Args:
    feed: The experts, without biases: what they give is added up over parts of F.
    matrices: Stacks [E, D, F], and 'down' [E, F, D].
    x_BLD: Tokens.
    weights_BLA: Of each token's experts.
    chosen_BLA: Which they are, integers in 0 ... E - 1.

  Returns:
    [B, L, D].

  Raises:
    ValueError: Experts or hidden units do not divide over the mesh.
  """
  E, D, F = next(a for name, a in matrices.items() if name != 'down').shape
  del D
  mesh = jax.sharding.get_abstract_mesh()
  for axis, size, name in ((EXPERT, E, 'experts'), (TENSOR, F, 'hidden')):
    if axis in mesh.auto_axes and size % mesh.shape[axis]:
      raise ValueError(
        f'{name} must divide by {mesh.shape[axis]} ({axis} of the mesh), got {size}: '
        f'use {-(-size // mesh.shape[axis]) * mesh.shape[axis]}, or another --mesh'
      )
  rows = layout(x_BLD.shape, (BATCH, SEQUENCE))
  along = EXPERT if axes_over(E, EXPERT) else None
  across = TENSOR if axes_over(F, TENSOR) else None
  # A batch that does not divide is on all devices: nothing to share, all to add up.
  shared = along is not None and rows[0] is not None and EXPERT in rows[0]
  local = functools.partial(_local, feed, along, across, shared)
  if along is None and across is None and not any(rows):
    return local(matrices, x_BLD, weights_BLA, chosen_BLA)
  specs = {
    name: P(along, across, None) if name == 'down' else P(along, None, across) for name in matrices
  }
  spread = jax.shard_map(local, in_specs=(specs, rows, rows, rows), out_specs=rows, check_vma=False)
  return spread(dict(matrices), x_BLD, weights_BLA, chosen_BLA)


def _local(
  feed: Feed,
  along: str | None,
  across: str | None,
  shared: bool,
  matrices: Mapping[str, jax.Array],
  x_BLD: jax.Array,
  weights_BLA: jax.Array,
  chosen_BLA: jax.Array,
) -> jax.Array:
  """On one device, with the experts that it has."""
  if shared:
    x_BLD, weights_BLA, chosen_BLA = (
      jax.lax.all_gather(a, along, axis=0, tiled=True) for a in (x_BLD, weights_BLA, chosen_BLA)
    )
  B, L, A = chosen_BLA.shape
  E = len(matrices['down'])
  x_ND = x_BLD.reshape(B * L, -1)
  chosen_P, weights_NA = chosen_BLA.reshape(-1), weights_BLA.reshape(-1, A)
  if along is not None:
    chosen_P = chosen_P - jax.lax.axis_index(along) * E
    here_P = (chosen_P >= 0) & (chosen_P < E)
    chosen_P = jnp.where(here_P, chosen_P, E)  # Others' experts come last, and get no rows.
    weights_NA = jnp.where(here_P.reshape(-1, A), weights_NA, 0)
  # Places in order of their experts: each expert's tokens lie together.
  order_P = jnp.argsort(chosen_P, stable=True)
  sizes_E = jnp.bincount(chosen_P, length=E)
  y_PD = feed(x_ND[order_P // A], sizes_E, matrices)
  if along is not None:
    y_PD = jnp.where((jnp.arange(len(y_PD)) < sizes_E.sum())[:, None], y_PD, 0)
  # Back to the order of tokens, by a gather: its transpose adds nothing up twice.
  y_NAD = y_PD[jnp.argsort(order_P)].reshape(B * L, A, -1)
  y_BLD = jnp.einsum('nad,na->nd', y_NAD, weights_NA.astype(y_NAD.dtype)).reshape(x_BLD.shape)
  if across is not None:
    y_BLD = jax.lax.psum(y_BLD, across)
  if shared:
    return jax.lax.psum_scatter(y_BLD, along, scatter_dimension=0, tiled=True)
  return y_BLD if along is None else jax.lax.psum(y_BLD, along)
