"""Decoder-only language models, from GPT-2's shape to today's by knobs.

Letters: B examples, L positions, D width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.parts import CausalConv, FeedForward, SelfAttention, dense, norm


class DecoderBlock(nn.Module):
  """Attention and a feed-forward layer, each normalised before it and added to the stream."""

  model: DecoderLM

  @nn.compact
  def __call__(
    self, x_BLD: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    m = self.model
    if m.init_scale:
      # Each block adds to the stream twice; the sum should not grow with depth.
      out_init = nn.initializers.normal(m.init_scale / math.sqrt(2 * m.depth))
    else:
      out_init = nn.initializers.zeros
    init = nn.initializers.normal(m.init_scale or 1 / math.sqrt(m.width))
    kinds = {'init': init, 'out_init': out_init}
    y_BLD = norm(m.norm, dtype=m.dtype, name='attention_norm')(x_BLD)
    if m.conv:
      y_BLD = CausalConv(m.conv, name='attention_conv')(y_BLD, segment_ids)
    x_BLD = x_BLD + SelfAttention(
      m.heads or max(1, m.width // 32),
      causal=True,
      position='rotary' if m.position == 'rotary' else 'none',
      qk_norm=m.qk_norm,
      dropout=m.dropout,
      dtype=m.dtype,
      name='attention',
      **kinds,
    )(y_BLD, train=train, segment_ids=segment_ids)
    y_BLD = norm(m.norm, dtype=m.dtype, name='feed_norm')(x_BLD)
    if m.conv:
      y_BLD = CausalConv(m.conv, name='feed_conv')(y_BLD, segment_ids)
    hidden = m.hidden or 4 * m.width
    feed = FeedForward(hidden, m.feed, m.dropout, dtype=m.dtype, name='feed', **kinds)
    return x_BLD + feed(y_BLD, train=train)


class DecoderLM(nn.Module):
  """A causal transformer over tokens (Radford et al. 2019; Touvron et al. 2023).

  Attributes:
    vocab: Tokens there are, V.
    depth: Blocks.
    width: D.
    heads: Attention heads; None is one for 32 channels.
    hidden: Width inside the feed-forward layer; None is 4 D.
    length: Positions at most; needed where they are learned.
    position: 'rotary' (Su et al. 2021) or 'learned' (GPT-2).
    norm: 'rms' or 'layer'.
    feed: 'relu2', 'gelu' or 'swiglu'.
    qk_norm: Whether queries and keys are normalised.
    conv: Width of a causal depthwise convolution before each layer; 0 is none.
    tied: Whether the output layer is the embedding, transposed.
    init_scale: Standard deviation of every matrix, with outputs of blocks scaled by 1/sqrt(2 depth)
      (GPT-2 has 0.02). None is 1/sqrt(D), with the outputs of blocks 0 at first.
    dropout: Share left out of embeddings and of each layer's output in training.
    dtype: Of the computation.
  """

  vocab: int
  depth: int
  width: int
  heads: int | None = None
  hidden: int | None = None
  length: int | None = None
  position: str = 'rotary'
  norm: str = 'rms'
  feed: str = 'relu2'
  qk_norm: bool = True
  conv: int = 0
  tied: bool = False
  init_scale: float | None = None
  dropout: float = 0.0
  dtype: Any = jnp.float32

  def setup(self):
    """Makes the parts, which `features` and `head` share."""
    scale = nn.initializers.normal(self.init_scale or 0.02)
    self.embed = nn.Embed(self.vocab, self.width, embedding_init=scale, dtype=self.dtype)
    if self.position == 'learned':
      if self.length is None:
        raise ValueError("position='learned' needs length, the number of positions")
      self.position_embed = self.param('position_embed', scale, (self.length, self.width))
    elif self.position != 'rotary':
      raise ValueError(f"position must be 'rotary' or 'learned', got {self.position!r}")
    shape = self.clone(parent=None, name=None)
    self.blocks = [DecoderBlock(shape, name=f'block_{i}') for i in range(self.depth)]
    self.out_norm = norm(self.norm, dtype=self.dtype)
    self.in_dropout = nn.Dropout(self.dropout)
    if not self.tied:
      zeros = nn.initializers.zeros
      self.out = dense(self.vocab, use_bias=False, kernel_init=zeros, name='head', dtype=self.dtype)

  def features(
    self, tokens_BL: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, L] to what the output layer sees, [B, L, D].

    Args:
      tokens_BL: Integers in 0 ... V - 1.
      train: Whether dropout is on.
      segment_ids: Integers [B, L]: documents packed into one row, which must not see each other.
        Learned positions go on counting from one to the next.

    Raises:
      ValueError: The tokens are longer than the positions that are learned.
    """
    x_BLD = self.embed(tokens_BL)
    if self.position == 'learned':
      length = tokens_BL.shape[1]
      if length > len(self.position_embed):
        raise ValueError(
          f'tokens must be no longer than the {len(self.position_embed)} learned positions, '
          f'got {length}: raise length, or use rotary positions'
        )
      x_BLD = x_BLD + self.position_embed[:length].astype(self.dtype)
    x_BLD = self.in_dropout(x_BLD, deterministic=not train)
    for block in self.blocks:
      x_BLD = block(x_BLD, train=train, segment_ids=segment_ids)
    return self.out_norm(x_BLD)

  def head(self, x_BLD: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps features to logits [B, L, V]."""
    del train
    return self.embed.attend(x_BLD) if self.tied else self.out(x_BLD)

  def __call__(
    self, tokens_BL: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, L] to logits [B, L, V]; position l predicts token l + 1."""
    return self.head(self.features(tokens_BL, train=train, segment_ids=segment_ids), train=train)
