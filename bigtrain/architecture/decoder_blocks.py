"""The layers of a decoder, as its knobs ask for them.

Letters: B examples, L positions, M slots of a cache, D width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.experts import Experts
from bigtrain.architecture.norms import norm
from bigtrain.architecture.parts import CausalConv, FeedForward
from bigtrain.architecture.self_attention import SelfAttention, Slots
from bigtrain.architecture.spreading import spread

if TYPE_CHECKING:
  from bigtrain.architecture.decoders import DecoderLM


class DecoderBlock(nn.Module):
  """Attention and a feed-forward layer, each normalised and added to the stream.

  Attributes:
    model: Whose knobs count.
    window: Of this block's attention.
  """

  model: DecoderLM
  window: int | None = None

  @nn.compact
  def __call__(
    self,
    x_BLD: jax.Array,
    skip: jax.Array,
    *,
    train: bool,
    segment_ids: jax.Array | None = None,
    positions: jax.Array | None = None,
    slots: Slots | None = None,
  ) -> jax.Array:
    """Maps [B, L, D] to the same; training leaves out each layer with probability `skip`."""
    m = self.model
    if m.init_scale:
      # Each block adds to the stream twice; the sum should not grow with depth.
      adds = 1 if m.depth_scaling else 2 * m.depth
      out_init = nn.initializers.normal(m.init_scale / math.sqrt(adds))
    else:
      out_init = nn.initializers.zeros
    init = nn.initializers.normal(m.init_scale or 1 / math.sqrt(m.width))
    kinds = {'in_init': init, 'out_init': out_init, 'dropout': m.dropout, 'dtype': m.dtype}
    attend = SelfAttention(
      m.heads or max(1, m.width // 32),
      kv_heads=m.kv_heads,
      head_width=m.head_width,
      causal=True,
      window=self.window,
      position='rotary' if m.position == 'rotary' else 'none',
      rotary_base=m.rotary_base,
      rotary_scaling=m.rotary_scaling,
      qk_norm=m.qk_norm,
      norm_epsilon=m.norm_epsilon,
      scale=m.attention_scale,
      soft_cap=m.attention_cap,
      use_bias=m.bias,
      qkv_bias=m.bias if m.qkv_bias is None else m.qkv_bias,
      attention_dropout=m.attention_dropout,
      name='attention',
      **kinds,
    )
    hidden = m.hidden or 4 * m.width
    if m.experts:
      feed = Experts(m.experts, m.active, hidden, m.feed, name='feed', **kinds)
    else:
      feed = FeedForward(hidden, m.feed, use_bias=m.bias, name='feed', **kinds)

    def normed(x_BLD: jax.Array, name: str) -> jax.Array:
      return norm(m.norm, epsilon=m.norm_epsilon, dtype=m.dtype, name=name)(x_BLD)

    for layer, name, more in (
      (attend, 'attention', {'segment_ids': segment_ids, 'positions': positions, 'slots': slots}),
      (feed, 'feed', {}),
    ):
      y_BLD = x_BLD if m.norms == 'post' else normed(x_BLD, f'{name}_norm')
      if m.conv:
        y_BLD = CausalConv(m.conv, name=f'{name}_conv')(y_BLD, segment_ids, slots)
      y_BLD = layer(y_BLD, train=train, **more)
      if m.norms == 'both':
        y_BLD = normed(y_BLD, f'{name}_out_norm')
      if m.depth_scaling:
        y_BLD = y_BLD * jnp.asarray(m.depth**-m.depth_scaling, y_BLD.dtype)
      if train and m.stochastic_depth:
        y_BLD = self._skipped(y_BLD, skip)
      x_BLD = x_BLD + y_BLD
      if m.norms == 'post':
        x_BLD = normed(x_BLD, f'{name}_norm')
    return spread(x_BLD)

  def _skipped(self, y_BLD: jax.Array, skip: jax.Array) -> jax.Array:
    """Leaves a layer out for some examples; its mean stays (Huang et al. 2016)."""
    kept = jax.random.bernoulli(self.make_rng('dropout'), 1 - skip, (len(y_BLD), 1, 1))
    return jnp.where(kept, y_BLD / (1 - skip), 0).astype(y_BLD.dtype)


class Period(nn.Module):
  """Neighbouring blocks that repeat: what a scanned decoder runs once a turn."""

  model: DecoderLM
  windows: tuple[int | None, ...]

  @nn.compact
  def __call__(self, x_BLD: jax.Array, skips: jax.Array, *, call: Any) -> jax.Array:
    """Maps [B, L, D] to the same; block j is run by `call(block, x, skips[j])`."""
    for j, window in enumerate(self.windows):
      x_BLD = call(DecoderBlock(self.model, window, name=f'block_{j}'), x_BLD, skips[j])
    return x_BLD


class Ledger(nn.Module):
  """Which slots of a cache are taken, and by what position; in the collection 'cache'."""

  @nn.compact
  def __call__(self, positions: jax.Array | None, shape: tuple[int, ...], most: int | None):
    """Takes the next L slots, and returns a Slots.

    Args:
      positions: Integers [B, L], below 0 for padding in front; None goes on counting.
      shape: B and L.
      most: M of a new cache.

    Raises:
      ValueError: There is no cache and M is not given, or it has fewer than L slots.
    """
    if not self.has_variable('cache', 'filled') and most is None:
      raise ValueError("there is no cache yet: give length, its slots, or variables['cache']")
    B, L = shape
    index = self.variable('cache', 'index', jnp.zeros, (), jnp.int32)
    known = self.variable('cache', 'positions', jnp.zeros, (B, most), jnp.int32)
    filled = self.variable('cache', 'filled', jnp.zeros, (B, most), bool)
    if filled.value.shape[1] < L:
      raise ValueError(f'the cache has {filled.value.shape[1]} slots, got {L} tokens: raise length')
    start = index.value
    if positions is None:
      positions = jnp.broadcast_to(start + jnp.arange(L, dtype=jnp.int32), (B, L))
    known.value = jax.lax.dynamic_update_slice(known.value, positions, (0, start))
    filled.value = jax.lax.dynamic_update_slice(filled.value, positions >= 0, (0, start))
    index.value = start + L
    return Slots(start, (positions, known.value), filled.value)
