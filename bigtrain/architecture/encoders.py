"""Transformers that see the whole of a sequence, from BERT's shape to today's by knobs.

Letters: B examples, L positions, D width, V vocabulary, C classes.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.cross_attentions import AttentionPool
from bigtrain.architecture.encoder_blocks import EncoderBlock
from bigtrain.architecture.norms import norm
from bigtrain.architecture.parts import gelu
from bigtrain.architecture.positions import sinusoidal, within_segments
from bigtrain.architecture.products import dense

_STDDEV = 0.02  # Devlin et al. 2019, as GPT before.


class Encoder(nn.Module):
  """A transformer over tokens that looks both ways (Devlin et al. 2019, BERT).

  What comes out depends on `pool` and `classes`: logits of masked tokens [B, L, V] with neither;
  logits of each token's class [B, L, C] without `pool`; logits of the sequence's class [B, C], or
  without `classes` its features [B, D], with it.

  Attributes:
    vocab: Tokens there are, V.
    depth: Blocks.
    width: D.
    heads: Attention heads; None is one for 64 channels.
    hidden: Width inside the feed-forward layer; None is 4 D.
    length: Positions at most; needed where they are learned.
    classes: C, or None.
    pool: 'none', 'cls' (a dense layer and tanh over the first token), 'mean' over the tokens,
      'last' (the first token that is `end`, or else the last that is no padding), or 'map' (see
      `AttentionPool`).
    types: Kinds of tokens there are, such as first and second sentence; 0 is no such embedding.
    end: The token that ends a text, for `pool='last'`; None has no such token.
    causal: Whether a token sees itself and earlier ones only, as in CLIP's text tower.
    pad: The token that fills up short rows, which no other token sees; None has no such token.
    position: 'learned', 'sinusoidal', 'rotary' or 'none'.
    norm_first: Whether layers normalise what they take, with one more norm at the end; otherwise
      what they add up to, with one more norm at the start, as in BERT.
    norm: As in `norm`.
    feed: As in `FeedForward`.
    qk_norm: Whether queries and keys are normalised.
    use_bias: Whether the products of the blocks have biases.
    tied: Whether the output layer is the embedding, transposed.
    epsilon: Of the norms.
    dropout: Share left out of embeddings and of each layer's output in training.
    attention_dropout: Share of attention weights left out in training.
    stochastic_depth: Probability of skipping a layer of the last block; falls linearly to 0 at the
      first.
    dtype: Of the computation.
  """

  vocab: int
  depth: int
  width: int
  heads: int | None = None
  hidden: int | None = None
  length: int | None = None
  classes: int | None = None
  pool: str = 'none'
  types: int = 0
  end: int | None = None
  causal: bool = False
  pad: int | None = None
  position: str = 'learned'
  norm_first: bool = False
  norm: str = 'layer_bias'
  feed: str = 'gelu'
  qk_norm: bool = False
  use_bias: bool = True
  tied: bool = True
  epsilon: float = 1e-12
  dropout: float = 0.0
  attention_dropout: float = 0.0
  stochastic_depth: float = 0.0
  dtype: Any = jnp.float32

  def setup(self):
    """Makes the parts, which `features` and `head` share."""
    if self.pool not in ('none', 'cls', 'mean', 'last', 'map'):
      raise ValueError(f"pool must be 'none', 'cls', 'mean', 'last' or 'map', got {self.pool!r}")
    if self.position not in ('learned', 'sinusoidal', 'rotary', 'none'):
      raise ValueError(
        f"position must be 'learned', 'sinusoidal', 'rotary' or 'none', got {self.position!r}"
      )
    init = nn.initializers.normal(_STDDEV)
    kinds = {'embedding_init': init, 'dtype': self.dtype}
    self.embed = nn.Embed(self.vocab, self.width, **kinds)
    if self.position == 'learned':
      if self.length is None:
        raise ValueError("position='learned' needs length, the number of positions")
      self.position_embed = nn.Embed(self.length, self.width, **kinds)
    if self.types:
      self.type_embed = nn.Embed(self.types, self.width, **kinds)
    heads = self.heads or max(1, self.width // 64)
    self.blocks = [
      EncoderBlock(
        heads,
        hidden=self.hidden,
        norm_first=self.norm_first,
        norm=self.norm,
        feed=self.feed,
        position='rotary' if self.position == 'rotary' else 'none',
        causal=self.causal,
        qk_norm=self.qk_norm,
        attention_bias=self.use_bias,
        feed_bias=self.use_bias,
        epsilon=self.epsilon,
        dropout=self.dropout,
        attention_dropout=self.attention_dropout,
        skip=self.stochastic_depth * i / max(1, self.depth - 1),
        in_init=init,
        dtype=self.dtype,
        name=f'block_{i}',
      )
      for i in range(self.depth)
    ]
    kinds = {'kernel_init': init, 'dtype': self.dtype}
    # At the start or at the end of the blocks.
    self.outer_norm = norm(self.norm, epsilon=self.epsilon, dtype=self.dtype)
    self.in_dropout = nn.Dropout(self.dropout)
    if self.pool == 'cls':
      self.pooler = dense(self.width, **kinds)
    elif self.pool == 'map':
      self.map_pool = AttentionPool(heads, self.hidden, epsilon=self.epsilon, dtype=self.dtype)
    if self.classes is not None:
      self.out = dense(self.classes, **kinds, name='head')
      self.out_dropout = nn.Dropout(self.dropout)
    elif self.pool == 'none':
      self.head_dense = dense(self.width, **kinds)
      self.head_norm = norm(self.norm, epsilon=self.epsilon, dtype=self.dtype)
      self.head_bias = self.param('head_bias', nn.initializers.zeros, (self.vocab,))
      if not self.tied:
        self.out = dense(self.vocab, use_bias=False, **kinds, name='head')

  def features(
    self,
    tokens_BL: jax.Array,
    *,
    train: bool,
    mask: jax.Array | None = None,
    segment_ids: jax.Array | None = None,
    types: jax.Array | None = None,
  ) -> jax.Array:
    """Maps tokens [B, L] to what the output layer sees, [B, L, D].

    Args:
      tokens_BL: Integers in 0 ... V - 1.
      train: Whether dropout is on.
      mask: [B, L], true or 1 for a token, false or 0 for padding, which no token sees; the outputs
        there mean nothing. None takes `pad` for padding.
      segment_ids: Integers [B, L]: documents packed into one row, which must not see each other;
        positions count from 0 in each.
      types: Integers [B, L] in 0 ... types - 1; None is 0 everywhere.

    Raises:
      ValueError: The tokens are longer than the positions that are learned, or have types where the
        model has none.
    """
    length = tokens_BL.shape[1]
    seen_BL = self._seen(tokens_BL, mask)
    x_BLD = self.embed(tokens_BL)
    places = jnp.arange(length) if segment_ids is None else within_segments(segment_ids)
    if self.position == 'learned':
      if length > (self.length or 0):
        raise ValueError(
          f'tokens must be no longer than the {self.length} learned positions, '
          f'got {length}: raise length, or use rotary positions'
        )
      x_BLD = x_BLD + self.position_embed(places)
    elif self.position == 'sinusoidal':
      x_BLD = x_BLD + sinusoidal(places, self.width).astype(self.dtype)
    if self.types:
      x_BLD = x_BLD + self.type_embed(jnp.zeros_like(tokens_BL) if types is None else types)
    elif types is not None:
      raise ValueError('the tokens have types, and the model has none: set types, how many')
    if not self.norm_first:
      x_BLD = self.outer_norm(x_BLD)
    x_BLD = self.in_dropout(x_BLD, deterministic=not train)
    if seen_BL is not None:  # Padding is a segment of its own, below all others.
      one = jnp.ones_like(tokens_BL) if segment_ids is None else segment_ids
      segment_ids = jnp.where(seen_BL, one, jnp.iinfo(one.dtype).min)
    for block in self.blocks:
      x_BLD = block(x_BLD, train=train, segment_ids=segment_ids)
    return self.outer_norm(x_BLD) if self.norm_first else x_BLD

  def head(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps features, [B, L, D] or pooled [B, D], to logits of tokens or classes."""
    if self.classes is not None:
      return self.out(self.out_dropout(x, deterministic=not train))
    x = self.head_norm(gelu(self.head_dense(x)))
    logits = self.embed.attend(x) if self.tied else self.out(x)
    return logits + self.head_bias.astype(self.dtype)

  def __call__(
    self,
    tokens_BL: jax.Array,
    *,
    train: bool,
    mask: jax.Array | None = None,
    segment_ids: jax.Array | None = None,
    types: jax.Array | None = None,
  ) -> jax.Array:
    """Maps tokens [B, L] to what the class says; arguments as in `features`."""
    x = self.features(tokens_BL, train=train, mask=mask, segment_ids=segment_ids, types=types)
    if self.pool != 'none':
      x = self._pooled(x, tokens_BL, self._seen(tokens_BL, mask))
      if self.classes is None:
        return x
    return self.head(x, train=train)

  def _seen(self, tokens_BL: jax.Array, mask: jax.Array | None) -> jax.Array | None:
    if mask is not None:
      return mask.astype(bool)
    return None if self.pad is None else tokens_BL != self.pad

  def _pooled(self, x_BLD: jax.Array, tokens_BL: jax.Array, seen_BL: jax.Array | None) -> jax.Array:
    if self.pool == 'last':
      seen_BL = jnp.ones_like(tokens_BL, bool) if seen_BL is None else seen_BL
      at_B = jnp.max(seen_BL * jnp.arange(x_BLD.shape[1]), axis=1)
      if self.end is not None:
        ends_BL = tokens_BL == self.end
        at_B = jnp.where(ends_BL.any(axis=1), jnp.argmax(ends_BL, axis=1), at_B)
      return jnp.take_along_axis(x_BLD, at_B[:, None, None], axis=1)[:, 0]
    if self.pool == 'cls':
      return jnp.tanh(self.pooler(x_BLD[:, 0]))
    if self.pool == 'map':
      return self.map_pool(x_BLD, seen_BL)
    if seen_BL is None:
      return x_BLD.mean(axis=1)
    weight_BL = seen_BL.astype(x_BLD.dtype)
    total_BD = jnp.einsum('bld,bl->bd', x_BLD, weight_BL)
    return total_BD / jnp.maximum(weight_BL.sum(axis=1, keepdims=True), 1)
