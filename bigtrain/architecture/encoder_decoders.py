"""Encoder and decoder: one sequence is read, another is written (Raffel et al. 2020, T5).

Letters: B examples, L positions of what is written, M of what is read, D width, H heads, K width of
a head, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigtrain.architecture.cross_attentions import CrossAttention
from bigtrain.architecture.norms import norm
from bigtrain.architecture.parts import FeedForward
from bigtrain.architecture.products import dense
from bigtrain.architecture.self_attention import SelfAttention


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


class _Block(nn.Module):
  """Attention, attention to what was read where there is any, and a feed-forward layer."""

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
    x_BLD = x_BLD + layer(y_BLD, train=train, segment_ids=segment_ids, bias=bias)
    if memory_BMD is not None:
      layer = CrossAttention(m.heads, in_init=init, **attention, name='cross')
      y_BLD = normed(x_BLD, 'cross_norm')
      x_BLD = x_BLD + layer(y_BLD, memory_BMD, train=train, segments=memory_segments)
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
