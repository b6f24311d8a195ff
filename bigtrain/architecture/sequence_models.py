"""Models that read sequences by a recurrence: a classifier and a language model.

Letters: B examples, L positions, D width, C classes, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.linear_recurrence import real
from bigtrain.architecture.parts import scaled
from bigtrain.architecture.products import dense
from bigtrain.architecture.recurrent import Kind, RecurrentLayers


class RecurrentClassifier(nn.Module):
  """Reads a sequence, or an image row by row, and tells its class.

  Attributes:
    classes: Outputs, C.
    kind: Of the recurrence: 'lstm', 'gru', 'rglru' or 'mamba'.
    depth: Layers.
    width: D.
    bidirectional: Whether LSTM and GRU read from both ends.
    pool: 'mean' over real positions, or 'last': what each direction has at its end.
    dropout: Share left out between layers, and of the pooled features.
    dtype: Of the computation.
  """

  classes: int
  kind: Kind = 'lstm'
  depth: int = 2
  width: int = 128
  bidirectional: bool = False
  pool: Literal['mean', 'last'] = 'mean'
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, lengths: jax.Array | None = None) -> jax.Array:
    """Maps sequences [B, L, ...] to logits [B, C]; uint8 is scaled to [0, 1].

    Args:
      x: What follows the second axis is one position: of images [B, height, width, channels] a row.
      train: Whether dropout is on.
      lengths: Integers [B], at least 1: how many of the first positions are real; None is all.

    Raises:
      ValueError: For an unknown kind or pool, or a recurrence that cannot read from both ends.
    """
    if self.pool not in ('mean', 'last'):
      raise ValueError(f"pool must be 'mean' or 'last', got {self.pool!r}")
    B, L = x.shape[:2]
    x_BLD = dense(self.width, dtype=self.dtype, name='embed')(scaled(x).reshape(B, L, -1))
    layers = RecurrentLayers(
      self.kind, self.depth, self.width, self.bidirectional, self.dropout, self.dtype, name='layers'
    )
    y_BLD, _ = layers(x_BLD, train=train, lengths=lengths)
    lengths = jnp.full(B, L) if lengths is None else lengths
    if self.pool == 'mean':
      x_BD = jnp.where(real(L, lengths), y_BLD, 0).sum(axis=1) / lengths[:, None]
    else:
      x_BD = y_BLD[jnp.arange(B), lengths - 1]
      if self.bidirectional:  # The other direction ends at the first position.
        x_BD = jnp.concatenate([x_BD[:, : self.width], y_BLD[:, 0, self.width :]], axis=-1)
    x_BD = nn.Dropout(self.dropout, deterministic=not train)(x_BD.astype(self.dtype))
    return dense(self.classes, dtype=self.dtype, name='head')(x_BD)


class RecurrentLM(nn.Module):
  """A language model whose memory has one size, however long the text.

  Attributes:
    vocab: Tokens there are, V.
    depth: Layers.
    width: D.
    kind: Of the recurrence: 'lstm', 'gru', 'rglru' or 'mamba'.
    dropout: Share left out of embeddings and between layers.
    dtype: Of the computation.
  """

  vocab: int
  depth: int
  width: int
  kind: Kind = 'rglru'
  dropout: float = 0.0
  dtype: Any = jnp.float32

  def setup(self):
    """Makes the parts, which `features`, `head` and `advance` share."""
    self.embed = nn.Embed(self.vocab, self.width, dtype=self.dtype)
    self.layers = RecurrentLayers(
      self.kind, self.depth, self.width, dropout=self.dropout, dtype=self.dtype
    )
    self.in_dropout = nn.Dropout(self.dropout)
    zeros = nn.initializers.zeros
    self.out = dense(self.vocab, kernel_init=zeros, name='head', dtype=self.dtype)

  def features(
    self, tokens_BL: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, L] to what the output layer sees, [B, L, D].

    Args:
      tokens_BL: Integers in 0 ... V - 1.
      train: Whether dropout is on.
      segment_ids: Integers [B, L]: documents packed into one row, which must not see each other.
    """
    x_BLD = self.in_dropout(self.embed(tokens_BL), deterministic=not train)
    return self.layers(x_BLD, train=train, segment_ids=segment_ids)[0]

  def head(self, x_BLD: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps features to logits [B, L, V]."""
    del train
    return self.out(x_BLD)

  def __call__(
    self, tokens_BL: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, L] to logits [B, L, V]; position l predicts token l + 1."""
    return self.head(self.features(tokens_BL, train=train, segment_ids=segment_ids), train=train)

  def advance(
    self, tokens_BL: jax.Array, state: Any = None, *, lengths: jax.Array | None = None
  ) -> tuple[jax.Array, Any]:
    """Reads on: `logits, state = model.apply(variables, tokens, state, method='advance')`.

    Any cut of a text gives the logits of the whole, one token at a time included.

    Args:
      tokens_BL: Integers in 0 ... V - 1.
      state: As returned for the tokens before; None at the start of a text.
      lengths: Integers [B]: how many of the first positions are real; None is all.

    Returns:
      Logits [B, L, V], and the state after the last real token.
    """
    x_BLD, state = self.layers(self.embed(tokens_BL), train=False, lengths=lengths, state=state)
    return self.head(x_BLD), state
