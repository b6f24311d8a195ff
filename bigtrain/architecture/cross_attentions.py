"""Attention of one sequence to another, and the pooling that is made of it.

Letters: B examples, L positions that ask, M positions that answer, D width, H heads, K width of a
head.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.attentions import attention
from bigtrain.architecture.parts import FeedForward
from bigtrain.architecture.products import dense, each, product


class CrossAttention(nn.Module):
  """Multi-head attention of a sequence to another, the memory.

  Attributes:
    heads: H.
    head_width: K; None is D / H.
    scale: Of the logits; None is 1/sqrt(K).
    use_bias: Of queries, keys, values and the output.
    dropout: Share of the output left out in training.
    attention_dropout: Share of the weights left out in training.
    in_init: Of queries, keys and values.
    out_init: Of the output's matrix.
    dtype: Of the computation.
  """

  heads: int
  head_width: int | None = None
  scale: float | None = None
  use_bias: bool = False
  dropout: float = 0.0
  attention_dropout: float = 0.0
  in_init: Any = nn.initializers.xavier_uniform()
  out_init: Any = nn.initializers.xavier_uniform()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x_BLD: jax.Array,
    memory_BMD: jax.Array | None,
    *,
    train: bool,
    segments: tuple[jax.Array, jax.Array] | None = None,
    kept: bool = False,
  ) -> jax.Array:
    """Maps [B, L, D] to the same.

    Args:
      x_BLD: Asks.
      memory_BMD: Answers; its width may differ. None is the one that was kept.
      train: Whether dropout is on.
      segments: Integers [B, L] and [B, M]; a position sees positions of its own number only.
      kept: Whether the memory's keys and values stay in the collection 'cache' for later calls.

    Raises:
      ValueError: Width and heads do not fit.
    """
    B, L, D = x_BLD.shape
    H = self.heads
    if self.head_width is None and D % H:
      raise ValueError(f'width must divide by {H} heads, got {D}')
    K = self.head_width or D // H

    def heads(name: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
      y = product(x.astype(self.dtype), kernel.astype(self.dtype))
      if self.use_bias:
        y = y + self.param(f'{name}_bias', nn.initializers.zeros, (H * K,)).astype(self.dtype)
      return y.reshape(*x.shape[:2], H, K)

    q_BLHK = heads('q', x_BLD, self.param('q', self.in_init, (D, H * K)))
    if memory_BMD is None:
      k_v = [self.get_variable('cache', name) for name in 'kv']
    else:
      kernels = self.param('kv', each(self.in_init), (2, memory_BMD.shape[-1], H * K))
      k_v = [heads(n, memory_BMD, kernel) for n, kernel in zip('kv', kernels, strict=True)]
      for name, x_BMHK in zip('kv', k_v, strict=True) if kept else ():
        self.put_variable('cache', name, x_BMHK)
    drop = None
    if train and self.attention_dropout:
      drop = nn.Dropout(self.attention_dropout, deterministic=False)
    y_BLHK = attention(q_BLHK, *k_v, segments=segments, scale=self.scale, drop=drop)
    kinds = {'use_bias': self.use_bias, 'kernel_init': self.out_init, 'dtype': self.dtype}
    y_BLD = dense(D, **kinds, name='out')(y_BLHK.reshape(B, L, H * K))
    return nn.Dropout(self.dropout, deterministic=not train)(y_BLD)


class AttentionPool(nn.Module):
  """Pools a sequence by what a learned query sees of it (Zhai et al. 2022, 'MAP').

  Attributes:
    heads: Attention heads.
    hidden: Width inside the feed-forward layer that follows; None is 4 D.
    epsilon: Of the norm between the two.
    feed: As in `FeedForward`.
    dtype: Of the computation.
  """

  heads: int
  hidden: int | None = None
  epsilon: float = 1e-6
  feed: str = 'gelu'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x_BLD: jax.Array, seen_BL: jax.Array | None = None) -> jax.Array:
    """Maps [B, L, D] to [B, D]; positions where `seen_BL`, booleans, is false are left out."""
    B, _, D = x_BLD.shape
    probe = self.param('probe', nn.initializers.xavier_uniform(), (1, 1, D))
    probe = jnp.broadcast_to(probe, (B, 1, D)).astype(x_BLD.dtype)
    segments = None
    if seen_BL is not None:
      segments = (jnp.ones((B, 1), jnp.int32), seen_BL.astype(jnp.int32))
    layer = CrossAttention(self.heads, use_bias=True, dtype=self.dtype, name='attention')
    x_B1D = layer(probe, x_BLD, train=False, segments=segments)
    y_B1D = nn.LayerNorm(self.epsilon, dtype=self.dtype, name='norm')(x_B1D)
    init = nn.initializers.xavier_uniform()
    feed = FeedForward(
      self.hidden or 4 * D,
      self.feed,
      use_bias=True,
      in_init=init,
      out_init=init,
      dtype=self.dtype,
      name='feed',
    )
    return (x_B1D + feed(y_B1D, train=False))[:, 0]
