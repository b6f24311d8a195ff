"""Residual networks: ResNet of version 1.5.

Letters: B examples, H height, W width, D channels, C classes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.convnets import Conv, overlapping_maxima
from bigtrain.architecture.parts import dense, scaled

# Published sizes by their number of layers (He et al. 2016, table 1): `ResNet(10, **RESNETS[50])`.
RESNETS: dict[int, dict[str, Any]] = {
  18: {'blocks': (2, 2, 2, 2), 'bottleneck': False},
  34: {'blocks': (3, 4, 6, 3), 'bottleneck': False},
  50: {'blocks': (3, 4, 6, 3)},
  101: {'blocks': (3, 4, 23, 3)},
}


class ResNet(nn.Module):
  """ResNet (He et al. 2016) in version 1.5: a bottleneck halves the image in its 3x3 convolution,
  not in the 1x1 before it.

  The last normalisation of each block starts at gain 0, so that a block starts as the identity
  (Goyal et al. 2017, section 5.1). Running statistics are in the collection 'batch_stats'.

  Attributes:
    classes: Outputs, C.
    blocks: Blocks of each stage; every stage but the first halves the image.
    bottleneck: Whether a block is 1x1, 3x3, 1x1 with 4 times the width outside; else 3x3, 3x3.
    width: Of the first stage inside a block; doubles from stage to stage.
    norm: 'batch' (Ioffe and Szegedy 2015), or 'group' (Wu and He 2018), which no batch and no
      device changes.
    groups: Of 'group'.
    small: Whether images are small (up to some 64 pixels): the first layer is then a 3x3
      convolution, in place of 7x7 at every second pixel and pooling.
    dropout: Share of the pooled features that training leaves out.
    dtype: Of the computation.
  """

  classes: int
  blocks: Sequence[int] = (3, 4, 6, 3)
  bottleneck: bool = True
  width: int = 64
  norm: Literal['batch', 'group'] = 'batch'
  groups: int = 32
  small: bool = False
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps images [B, height, width, channels] to logits [B, C]; uint8 is scaled to [0, 1].

    Raises:
      ValueError: For an unknown norm, or where channels do not divide into the groups.
    """
    x = scaled(image)
    norm = normalizer(self.norm, self.groups, train, self.dtype)
    size, stride = (3, 1) if self.small else (7, 2)
    x = Conv(self.width, size, stride, kernel_init=_INIT, dtype=self.dtype, name='stem')(x)
    x = nn.relu(norm(name='stem_norm')(x))
    if not self.small:
      x = overlapping_maxima(x)
    for stage, count in enumerate(self.blocks):
      for i in range(count):
        x = ResNetBlock(
          self.width * 2**stage,
          stride=2 if stage and not i else 1,
          bottleneck=self.bottleneck,
          norm=self.norm,
          groups=self.groups,
          dtype=self.dtype,
          name=f'stage_{stage}_block_{i}',
        )(x, train=train)
    x_BD = x.mean(axis=(1, 2))
    x_BD = nn.Dropout(self.dropout, deterministic=not train)(x_BD)
    return dense(self.classes, dtype=self.dtype, name='head')(x_BD)


class ResNetBlock(nn.Module):
  """Convolutions, added to their input; a 1x1 convolution fits the input where shapes differ."""

  width: int
  stride: int
  bottleneck: bool
  norm: str
  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    norm = normalizer(self.norm, self.groups, train, self.dtype)
    conv = functools.partial(Conv, kernel_init=_INIT, dtype=self.dtype)
    if self.bottleneck:
      layers = [(self.width, 1, 1), (self.width, 3, self.stride), (4 * self.width, 1, 1)]
    else:
      layers = [(self.width, 3, self.stride), (self.width, 3, 1)]
    y = x
    for i, (features, size, stride) in enumerate(layers):
      last = i == len(layers) - 1
      gain = nn.initializers.zeros if last else nn.initializers.ones
      y = conv(features, size, stride, name=f'conv_{i}')(y)
      y = norm(scale_init=gain, name=f'norm_{i}')(y)
      y = y if last else nn.relu(y)
    if x.shape[-1] != y.shape[-1] or self.stride > 1:
      x = x[:, :: self.stride, :: self.stride]
      x = norm(name='shortcut_norm')(conv(y.shape[-1], 1, name='shortcut')(x))
    return nn.relu(x + y)


_INIT = nn.initializers.variance_scaling(2.0, 'fan_out', 'truncated_normal')  # He et al. 2015.


def normalizer(norm: str, groups: int, train: bool, dtype: Any) -> Any:
  """Returns the module class of a norm of images, its options bound.

  Raises:
    ValueError: For an unknown norm.
  """
  if norm == 'batch':
    return functools.partial(nn.BatchNorm, not train, momentum=0.9, dtype=dtype)
  if norm == 'group':
    return functools.partial(nn.GroupNorm, groups, dtype=dtype)
  raise ValueError(f"norm must be 'batch' or 'group', got {norm!r}")
