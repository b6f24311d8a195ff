"""Residual networks: ResNet of version 1.5.

Letters: B examples, H height, W width, D channels, C classes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.convnets import Conv, overlapping_maxima
from bigtrain.architecture.parts import scaled
from bigtrain.architecture.products import dense
from bigtrain.architecture.published import Family, Published, same, transposed, turned

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


_HWIO = (2, 3, 1, 0)  # Of a kernel that PyTorch keeps as [out, in, height, width].


def _from_config(config: Mapping[str, Any]) -> ResNet:
  sizes, kind = list(config['hidden_sizes']), config.get('layer_type', 'bottleneck')
  width = sizes[0] // 4 if kind == 'bottleneck' else sizes[0]
  asked = {
    'embedding_size': (config.get('embedding_size', 64), width),
    'hidden_sizes': (sizes, [sizes[0] * 2**i for i in range(len(sizes))]),
    'hidden_act': (config.get('hidden_act', 'relu'), 'relu'),
    'downsample_in_first_stage': (config.get('downsample_in_first_stage', False), False),
    'downsample_in_bottleneck': (config.get('downsample_in_bottleneck', False), False),
  }
  for key, (got, can) in asked.items():
    if got != can:
      raise ValueError(f'{key} of a ResNet must be {can!r}, got {got!r}')
  classes = len(config['id2label']) if 'id2label' in config else config.get('num_labels', 2)
  return ResNet(classes, tuple(config['depths']), kind == 'bottleneck', width)


def _to_config(model: Any) -> dict[str, Any]:
  if not isinstance(model, ResNet) or model.norm != 'batch' or model.small:
    raise ValueError('a published ResNet has batch norms and the stem of large images')
  outside = model.width * (4 if model.bottleneck else 1)
  return {
    'model_type': 'resnet',
    'architectures': ['ResNetForImageClassification'],
    'embedding_size': model.width,
    'hidden_sizes': [outside * 2**i for i in range(len(model.blocks))],
    'depths': list(model.blocks),
    'layer_type': 'bottleneck' if model.bottleneck else 'basic',
    'id2label': {str(i): f'LABEL_{i}' for i in range(model.classes)},
  }


def _names(model: ResNet) -> dict[str, Published]:
  names = {
    'head/kernel': transposed('classifier.1.weight'),
    'head/bias': same('classifier.1.bias'),
  }

  def layer(conv: str, norm: str, theirs: str) -> None:
    names[f'{conv}/kernel'] = turned(f'{theirs}.convolution.weight', _HWIO)
    names[f'{norm}/scale'] = same(f'{theirs}.normalization.weight')
    names[f'{norm}/bias'] = same(f'{theirs}.normalization.bias')
    for ours, their in (('mean', 'running_mean'), ('var', 'running_var')):
      names[f'batch_stats/{norm}/{ours}'] = same(f'{theirs}.normalization.{their}')

  layer('stem', 'stem_norm', 'resnet.embedder.embedder')
  for stage, count in enumerate(model.blocks):
    for i in range(count):
      ours = f'stage_{stage}_block_{i}'
      theirs = f'resnet.encoder.stages.{stage}.layers.{i}'
      if not i and (stage or model.bottleneck):
        layer(f'{ours}/shortcut', f'{ours}/shortcut_norm', f'{theirs}.shortcut')
      for j in range(3 if model.bottleneck else 2):
        layer(f'{ours}/conv_{j}', f'{ours}/norm_{j}', f'{theirs}.layer.{j}')
  return names


FAMILIES = {
  'resnet': Family(_from_config, _to_config, _names, ignored=(r'.*\.num_batches_tracked',))
}
