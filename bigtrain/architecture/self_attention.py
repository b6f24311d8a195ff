"""The layer in which a sequence attends to itself, and how it keeps keys and values for later.

Letters: B examples, L positions that ask, M positions that answer, D width, H heads that ask, G
heads that answer (H / G of the former share one), K width of a head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.attentions import attention
from bigtrain.architecture.norms import norm
from bigtrain.architecture.positions import Scaling, rotary
from bigtrain.architecture.products import dense, each, product
from bigtrain.architecture.tiled_products import products, weights

_GPT_STDDEV = 0.02  # Radford et al. 2019 (GPT-2).


class Slots(NamedTuple):
  """Where a cache stands: what `SelfAttention` needs to write and to read one.

  Attributes:
    index: Slots that were written before this call, a scalar: the next ones are written now.
    positions: Of the queries, [B, L], and of all slots, [B, M].
    filled: Which slots hold a token, after this call: booleans [B, M].
  """

  index: jax.Array
  positions: tuple[jax.Array, jax.Array]
  filled: jax.Array


class SelfAttention(nn.Module):
  """Multi-head attention of a sequence to itself.

  Where all heads have keys of their own and fill the width, queries, keys and values come from one
  stack of matrices 'qkv' [3, D, D]; otherwise from 'q' [D, H K] and 'kv' [2, D, G K]. In a stack an
  optimiser for matrices sees each of them.

  Where `apply` is asked for 'intermediates', the weights of attention are among them.

  Attributes:
    heads: H.
    kv_heads: G; None is H.
    head_width: K; None is D / H.
    causal: A position sees itself and earlier ones only.
    window: A position sees others less than this far away; None is all.
    position: 'none', or 'rotary' with the next two.
    rotary_base: As in `rotary`.
    rotary_scaling: As in `rotary`.
    qk_norm: RMS-normalised queries and keys (Henry et al. 2020).
    norm_epsilon: Of that norm.
    scale: Of the logits; None is 1/sqrt(K).
    soft_cap: Of the logits; None is none.
    use_bias: Of the output.
    qkv_bias: Of queries, keys and values ('q_bias', 'k_bias', 'v_bias').
    dropout: Share of the output left out in training.
    attention_dropout: Share of the weights left out in training.
    in_init: Of queries, keys and values.
    out_init: Of the output's matrix.
    dtype: Of the computation.
  """

  heads: int
  causal: bool = False
  position: str = 'none'
  qk_norm: bool = False
  dropout: float = 0.0
  in_init: Any = nn.initializers.normal(_GPT_STDDEV)
  out_init: Any = nn.initializers.normal(_GPT_STDDEV)
  dtype: Any = jnp.float32
  kv_heads: int | None = None
  head_width: int | None = None
  window: int | None = None
  rotary_base: float = 10_000.0
  rotary_scaling: Scaling | None = None
  norm_epsilon: float = 1e-6
  scale: float | None = None
  soft_cap: float | None = None
  use_bias: bool = False
  qkv_bias: bool = False
  attention_dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    x_BLD: jax.Array,
    *,
    train: bool,
    segment_ids: jax.Array | None = None,
    positions: jax.Array | None = None,
    bias: jax.Array | None = None,
    slots: Slots | None = None,
  ) -> jax.Array:
    """Maps [B, L, D] to the same.

    Args:
      x_BLD: The sequence.
      train: Whether dropout is on.
      segment_ids: Integers [B, L]; a position sees its own segment only.
      positions: Integers [B, L] for rotary positions; None counts from 0.
      bias: Added to the logits; broadcasts to [B, H, L, M].
      slots: Where keys and values are kept, in the collection 'cache' ('k' and 'v', [B, M, G, K]);
        None keeps none.

    Raises:
      ValueError: Width and heads do not fit.
    """
    B, L, D = x_BLD.shape
    H, G, K = self._sizes(D)
    q_BLHK, k_BLGK, v_BLGK = self._qkv(x_BLD, H, G, K)
    if self.qk_norm:
      kinds = {'epsilon': self.norm_epsilon, 'dtype': self.dtype}
      q_BLHK = norm('rms', name='q_norm', **kinds)(q_BLHK)
      k_BLGK = norm('rms', name='k_norm', **kinds)(k_BLGK)
    if self.position == 'rotary':
      turn = functools.partial(
        rotary, base=self.rotary_base, positions=positions, scaling=self.rotary_scaling
      )
      q_BLHK, k_BLGK = turn(q_BLHK), turn(k_BLGK)
    seen: dict[str, Any] = {}
    if segment_ids is not None:
      seen['segments'] = (segment_ids, segment_ids)
    if slots is not None:
      k_BLGK, v_BLGK = (self._kept(n, x, slots) for n, x in (('k', k_BLGK), ('v', v_BLGK)))
      seen['positions'] = slots.positions
      seen['segments'] = (jnp.ones((B, L), jnp.int32), slots.filled.astype(jnp.int32))
    if train and self.attention_dropout:
      seen['drop'] = nn.Dropout(self.attention_dropout, deterministic=False)
    if self.is_mutable_collection('intermediates'):  # Somebody asked to see the weights.
      seen['drop'] = self._sowing(seen.get('drop', lambda weights: weights))
    y_BLHK = attention(
      q_BLHK, k_BLGK, v_BLGK, causal=self.causal, window=self.window, bias=bias, scale=self.scale,
      soft_cap=self.soft_cap, **seen,
    )  # fmt: skip
    layer = dense(
      D, use_bias=self.use_bias, kernel_init=self.out_init, dtype=self.dtype, name='out'
    )
    y_BLD = layer(y_BLHK.reshape(B, L, H * K))
    return nn.Dropout(self.dropout, deterministic=not train)(y_BLD)

  def _sowing(self, drop: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Returns `drop`, which sows the weights [B, H, L, M] before as 'attention'."""

    def sow(weights_BHLM: jax.Array) -> jax.Array:
      self.sow('intermediates', 'attention', weights_BHLM)
      return drop(weights_BHLM)

    return sow

  def _sizes(self, D: int) -> tuple[int, int, int]:
    """Returns H, G and K."""
    H, G = self.heads, self.kv_heads or self.heads
    if self.head_width is None and D % H:
      raise ValueError(f'width must divide by {H} heads, got {D}')
    K = self.head_width or D // H
    if self.position not in ('none', 'rotary'):
      raise ValueError(f"position must be 'none' or 'rotary', got {self.position!r}")
    if self.position == 'rotary' and K % 2:
      raise ValueError(
        f'rotary positions need an even width of heads, got {K} ({D} / {H}): change width or heads'
      )
    return H, G, K

  def _qkv(self, x_BLD: jax.Array, H: int, G: int, K: int) -> list[jax.Array]:
    """Returns queries [B, L, H, K], keys and values [B, L, G, K]."""
    B, L, D = x_BLD.shape
    if G == H and H * K == D:
      found = products(x_BLD, weights(self, 'qkv', each(self.in_init), (3, D, D), self.dtype))
    else:
      found = [product(x_BLD, weights(self, 'q', self.in_init, (D, H * K), self.dtype))]
      shape = (2, D, G * K)
      found += products(x_BLD, weights(self, 'kv', each(self.in_init), shape, self.dtype))
    out = []
    for name, y, heads in zip('qkv', found, (H, G, G), strict=True):
      if self.qkv_bias:
        bias = self.param(f'{name}_bias', nn.initializers.zeros, (heads * K,))
        y = y + bias.astype(self.dtype)
      out.append(y.reshape(B, L, heads, K))
    return out

  def _kept(self, name: str, x_BLGK: jax.Array, slots: Slots) -> jax.Array:
    """Writes keys or values into the cache, and returns all that it holds, [B, M, G, K]."""
    shape = (*slots.filled.shape, *x_BLGK.shape[2:])
    kept = self.variable('cache', name, jnp.zeros, shape, x_BLGK.dtype)
    kept.value = jax.lax.dynamic_update_slice(kept.value, x_BLGK, (0, slots.index, 0, 0))
    return kept.value
