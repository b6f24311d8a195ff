"""Convolutional networks.

Letters: B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.parts import scaled


class Convnet(nn.Module):
  """A small residual network (He et al. 2016) for small images.

  A stage for each width: a convolution, max-pooling that halves the image right after it (the
  cheapest place on a CPU), and `blocks` residual blocks.

  Attributes:
    classes: Outputs.
    widths: Channels of each stage.
    blocks: Residual blocks a stage, of two 3x3 convolutions each.
    dropout: Share of the pooled features that training leaves out.
    dtype: Of the computation.
  """

  classes: int
  widths: Sequence[int] = (32, 64, 128)
  blocks: int = 1
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps images [B, height, width, channels] to logits [B, C]; uint8 is scaled to [0, 1]."""

    def convolve(x, width):
      x = nn.Conv(width, (3, 3), use_bias=False, dtype=self.dtype)(x)
      return nn.relu(nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype)(x))

    x = scaled(image)
    for width in self.widths:
      x = convolve(x, width)
      x = nn.max_pool(x, (2, 2), strides=(2, 2), padding='SAME')
      for _ in range(self.blocks):
        x = x + convolve(convolve(x, width), width)
    x_BD = nn.Dropout(self.dropout, deterministic=not train)(x.mean(axis=(1, 2)))
    return nn.Dense(self.classes, dtype=self.dtype, name='head')(x_BD)
