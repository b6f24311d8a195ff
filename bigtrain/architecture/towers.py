"""Two towers: images and texts in one space, where those that belong together lie close.

Letters: B examples, E width of the common space.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.products import dense


class Embeddings(NamedTuple):
  """What two towers say of a batch; logit (i, j) is `scale * image[i] @ text[j] + bias`.

  Attributes:
    image: float32 [B, E], of length 1.
    text: float32 [B, E], of length 1.
    scale: The inverse temperature, above 0.
    bias: Added to logits; None where none is learned.
  """

  image: jax.Array
  text: jax.Array
  scale: jax.Array
  bias: jax.Array | None


class TwoTowers(nn.Module):
  """A model of images and one of texts, each projected into one space of directions.

  Defaults are of Zhai et al. 2023 (SigLIP), for pairs judged one by one. CLIP (Radford et al. 2021)
  has `scale=1 / 0.07, bias=None`, for one of many.

  Attributes:
    image: Maps images to features [B, D], such as a `ViT` with `classes=None`.
    text: Maps tokens [B, L] to features [B, D'], such as an `Encoder` that pools.
    width: E.
    project_image: Whether image features pass a matrix; otherwise they have the width E.
    text_bias: Whether the matrix of text features has a bias.
    scale: The inverse temperature at first; it is learned as its logarithm, and no more than 100.
    bias: Of the logits at first; None learns none.
    dtype: Of the projections' computation.
  """

  image: nn.Module
  text: nn.Module
  width: int
  project_image: bool = True
  text_bias: bool = False
  scale: float = 10.0
  bias: float | None = -10.0
  dtype: Any = jnp.float32

  def setup(self):
    """Makes the projections, the scale and the bias."""
    if self.scale <= 0:
      raise ValueError(f'scale is an inverse temperature, above 0, got {self.scale}')
    if self.project_image:
      self.image_out = dense(self.width, use_bias=False, dtype=self.dtype)
    self.text_out = dense(self.width, use_bias=self.text_bias, dtype=self.dtype)
    first = nn.initializers.constant
    self.log_scale = self.param('log_scale', first(math.log(self.scale)), ())
    self.offset = None if self.bias is None else self.param('bias', first(self.bias), ())

  def embed_image(self, image: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps images to directions, float32 [B, E]."""
    features_BD = self.image(image, train=train)
    if self.project_image:
      return _direction(self.image_out(features_BD))
    if features_BD.shape[-1] != self.width:
      raise ValueError(
        f'without project_image the image tower must be {self.width} wide, as the common space is, '
        f'got {features_BD.shape[-1]}'
      )
    return _direction(features_BD)

  def embed_text(self, tokens: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps tokens [B, L] to directions, float32 [B, E]."""
    return _direction(self.text_out(self.text(tokens, train=train)))

  def __call__(self, image: jax.Array, tokens: jax.Array, *, train: bool) -> Embeddings:
    """Maps a batch of images and one of tokens to both embeddings, the scale and the bias.

    A contrastive objective compares each image with each text of the whole batch, whichever devices
    hold them: under `jax.jit` the products gather what they need.
    """
    return Embeddings(
      self.embed_image(image, train=train),
      self.embed_text(tokens, train=train),
      jnp.exp(jnp.minimum(self.log_scale, math.log(100))),
      self.offset,
    )


def _direction(x: jax.Array) -> jax.Array:
  """Brings vectors to length 1; one of zeros stays, with a finite gradient."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-12))
