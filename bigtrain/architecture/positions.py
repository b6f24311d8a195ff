"""Where a token stands: rotary and sinusoidal positions, and counting within packed documents.

Letters: B examples, L positions, D width, H heads, K width of a head.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class LinearScaling:
  """Rotary positions divided by `factor`, for longer texts (Chen et al. 2023)."""

  factor: float

  def __call__(self, frequency_K: jax.Array) -> jax.Array:
    """Maps frequencies to those to turn by."""
    return frequency_K / self.factor


@dataclasses.dataclass(frozen=True)
class Llama3Scaling:
  """Slow rotary frequencies divided by `factor`, fast ones left alone (Llama Team 2024).

  A frequency that turns at least `high` times within `length` stays, one that turns at most `low`
  times is divided; between the two it is mixed, in proportion to the turns.

  Attributes:
    factor: By which slow frequencies are divided.
    low: Turns.
    high: Turns.
    length: Positions that the model had been trained on before.
  """

  factor: float = 8.0
  low: float = 1.0
  high: float = 4.0
  length: int = 8192

  def __call__(self, frequency_K: jax.Array) -> jax.Array:
    """Maps frequencies to those to turn by."""
    turns_K = self.length * frequency_K / (2 * math.pi)
    kept_K = jnp.clip((turns_K - self.low) / (self.high - self.low), 0, 1)
    return frequency_K * (kept_K + (1 - kept_K) / self.factor)


Scaling = Callable[[jax.Array], jax.Array]


def rotary(
  x_BLHK: jax.Array,
  base: float = 10_000.0,
  *,
  positions: jax.Array | None = None,
  scaling: Scaling | None = None,
) -> jax.Array:
  """Turns pairs (i, i + K/2) by an angle that grows with the position (Su et al. 2021, RoPE).

  Args:
    x_BLHK: Queries or keys; K is even.
    base: Of the frequencies, base^(-2i/K).
    positions: Integers [B, L] or [L]; None counts from 0.
    scaling: Maps the frequencies, [K/2], to those to use.
  """
  half = x_BLHK.shape[-1] // 2
  frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  if scaling is not None:
    frequency = scaling(frequency)
  if positions is None:
    positions = jnp.arange(x_BLHK.shape[1])
  angle = positions[..., None].astype(jnp.float32) * frequency
  angle = angle if angle.ndim == 3 else angle[None]
  cos, sin = (f(angle)[:, :, None].astype(x_BLHK.dtype) for f in (jnp.cos, jnp.sin))
  a, b = x_BLHK[..., :half], x_BLHK[..., half:]
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def sinusoidal(positions: jax.Array, width: int, base: float = 10_000.0) -> jax.Array:
  """Sines and cosines of a position (Vaswani et al. 2017, section 3.5).

  Args:
    positions: Integers [...].
    width: D, an even number.
    base: Ratio of the longest wave to the shortest, about.

  Returns:
    float32 [..., D]: sines, then cosines of the same angles.

  Raises:
    ValueError: The width is odd.
  """
  if width % 2:
    raise ValueError(f'sinusoidal positions need an even width, got {width}')
  half = width // 2
  frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  angle = positions[..., None].astype(jnp.float32) * frequency
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def within_segments(segment_ids: jax.Array) -> jax.Array:
  """Counts positions from 0 in each of the documents packed into a row.

  Args:
    segment_ids: Integers [B, L]; a document is a run of equal numbers.

  Returns:
    int32 [B, L].
  """
  index_L = jnp.arange(segment_ids.shape[1], dtype=jnp.int32)
  before_BL = jnp.pad(segment_ids, ((0, 0), (1, 0)))[:, :-1]
  first_BL = (segment_ids != before_BL) | (index_L == 0)
  return index_L - jax.lax.cummax(jnp.where(first_BL, index_L, 0), axis=1)
