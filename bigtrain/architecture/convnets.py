"""Convolutional networks.

Letters: B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.parts import dense, scaled


class Convnet(nn.Module):
  """A small residual network (He et al. 2016) for small images.

  A stage for each width: the image is halved, then come a convolution and `blocks` residual blocks.
  Halved before the convolution, so that no convolution sees the full image: on a CPU the step takes
  less than half as long as with max-pooling after it. The first stage can spare a tiny image that.

  Attributes:
    classes: Outputs.
    widths: Channels of each stage.
    blocks: Residual blocks a stage, of two 3x3 convolutions each.
    halve_first: Whether the first stage halves the image too.
    dropout: Share of the pooled features that training leaves out.
    dtype: Of the computation.
  """

  classes: int
  widths: Sequence[int] = (32, 64, 128)
  blocks: int = 1
  halve_first: bool = True
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps images [B, height, width, channels] to logits [B, C]; uint8 is scaled to [0, 1]."""

    def convolve(x, width):
      x = nn.Conv(width, (3, 3), use_bias=False, dtype=self.dtype)(x)
      return nn.relu(nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype)(x))

    x = scaled(image)
    for stage, width in enumerate(self.widths):
      if stage:
        x = maxima(x)
      elif self.halve_first:
        # Blocks of 2x2 pixels become channels, for nothing is worth forgetting yet.
        x = jnp.concatenate(quarters(x, 0), axis=-1)
      x = convolve(x, width)
      for _ in range(self.blocks):
        x = x + convolve(convolve(x, width), width)
    x_BD = nn.Dropout(self.dropout, deterministic=not train)(x.mean(axis=(1, 2)))
    return dense(self.classes, dtype=self.dtype, name='head')(x_BD)


def quarters(x: jax.Array, fill: float) -> list[jax.Array]:
  """Takes every second pixel, from each of the four places to start; odd sides are filled up."""
  x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), constant_values=fill)
  return [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def maxima(x: jax.Array) -> jax.Array:
  """Max-pools 2x2 pixels; an odd side counts as one longer.

  The gradient of `nn.max_pool` is a select-and-scatter, which XLA's CPU backend takes 30 times as
  long for.
  """
  a, b, c, d = quarters(x, -jnp.inf)
  return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
