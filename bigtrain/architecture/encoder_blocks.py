"""The block that encoders of tokens and of patches are made of.

Letters: B examples, L positions, D width.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.norms import norm
from bigtrain.architecture.parts import FeedForward
from bigtrain.architecture.self_attention import SelfAttention
from bigtrain.architecture.spreading import spread


class EncoderBlock(nn.Module):
  """Attention and a feed-forward layer; training skips each with probability `skip`.

  Attributes:
    heads: Attention heads.
    hidden: Width inside the feed-forward layer; None is 4 D.
    norm_first: Whether a layer's input is normalised; otherwise the sum of input and output is.
    norm: As in `norm`.
    feed: As in `FeedForward`.
    position: 'none' or 'rotary'.
    causal: Whether a position sees itself and earlier ones only.
    qk_norm: Whether queries and keys are normalised.
    attention_bias: Whether queries, keys, values and the output of attention have biases.
    feed_bias: Whether the products of the feed-forward layer have.
    epsilon: Of the norms.
    dropout: Share of each layer's output left out in training.
    attention_dropout: Share of the attention weights left out in training.
    skip: Probability of leaving out a layer.
    in_init: Of queries, keys, values and the first products of the feed-forward layer; outputs of
      both start as `SelfAttention` and `FeedForward` start theirs.
    dtype: Of the computation.
  """

  heads: int
  hidden: int | None = None
  norm_first: bool = True
  norm: str = 'layer_bias'
  feed: str = 'gelu'
  position: str = 'none'
  causal: bool = False
  qk_norm: bool = False
  attention_bias: bool = False
  feed_bias: bool = True
  epsilon: float = 1e-6
  dropout: float = 0.0
  attention_dropout: float = 0.0
  skip: float = 0.0
  in_init: Any = nn.initializers.xavier_uniform()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x_BLD: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    """Maps [B, L, D] to the same; a position sees its own segment only, where [B, L] are given."""
    # A whole layer of an example is left out at once: stochastic depth (Huang et al. 2016).
    skip = nn.Dropout(self.skip, broadcast_dims=(1, 2), deterministic=not train)
    attention = SelfAttention(
      self.heads,
      position=self.position,
      causal=self.causal,
      qk_norm=self.qk_norm,
      qkv_bias=self.attention_bias,
      use_bias=self.attention_bias,
      norm_epsilon=self.epsilon,
      dropout=self.dropout,
      attention_dropout=self.attention_dropout,
      in_init=self.in_init,
      dtype=self.dtype,
      name='attention',
    )
    feed = FeedForward(
      self.hidden or 4 * x_BLD.shape[-1],
      self.feed,
      self.dropout,
      use_bias=self.feed_bias,
      in_init=self.in_init,
      dtype=self.dtype,
      name='feed',
    )
    norms = [norm(self.norm, epsilon=self.epsilon, dtype=self.dtype) for _ in range(2)]
    if self.norm_first:
      x_BLD = x_BLD + skip(attention(norms[0](x_BLD), train=train, segment_ids=segment_ids))
      return spread(x_BLD + skip(feed(norms[1](x_BLD), train=train)))
    x_BLD = norms[0](x_BLD + skip(attention(x_BLD, train=train, segment_ids=segment_ids)))
    return spread(norms[1](x_BLD + skip(feed(x_BLD, train=train))))
