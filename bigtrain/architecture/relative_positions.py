"""Attention by distance: a number for each head and range of distances.

Letters: B examples, H heads, L positions that ask, M positions that answer.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class RelativeBias(nn.Module):
  """A number for each head and range of distances, added to the logits of attention.

  Near distances have a bucket each, the others logarithmic ones up to `longest`; what is further
  away shares the last (Raffel et al. 2020, section 2.1).

  Attributes:
    heads: H.
    buckets: Ranges of distances; where both directions count, half of them for each.
    longest: Distance at which the last bucket begins, about.
    both_ways: Whether what comes later is told apart; otherwise it counts as distance 0.
    table_init: Of the numbers.
  """

  heads: int
  buckets: int = 32
  longest: int = 128
  both_ways: bool = True
  table_init: Any = nn.initializers.normal(0.02)

  @nn.compact
  def __call__(self, query: jax.Array, key: jax.Array) -> jax.Array:
    """Maps positions [L] and [M], or [B, L] and [B, M], to a bias [1 or B, H, L, M]."""
    table = self.param('table', self.table_init, (self.buckets, self.heads))
    later = key[..., None, :] - query[..., :, None]
    each = self.buckets // 2 if self.both_ways else self.buckets
    steps = jnp.asarray(_bucket_of_distance(each, self.longest))
    away = jnp.abs(later) if self.both_ways else jnp.maximum(-later, 0)
    bucket = steps[jnp.minimum(away, len(steps) - 1)]
    if self.both_ways:
      bucket = bucket + each * (later > 0)
    bias = jnp.moveaxis(jnp.take(table, bucket, axis=0), -1, -3)
    return bias if bias.ndim == 4 else bias[None]


def _bucket_of_distance(count: int, longest: int) -> np.ndarray:
  """Returns the bucket of each distance from 0 to `longest`."""
  near = count // 2
  if count < 2 or longest <= near:
    raise ValueError(
      f'buckets of relative positions must be at least 2 a direction, and fewer than twice the '
      f'longest distance, got {count} and longest={longest}'
    )
  distance = np.arange(longest + 1, dtype=np.float32)
  # In float32, as the published models were trained: at a border a bit decides.
  turns = np.log(np.maximum(distance, near) / np.float32(near)) / np.float32(np.log(longest / near))
  far = near + (turns * np.float32(count - near)).astype(np.int32)
  return np.where(distance < near, distance.astype(np.int32), np.minimum(far, count - 1))
