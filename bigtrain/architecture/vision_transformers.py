"""Vision transformers: pictures, spectrograms and videos, cut into patches.

Letters: B examples, L patches (and tokens beside them), D width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture import tubelets
from bigtrain.architecture.cross_attentions import AttentionPool
from bigtrain.architecture.encoder_blocks import EncoderBlock
from bigtrain.architecture.parts import scaled
from bigtrain.architecture.products import dense


class ViT(nn.Module):
  """A vision transformer (Dosovitskiy et al. 2021).

  The defaults have no bias in queries, keys and values and start with even probabilities. The
  original is `pool='cls', attention_bias=True`; with `epsilon=1e-12` it is Hugging Face's.

  Attributes:
    classes: Outputs; None gives the pooled features [B, D] instead.
    patch: Side of a patch, pixels; or a side for each axis, such as (16, 8) for a spectrogram [B,
      time, frequency, 1], and (2, 16, 16) for a video (ViViT's joint attention in space and time,
      Arnab et al. 2021, model 1).
    overlap: Whether each patch sees half of its side more all around, which spares a model of few
      images from learning what lies across a seam (Wang et al. 2022, PVT v2, section 3.2).
    depth: Blocks.
    width: D.
    heads: Attention heads.
    hidden: Width inside the feed-forward layers; None is 4 D.
    pool: 'mean' over patches, 'cls', a token of its own, 'map', attention by a learned query (Zhai
      et al. 2022), or 'none', which gives all patches: [B, L, C] or [B, L, D].
    position: 'learned', 'sinusoidal' along each axis, or 'none'.
    registers: Tokens beside the patches for attention to write on; no output is made of them
      (Darcet et al. 2024).
    in_norm: Whether a norm comes before the first block too, as in CLIP.
    embed_bias: Whether the product over a patch has a bias.
    feed: As in `FeedForward`.
    attention_bias: Whether queries, keys, values and the output of attention have biases.
    epsilon: Of the norms.
    dropout: Share left out of embeddings and of each layer's output in training.
    attention_dropout: Share of attention weights left out in training.
    stochastic_depth: Probability of skipping a layer of the last block; falls linearly to 0 at the
      first.
    shape: Of an image, (axes..., channels), to be checked; needed for Hugging Face's files.
    dtype: Of the computation.
  """

  classes: int | None
  patch: int | Sequence[int]
  depth: int = 4
  width: int = 64
  heads: int = 4
  hidden: int | None = None
  pool: str = 'mean'
  position: str = 'learned'
  registers: int = 0
  overlap: bool = False
  in_norm: bool = False
  embed_bias: bool = True
  feed: str = 'gelu'
  attention_bias: bool = False
  epsilon: float = 1e-6
  dropout: float = 0.0
  attention_dropout: float = 0.0
  stochastic_depth: float = 0.0
  shape: Sequence[int] | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps images [B, axes..., channels] to logits [B, C]; uint8 is scaled to [0, 1].

    Raises:
      ValueError: A knob has no such choice, or the image does not divide by the patch.
    """
    if self.pool not in ('mean', 'cls', 'map', 'none'):
      raise ValueError(f"pool must be 'mean', 'cls', 'map' or 'none', got {self.pool!r}")
    if self.shape is not None and image.shape[1:] != tuple(self.shape):
      raise ValueError(f'images must have shape {tuple(self.shape)}, got {image.shape[1:]}')
    image = scaled(image)
    cut = tubelets.surroundings if self.overlap else tubelets.patches
    embed = dense(self.width, use_bias=self.embed_bias, dtype=self.dtype, name='embed')
    x_BLD = embed(cut(image, self.patch))
    sides = tubelets.sides(self.patch, image.shape)
    counts = [axis // side for axis, side in zip(image.shape[1:-1], sides, strict=True)]
    x_BLD = self._placed(x_BLD, counts)
    if self.registers:
      x_BLD = self._beside('registers', nn.initializers.normal(0.02), self.registers, x_BLD)
    if self.in_norm:
      x_BLD = nn.LayerNorm(self.epsilon, dtype=self.dtype, name='in_norm')(x_BLD)
    x_BLD = nn.Dropout(self.dropout, deterministic=not train)(x_BLD)
    for i in range(self.depth):
      block = EncoderBlock(
        self.heads,
        hidden=self.hidden,
        feed=self.feed,
        attention_bias=self.attention_bias,
        epsilon=self.epsilon,
        dropout=self.dropout,
        attention_dropout=self.attention_dropout,
        skip=self.stochastic_depth * i / max(1, self.depth - 1),
        dtype=self.dtype,
        name=f'block_{i}',
      )
      x_BLD = block(x_BLD, train=train)
    x_BLD = nn.LayerNorm(self.epsilon, dtype=self.dtype, name='out_norm')(x_BLD)
    y = self._pooled(x_BLD[:, self.registers :])
    if self.classes is None:
      return y
    head = dense(self.classes, kernel_init=nn.initializers.zeros, dtype=self.dtype, name='head')
    return head(y)

  def _placed(self, x_BLD: jax.Array, counts: list[int]) -> jax.Array:
    """Puts the token of its own before the patches, and adds where each is."""
    if self.pool == 'cls':
      x_BLD = self._beside('cls_embed', nn.initializers.zeros, 1, x_BLD)
    if self.position == 'learned':
      init = nn.initializers.normal(self.width**-0.5)
      return x_BLD + self.param('position_embed', init, x_BLD.shape[1:]).astype(x_BLD.dtype)
    if self.position == 'sinusoidal':
      places = jnp.asarray(tubelets.grid_positions(counts, self.width), x_BLD.dtype)
      return x_BLD + jnp.pad(places, ((x_BLD.shape[1] - len(places), 0), (0, 0)))
    if self.position != 'none':
      raise ValueError(f"position must be 'learned', 'sinusoidal' or 'none', got {self.position!r}")
    return x_BLD

  def _beside(self, name: str, init: Any, count: int, x_BLD: jax.Array) -> jax.Array:
    """Puts learned tokens before the sequence, the same for every example."""
    tokens = self.param(name, init, (1, count, self.width))
    tokens = jnp.broadcast_to(tokens, (len(x_BLD), count, self.width)).astype(x_BLD.dtype)
    return jnp.concatenate([tokens, x_BLD], axis=1)

  def _pooled(self, x_BLD: jax.Array) -> jax.Array:
    if self.pool == 'map':
      kinds = {'epsilon': self.epsilon, 'feed': self.feed, 'dtype': self.dtype}
      return AttentionPool(self.heads, self.hidden, **kinds, name='pool')(x_BLD)
    if self.pool == 'cls':
      return x_BLD[:, 0]
    return x_BLD.mean(axis=1) if self.pool == 'mean' else x_BLD
