"""Vision transformers.

Letters: B examples, L patches, D width, C classes.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.parts import FeedForward, SelfAttention, dense, scaled
from bigtrain.architecture.spreading import spread


class EncoderBlock(nn.Module):
  """Attention and a feed-forward layer; training skips each with probability `skip`."""

  heads: int
  dropout: float = 0.0
  skip: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x_BLD: jax.Array, *, train: bool) -> jax.Array:
    # A whole layer of an example is left out at once: stochastic depth (Huang et al. 2016).
    skip = nn.Dropout(self.skip, broadcast_dims=(1, 2), deterministic=not train)
    init = {'init': nn.initializers.xavier_uniform(), 'dtype': self.dtype}
    layer = SelfAttention(self.heads, dropout=self.dropout, **init, name='attention')
    y_BLD = layer(nn.LayerNorm(dtype=self.dtype)(x_BLD), train=train)
    x_BLD = x_BLD + skip(y_BLD)
    width = x_BLD.shape[-1]
    layer = FeedForward(4 * width, 'gelu', self.dropout, use_bias=True, **init, name='feed')
    return spread(x_BLD + skip(layer(nn.LayerNorm(dtype=self.dtype)(x_BLD), train=train)))


class ViT(nn.Module):
  """A vision transformer (Dosovitskiy et al. 2021).

  Attributes:
    classes: Outputs.
    patch: Side of a patch, pixels.
    overlap: Whether each patch sees half of its side more all around, which spares a model of few
      images from learning what lies across a seam (Wang et al. 2022, PVT v2, section 3.2).
    depth: Blocks.
    width: D.
    heads: Attention heads.
    pool: 'mean' over patches, or 'cls', a token of its own.
    dropout: Share left out of embeddings and of each layer's output in training.
    stochastic_depth: Probability of skipping a layer of the last block; falls linearly to 0 at the
      first.
    dtype: Of the computation.
  """

  classes: int
  patch: int
  depth: int = 4
  width: int = 64
  heads: int = 4
  pool: str = 'mean'
  overlap: bool = False
  dropout: float = 0.0
  stochastic_depth: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps images [B, height, width, channels] to logits [B, C]; uint8 is scaled to [0, 1]."""
    image = scaled(image)
    B, height, width, _ = image.shape
    p = self.patch
    if height % p or width % p:
      raise ValueError(f'the image must divide by patches of {p} pixels, got {(height, width)}')
    # Pixels of a patch as features: a strided convolution, as one product.
    x_BLD = patches(image, p)
    if self.overlap:
      if p % 2:
        raise ValueError(f'patches that overlap must have an even side, got {p}')
      # What is around a patch: four patches of the image moved by half a patch each way.
      h = p // 2
      wide = jnp.pad(image, ((0, 0), (h, h), (h, h), (0, 0)))
      corners = [wide[:, i : i + height, j : j + width] for i in (0, p) for j in (0, p)]
      x_BLD = jnp.concatenate([patches(corner, p) for corner in corners], axis=-1)
    x_BLD = dense(self.width, dtype=self.dtype, name='embed')(x_BLD)
    if self.pool == 'cls':
      token = self.param('cls_embed', nn.initializers.zeros, (1, 1, self.width))
      token = jnp.broadcast_to(token, (B, 1, self.width)).astype(x_BLD.dtype)
      x_BLD = jnp.concatenate([token, x_BLD], axis=1)
    elif self.pool != 'mean':
      raise ValueError(f"pool must be 'mean' or 'cls', got {self.pool!r}")
    positions = nn.initializers.normal(self.width**-0.5)
    x_BLD = x_BLD + self.param('position_embed', positions, x_BLD.shape[1:]).astype(x_BLD.dtype)
    x_BLD = nn.Dropout(self.dropout, deterministic=not train)(x_BLD)
    for i in range(self.depth):
      skip = self.stochastic_depth * i / max(1, self.depth - 1)
      block = EncoderBlock(self.heads, self.dropout, skip, self.dtype, name=f'block_{i}')
      x_BLD = block(x_BLD, train=train)
    x_BLD = nn.LayerNorm(dtype=self.dtype, name='out_norm')(x_BLD)
    x_BD = x_BLD[:, 0] if self.pool == 'cls' else x_BLD.mean(axis=1)
    head = dense(self.classes, kernel_init=nn.initializers.zeros, dtype=self.dtype, name='head')
    return head(x_BD)


def patches(image: jax.Array, side: int) -> jax.Array:
  """Cuts images [B, height, width, channels] into patches, [B, L, side * side * channels]."""
  B, height, width, channels = image.shape
  x = image.reshape(B, height // side, side, width // side, side, channels).swapaxes(2, 3)
  return x.reshape(B, height * width // side**2, side * side * channels)
