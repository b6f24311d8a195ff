"""Attention: one function that every family calls.

Letters: B examples, L positions that ask, M positions that answer, H heads that ask, G
heads that answer (H / G of the former share one), K width of a head.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bigtrain.architecture.attention_kernels import kernel
from bigtrain.architecture.sequence_attention import Mask, is_spread, ring_attention


def attention(
  q_BLHK: jax.Array,
  k_BMGK: jax.Array,
  v_BMGK: jax.Array,
  *,
  causal: bool = False,
  window: int | None = None,
  segments: tuple[jax.Array, jax.Array] | None = None,
  positions: tuple[jax.Array, jax.Array] | None = None,
  bias: jax.Array | None = None,
  scale: float | None = None,
  soft_cap: float | None = None,
  drop: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
  """Scaled dot-product attention (Vaswani et al. 2017, equation 1); softmax in float32.

  Args:
    q_BLHK: Queries.
    k_BMGK: Keys. Where there are fewer heads, each answers a group of H / G neighbouring ones
      (Ainslie et al. 2023).
    v_BMGK: Values.
    causal: A position sees itself and earlier ones only.
    window: A position sees others less than this many positions away, itself among them.
    segments: Segment numbers [B, L] and [B, M]; a position sees its own segment only.
    positions: Of queries and keys, integers [B, L] and [B, M], for `causal` and `window`; None
      counts both from 0.
    bias: Added to the scaled logits; broadcasts to [B, H, L, M].
    scale: Of the logits; None is 1/sqrt(K).
    soft_cap: Logits become soft_cap * tanh(logits / soft_cap), before the bias and what is unseen.
    drop: Maps the weights [B, H, L, M], for dropout.

  Returns:
    [B, L, H, K]. A position that sees nothing gets the mean of all values.

  Raises:
    ValueError: The heads do not divide, or the window is empty.
  """
  H, G = q_BLHK.shape[2], k_BMGK.shape[2]
  if H % G:
    raise ValueError(f'heads must divide by the {G} heads of keys and values, got {H}')
  if window is not None and window < 1:
    raise ValueError(f'window must hold at least the position itself, 1, got {window}')
  # The one place where an implementation is chosen, by what the program is compiled for.
  mask = Mask(causal, window, scale, soft_cap)
  if positions is None and bias is None and drop is None:
    if is_spread(q_BLHK, k_BMGK):
      return ring_attention(q_BLHK, k_BMGK, v_BMGK, segments, mask)
    if by_kernel := kernel(q_BLHK, k_BMGK, segments, mask):
      return by_kernel(q_BLHK, k_BMGK, v_BMGK, segments, mask)
  return _by_einsum(q_BLHK, k_BMGK, v_BMGK, segments, mask, positions, bias, drop)


def _by_einsum(
  q_BLHK: jax.Array,
  k_BMGK: jax.Array,
  v_BMGK: jax.Array,
  segments: tuple[jax.Array, jax.Array] | None,
  mask: Mask,
  positions: tuple[jax.Array, jax.Array] | None,
  bias: jax.Array | None,
  drop: Callable[[jax.Array], jax.Array] | None,
) -> jax.Array:
  """Holds all weights at once, [B, H, L, M]."""
  B, L, H, K = q_BLHK.shape
  M, G = k_BMGK.shape[1:3]
  q_BLHK = q_BLHK * (1 / math.sqrt(K) if mask.scale is None else mask.scale)
  products = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  if G == H:
    logits_BHLM = products('blhk,bmhk->bhlm', q_BLHK, k_BMGK)
  else:
    q_BLGRK = q_BLHK.reshape(B, L, G, H // G, K)
    logits_BHLM = products('blgrk,bmgk->bgrlm', q_BLGRK, k_BMGK).reshape(B, H, L, M)
  if mask.soft_cap is not None:
    logits_BHLM = mask.soft_cap * jnp.tanh(logits_BHLM / mask.soft_cap)
  if bias is not None:
    logits_BHLM = logits_BHLM + bias.astype(jnp.float32)
  seen = _seen(L, M, mask.causal, mask.window, segments, positions)
  if seen is not None:
    logits_BHLM = jnp.where(seen, logits_BHLM, jnp.finfo(jnp.float32).min)
  weights_BHLM = jax.nn.softmax(logits_BHLM).astype(v_BMGK.dtype)
  if drop is not None:
    weights_BHLM = drop(weights_BHLM)
  if G == H:
    return jnp.einsum('bhlm,bmhk->blhk', weights_BHLM, v_BMGK)
  weights_BGRLM = weights_BHLM.reshape(B, G, H // G, L, M)
  return jnp.einsum('bgrlm,bmgk->blgrk', weights_BGRLM, v_BMGK).reshape(B, L, H, K)


def _seen(
  L: int,
  M: int,
  causal: bool,
  window: int | None,
  segments: tuple[jax.Array, jax.Array] | None,
  positions: tuple[jax.Array, jax.Array] | None,
) -> jax.Array | None:
  """Which keys each query sees, as booleans that broadcast to [B, H, L, M]; None is all."""
  seen = None
  if causal and window is None and positions is None:
    seen = jnp.tril(jnp.ones((L, M), bool))
  elif causal or window is not None:
    if positions is None:
      ago = jnp.arange(L)[:, None] - jnp.arange(M)
    else:
      ago = positions[0][:, None, :, None] - positions[1][:, None, None, :]
    seen = ago >= 0 if causal else jnp.abs(ago) < (window or M)
    if causal and window is not None:
      seen &= ago < window
  if segments is not None:
    same = segments[0][:, None, :, None] == segments[1][:, None, None, :]
    seen = same if seen is None else seen & same
  return seen
