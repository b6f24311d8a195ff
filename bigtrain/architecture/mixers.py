"""MLP-Mixer.

Letters: B examples, L patches, D width, C classes.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.convnets import Conv
from bigtrain.architecture.parts import FeedForward, scaled
from bigtrain.architecture.products import dense


class Mixer(nn.Module):
  """MLP-Mixer (Tolstikhin et al. 2021): two-layer perceptrons over patches and over channels, in
  turn. Patches have fixed places, so that images must be of one size.

  Attributes:
    classes: Outputs, C.
    patch: Side of a patch, pixels.
    depth: Blocks.
    width: D.
    across: Hidden units of the perceptron over patches; None is half the width.
    hidden: Hidden units of the perceptron over channels; None is 4 D.
    dropout: Share of each layer's output that training leaves out.
    stochastic_depth: Probability of skipping a layer of the last block; falls linearly to 0 at the
      first (Huang et al. 2016).
    dtype: Of the computation.
  """

  classes: int
  patch: int
  depth: int = 8
  width: int = 512
  across: int | None = None
  hidden: int | None = None
  dropout: float = 0.0
  stochastic_depth: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps images [B, height, width, channels] to logits [B, C]; uint8 is scaled to [0, 1].

    Raises:
      ValueError: The image does not divide into patches.
    """
    embed = Conv(self.width, self.patch, self.patch, use_bias=True, dtype=self.dtype, name='embed')
    x_BHWD = embed(scaled(image))
    x_BLD = x_BHWD.reshape(x_BHWD.shape[0], -1, self.width)
    init = nn.initializers.xavier_uniform()
    for i in range(self.depth):
      skip = self.stochastic_depth * i / max(1, self.depth - 1)
      whole = nn.Dropout(skip, broadcast_dims=(1, 2), deterministic=not train)

      def mixed(x, hidden, name, block=i):
        options = {'use_bias': True, 'in_init': init, 'out_init': init, 'dtype': self.dtype}
        name = f'block_{block}_{name}'
        return FeedForward(hidden, 'gelu', self.dropout, name=name, **options)(x, train=train)

      y_BLD = nn.LayerNorm(dtype=self.dtype, name=f'block_{i}_across_norm')(x_BLD)
      across = self.across or self.width // 2
      x_BLD = x_BLD + whole(mixed(y_BLD.swapaxes(1, 2), across, 'across').swapaxes(1, 2))
      y_BLD = nn.LayerNorm(dtype=self.dtype, name=f'block_{i}_within_norm')(x_BLD)
      x_BLD = x_BLD + whole(mixed(y_BLD, self.hidden or 4 * self.width, 'within'))
    x_BD = nn.LayerNorm(dtype=self.dtype, name='out_norm')(x_BLD).mean(axis=1)
    zeros = nn.initializers.zeros
    return dense(self.classes, kernel_init=zeros, dtype=self.dtype, name='head')(x_BD)
