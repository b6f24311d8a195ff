"""Encoder and decoder: one sequence is read, another is written (Raffel et al. 2020, T5).

Letters: B examples, L positions of what is written, M of what is read, D width, H heads, K width of
a head, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.cross_attentions import CrossAttention
from bigtrain.architecture.decoder_blocks import Ledger
from bigtrain.architecture.norms import norm
from bigtrain.architecture.parts import FeedForward
from bigtrain.architecture.products import dense
from bigtrain.architecture.relative_positions import RelativeBias
from bigtrain.architecture.self_attention import SelfAttention, Slots


class _Block(nn.Module):
  """Attention, attention to what was read in the decoder, and a feed-forward layer."""

  model: EncoderDecoder
  causal: bool

  @nn.compact
  def __call__(
    self,
    x_BLD: jax.Array,
    bias: jax.Array,
    *,
    train: bool,
    segment_ids: jax.Array | None = None,
    memory_BMD: jax.Array | None = None,
    memory_segments: tuple[jax.Array, jax.Array] | None = None,
    slots: Slots | None = None,
  ) -> jax.Array:
    m, D = self.model, x_BLD.shape[-1]
    K = m.head_width or D // m.heads
    kinds = {'dropout': m.dropout, 'dtype': m.dtype}
    # The original starts queries at 1/sqrt(D K), so that their products with keys need no scale.
    # Here queries, keys and values share that, and the output makes up for the values.
    attention = {
      'head_width': K,
      'scale': 1.0,
      'attention_dropout': m.attention_dropout,
      'out_init': nn.initializers.normal((m.heads * K) ** -0.5 * K**0.25),
      **kinds,
    }

    def normed(x_BLD: jax.Array, name: str) -> jax.Array:
      return norm(m.norm, epsilon=m.epsilon, dtype=m.dtype, name=name)(x_BLD)

    init = nn.initializers.normal(D**-0.5 * K**-0.25)
    layer = SelfAttention(m.heads, causal=self.causal, in_init=init, **attention, name='attention')
    y_BLD = normed(x_BLD, 'attention_norm')
    x_BLD = x_BLD + layer(y_BLD, train=train, segment_ids=segment_ids, bias=bias, slots=slots)
    if self.causal:
      layer = CrossAttention(m.heads, in_init=init, **attention, name='cross')
      y_BLD = normed(x_BLD, 'cross_norm')
      kept = slots is not None
      x_BLD = x_BLD + layer(y_BLD, memory_BMD, train=train, segments=memory_segments, kept=kept)
    hidden = m.hidden or 4 * D
    layer = FeedForward(
      hidden,
      m.feed,
      in_init=nn.initializers.normal(D**-0.5),
      out_init=nn.initializers.normal(hidden**-0.5),
      **kinds,
      name='feed',
    )
    return x_BLD + layer(normed(x_BLD, 'feed_norm'), train=train)


class EncoderDecoder(nn.Module):
  """A transformer that reads one sequence and writes another (Raffel et al. 2020, T5).

  T5 v1.0 is `feed='relu', tied=True`; v1.1 is `feed='geglu_tanh', tied=False`, the default.

  Attributes:
    vocab: Tokens there are, V.
    depth: Blocks of the encoder.
    width: D.
    heads: Attention heads.
    head_width: K; None is D / H.
    hidden: Width inside the feed-forward layers; None is 4 D.
    decoder_depth: Blocks of the decoder; None is as many as the encoder's.
    feed: As in `FeedForward`.
    norm: As in `norm`.
    tied: Whether the output layer is the embedding, transposed and divided by sqrt(D).
    pad: The token that fills up short rows of what is read, which nothing sees; None has no such
      token. What is written is not masked: padding comes after it.
    buckets: As in `RelativeBias`.
    longest: As in `RelativeBias`.
    epsilon: Of the norms.
    dropout: Share left out of embeddings, of each layer's output and of both ends in training.
    attention_dropout: Share of attention weights left out in training.
    dtype: Of the computation.
  """

  vocab: int
  depth: int
  width: int
  heads: int
  head_width: int | None = None
  hidden: int | None = None
  decoder_depth: int | None = None
  feed: str = 'geglu_tanh'
  norm: str = 'rms'
  tied: bool = False
  pad: int | None = 0
  buckets: int = 32
  longest: int = 128
  epsilon: float = 1e-6
  dropout: float = 0.0
  attention_dropout: float = 0.0
  dtype: Any = jnp.float32

  def setup(self):
    """Makes the parts, which the methods share."""
    if self.head_width is None and self.width % self.heads:
      raise ValueError(f'width must divide by {self.heads} heads, got {self.width}')
    init = nn.initializers.normal(self.width**-0.5)
    # Tied, the embedding is also the output layer, whose share is divided by sqrt(D).
    whole = nn.initializers.normal(1.0)
    self.embed = nn.Embed(self.vocab, self.width, embedding_init=whole, dtype=self.dtype)
    shape = self.clone(parent=None, name=None)
    depth = self.depth if self.decoder_depth is None else self.decoder_depth
    self.encoder = [_Block(shape, causal=False, name=f'encoder_{i}') for i in range(self.depth)]
    self.decoder = [_Block(shape, causal=True, name=f'decoder_{i}') for i in range(depth)]
    bias = {'buckets': self.buckets, 'longest': self.longest, 'table_init': init}
    self.encoder_bias = RelativeBias(self.heads, **bias)
    self.decoder_bias = RelativeBias(self.heads, both_ways=False, **bias)
    self.encoder_norm = norm(self.norm, epsilon=self.epsilon, dtype=self.dtype)
    self.decoder_norm = norm(self.norm, epsilon=self.epsilon, dtype=self.dtype)
    self.ledger = Ledger()
    self.drop = nn.Dropout(self.dropout)
    if not self.tied:
      kinds = {'kernel_init': init, 'dtype': self.dtype}
      self.out = dense(self.vocab, use_bias=False, **kinds, name='head')

  def encode(
    self, tokens_BM: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    """Maps what is read, [B, M], to the memory [B, M, D].

    Args:
      tokens_BM: Integers in 0 ... V - 1.
      train: Whether dropout is on.
      segment_ids: Integers [B, M]: documents packed into one row, which must not see each other.
    """
    place_M = jnp.arange(tokens_BM.shape[1])
    bias = self.encoder_bias(place_M, place_M)
    segment_ids = self._segments(tokens_BM, segment_ids)
    x_BMD = self.drop(self.embed(tokens_BM), deterministic=not train)
    for block in self.encoder:
      x_BMD = block(x_BMD, bias, train=train, segment_ids=segment_ids)
    return self.drop(self.encoder_norm(x_BMD), deterministic=not train)

  def decode(
    self,
    decoder_tokens_BL: jax.Array,
    memory_BMD: jax.Array,
    tokens_BM: jax.Array,
    *,
    train: bool,
    segment_ids: jax.Array | None = None,
    decoder_segment_ids: jax.Array | None = None,
  ) -> jax.Array:
    """Maps what was written so far, [B, L], to what the output layer sees, [B, L, D].

    Args:
      decoder_tokens_BL: Integers in 0 ... V - 1, behind a first one that starts.
      memory_BMD: What `encode` gives.
      tokens_BM: What was read, for its padding.
      train: Whether dropout is on.
      segment_ids: As in `encode`.
      decoder_segment_ids: Integers [B, L], the document in `segment_ids` that each belongs to.
    """
    place_L = jnp.arange(decoder_tokens_BL.shape[1])
    bias = self.decoder_bias(place_L, place_L)
    read = self._segments(tokens_BM, segment_ids)
    between = None
    if read is not None:
      one = jnp.ones_like(decoder_tokens_BL)
      between = (one if decoder_segment_ids is None else decoder_segment_ids, read)
    x_BLD = self.drop(self.embed(decoder_tokens_BL), deterministic=not train)
    for block in self.decoder:
      x_BLD = block(
        x_BLD,
        bias,
        train=train,
        segment_ids=decoder_segment_ids,
        memory_BMD=memory_BMD,
        memory_segments=between,
      )
    return self.drop(self.decoder_norm(x_BLD), deterministic=not train)

  def write(
    self,
    decoder_tokens_BL: jax.Array,
    tokens_BM: jax.Array | None = None,
    *,
    train: bool = False,
    length: int | None = None,
  ) -> jax.Array:
    """Maps the next tokens [B, L], whose earlier ones are in the cache, to logits [B, L, V].

    Call it by `apply(variables, tokens, read, length=..., method='write', mutable=['cache'])`, then
    with one token after another and the 'cache' that came back, where what was read is kept too.

    Args:
      decoder_tokens_BL: Integers in 0 ... V - 1; no more in all than the cache has room for.
      tokens_BM: What is read, with the first call.
      train: False.
      length: Tokens that a new cache has room for.

    Raises:
      ValueError: Nothing was read; there is neither a cache nor a length; or it is too short.
    """
    if tokens_BM is None and not self.has_variable('cache', 'read'):
      raise ValueError('nothing was read yet: give tokens_BM with the first call')
    slots: Slots = self.ledger(None, decoder_tokens_BL.shape, length)
    memory_BMD = None
    if tokens_BM is not None:
      memory_BMD = self.encode(tokens_BM, train=train)
      read = self._segments(tokens_BM, jnp.ones_like(tokens_BM))
      self.put_variable('cache', 'read', read)
    between = jnp.ones_like(decoder_tokens_BL), self.get_variable('cache', 'read')
    bias = self.decoder_bias(*slots.positions)
    x_BLD = self.embed(decoder_tokens_BL)
    for block in self.decoder:
      x_BLD = block(
        x_BLD,
        bias,
        train=train,
        memory_BMD=memory_BMD,
        memory_segments=between,
        slots=slots,
      )
    return self.head(self.decoder_norm(x_BLD))

  def features(
    self,
    tokens_BM: jax.Array,
    decoder_tokens_BL: jax.Array,
    *,
    train: bool,
    segment_ids: jax.Array | None = None,
    decoder_segment_ids: jax.Array | None = None,
  ) -> jax.Array:
    """Maps what is read, [B, M], and written, [B, L], to what the output layer sees, [B, L, D]."""
    if (segment_ids is None) != (decoder_segment_ids is None):
      raise ValueError('segment_ids and decoder_segment_ids must be given together')
    memory_BMD = self.encode(tokens_BM, train=train, segment_ids=segment_ids)
    return self.decode(
      decoder_tokens_BL,
      memory_BMD,
      tokens_BM,
      train=train,
      segment_ids=segment_ids,
      decoder_segment_ids=decoder_segment_ids,
    )

  def head(self, x_BLD: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps features to logits [B, L, V]."""
    del train
    return self.embed.attend(x_BLD * self.width**-0.5) if self.tied else self.out(x_BLD)

  def __call__(
    self, tokens_BM: jax.Array, decoder_tokens_BL: jax.Array, *, train: bool, **segments: Any
  ) -> jax.Array:
    """Maps what is read, [B, M], and written, [B, L], to logits [B, L, V]; see `features`."""
    x_BLD = self.features(tokens_BM, decoder_tokens_BL, train=train, **segments)
    return self.head(x_BLD, train=train)

  def _segments(self, tokens_BM: jax.Array, segment_ids: jax.Array | None) -> jax.Array | None:
    """Returns the documents of what is read; padding is one of its own, below all others."""
    if self.pad is None:
      return segment_ids
    one = jnp.ones_like(tokens_BM) if segment_ids is None else segment_ids
    return jnp.where(tokens_BM == self.pad, jnp.iinfo(one.dtype).min, one)
