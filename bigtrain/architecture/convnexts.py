"""ConvNeXt: a convolutional network with the proportions of a transformer.

Letters: B examples, H height, W width, D channels, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigtrain.architecture.convnets import Conv
from bigtrain.architecture.parts import gelu, scaled
from bigtrain.architecture.products import dense
from bigtrain.architecture.published import Family, Published, same, transposed, turned

# Published sizes (Liu et al. 2022, section 3): `ConvNeXt(1000, **CONVNEXTS['tiny'])`.
CONVNEXTS: dict[str, dict[str, Any]] = {
  'tiny': {'blocks': (3, 3, 9, 3), 'widths': (96, 192, 384, 768)},
  'small': {'blocks': (3, 3, 27, 3), 'widths': (96, 192, 384, 768)},
  'base': {'blocks': (3, 3, 27, 3), 'widths': (128, 256, 512, 1024)},
  'large': {'blocks': (3, 3, 27, 3), 'widths': (192, 384, 768, 1536)},
}
_INIT = nn.initializers.truncated_normal(0.02)
_EPSILON = 1e-6  # Of norms.


class ConvNeXt(nn.Module):
  """ConvNeXt (Liu et al. 2022).

  Attributes:
    classes: Outputs, C.
    blocks: Blocks of each stage; every stage but the first halves the image.
    widths: Channels of each stage.
    patch: Side of the squares that the first layer cuts the image into, pixels.
    size: Side of the depthwise kernels, odd.
    layer_scale: What each channel of a block is multiplied by at first (Touvron et al. 2021, CaiT);
      0 has no such gain.
    stochastic_depth: Probability of skipping the last block; falls linearly to 0 at the first
      (Huang et al. 2016).
    dropout: Share of the pooled features that training leaves out.
    out_epsilon: Of the last norm; that of the others is 1e-6.
    dtype: Of the computation.
  """

  classes: int
  blocks: Sequence[int] = (3, 3, 9, 3)
  widths: Sequence[int] = (96, 192, 384, 768)
  patch: int = 4
  size: int = 7
  layer_scale: float = 1e-6
  stochastic_depth: float = 0.0
  dropout: float = 0.0
  out_epsilon: float = _EPSILON
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps images [B, height, width, channels] to logits [B, C]; uint8 is scaled to [0, 1].

    Raises:
      ValueError: Where blocks and widths differ in length, or an image does not divide.
    """
    if len(self.blocks) != len(self.widths):
      raise ValueError(f'each stage has blocks and a width, got {self.blocks} and {self.widths}')
    x = scaled(image)
    total, number = sum(self.blocks), 0
    for stage, (count, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
      options = {'use_bias': True, 'kernel_init': _INIT, 'dtype': self.dtype}
      if stage:
        x = self._norm(f'stage_{stage}_norm')(x)
        x = Conv(width, 2, 2, name=f'stage_{stage}_halve', **options)(x)
      else:
        x = Conv(width, self.patch, self.patch, name='embed', **options)(x)
        x = self._norm('embed_norm')(x)
      for i in range(count):
        skip = self.stochastic_depth * number / max(1, total - 1)
        block = ConvNeXtBlock(
          self.size, self.layer_scale, skip, self.dtype, name=f'stage_{stage}_block_{i}'
        )
        x, number = block(x, train=train), number + 1
    x_BD = self._norm('out_norm', self.out_epsilon)(x.mean(axis=(1, 2)))
    x_BD = nn.Dropout(self.dropout, deterministic=not train)(x_BD)
    return dense(self.classes, kernel_init=_INIT, dtype=self.dtype, name='head')(x_BD)

  def _norm(self, name: str, epsilon: float = _EPSILON) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=epsilon, dtype=self.dtype, name=name)


class ConvNeXtBlock(nn.Module):
  """A depthwise convolution, a norm and two products, added to their input."""

  size: int
  layer_scale: float
  skip: float
  dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    width = x.shape[-1]
    y = DepthwiseConv(self.size, dtype=self.dtype, name='conv')(x)
    y = nn.LayerNorm(epsilon=_EPSILON, dtype=self.dtype, name='norm')(y)
    y = gelu(dense(4 * width, kernel_init=_INIT, dtype=self.dtype, name='up')(y))
    y = dense(width, kernel_init=_INIT, dtype=self.dtype, name='down')(y)
    if self.layer_scale:
      gain = self.param('gain', nn.initializers.constant(self.layer_scale), (width,))
      y = gain.astype(self.dtype) * y
    # A whole block of an example is left out at once.
    return x + nn.Dropout(self.skip, broadcast_dims=(1, 2, 3), deterministic=not train)(y)


class DepthwiseConv(nn.Module):
  """A convolution of each channel for itself, which keeps height and width, with bias.

  Attributes:
    size: Side of the kernel, odd.
    products: Whether to compute it as products of matrices, one for each row of the kernel, with
      the row written out as a matrix [W, W]; None does so on CPU. There and on images 14 pixels
      wide it takes a third of the time of XLA's own convolution, in which a loop of steps stalls
      besides.
    dtype: Of the computation.
  """

  size: int = 7
  products: bool | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x_BHWD: jax.Array) -> jax.Array:
    """Maps [B, H, W, D] to the same shape."""
    if self.size % 2 == 0:
      raise ValueError(f'the side of a kernel must be odd, got {self.size}')
    B, H, W, D = x_BHWD.shape
    kernel = self.param('kernel', _INIT, (self.size, self.size, 1, D)).astype(self.dtype)
    bias = self.param('bias', nn.initializers.zeros, (D,)).astype(self.dtype)
    x_BHWD = x_BHWD.astype(self.dtype)
    half = self.size // 2
    by_products = jax.default_backend() == 'cpu' if self.products is None else self.products
    if not by_products:
      return bias + jax.lax.conv_general_dilated(
        x_BHWD,
        kernel,
        (1, 1),
        ((half, half), (half, half)),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=D,
      )
    # What column v of the output takes from column w of the input: tap w - v + half.
    tap_WV = np.arange(W)[:, None] - np.arange(W) + half
    inside_WV = (tap_WV >= 0) & (tap_WV < self.size)
    rows_SDWV = kernel[:, tap_WV.clip(0, self.size - 1), 0].transpose(0, 3, 1, 2) * inside_WV
    x_DBHW = jnp.pad(x_BHWD.transpose(3, 0, 1, 2), ((0, 0), (0, 0), (half, half), (0, 0)))
    y_DPV = jnp.zeros((), self.dtype)
    for i, row_DWV in enumerate(rows_SDWV):
      y_DPV = y_DPV + x_DBHW[:, :, i : i + H].reshape(D, B * H, W) @ row_DWV
    return bias + y_DPV.reshape(D, B, H, W).transpose(1, 2, 3, 0)


_HWIO = (2, 3, 1, 0)  # Of a kernel that PyTorch keeps as [out, in, height, width].


def _from_config(config: Mapping[str, Any]) -> ConvNeXt:
  if (act := config.get('hidden_act', 'gelu')) != 'gelu':
    raise ValueError(f"hidden_act of a ConvNeXt must be 'gelu', got {act!r}")
  classes = len(config['id2label']) if 'id2label' in config else config.get('num_labels', 2)
  return ConvNeXt(
    classes,
    tuple(config['depths']),
    tuple(config['hidden_sizes']),
    config.get('patch_size', 4),
    layer_scale=config.get('layer_scale_init_value', 1e-6),
    stochastic_depth=config.get('drop_path_rate', 0.0),
    out_epsilon=config.get('layer_norm_eps', 1e-12),
  )


def _to_config(model: Any) -> dict[str, Any]:
  if not isinstance(model, ConvNeXt) or model.size != 7:
    raise ValueError('a published ConvNeXt has kernels of 7')
  return {
    'model_type': 'convnext',
    'architectures': ['ConvNextForImageClassification'],
    'patch_size': model.patch,
    'num_stages': len(model.blocks),
    'hidden_sizes': list(model.widths),
    'depths': list(model.blocks),
    'layer_norm_eps': model.out_epsilon,
    'layer_scale_init_value': model.layer_scale,
    'drop_path_rate': model.stochastic_depth,
    'id2label': {str(i): f'LABEL_{i}' for i in range(model.classes)},
  }


def _names(model: ConvNeXt) -> dict[str, Published]:
  names = {}

  def kernel(ours: str, theirs: str, change: Any) -> None:
    names[f'{ours}/kernel'] = change(f'{theirs}.weight')
    names[f'{ours}/bias'] = same(f'{theirs}.bias')

  def norm(ours: str, theirs: str) -> None:
    names[f'{ours}/scale'] = same(f'{theirs}.weight')
    names[f'{ours}/bias'] = same(f'{theirs}.bias')

  def convolution(name: str) -> Published:
    return turned(name, _HWIO)

  kernel('embed', 'convnext.embeddings.patch_embeddings', convolution)
  norm('embed_norm', 'convnext.embeddings.layernorm')
  norm('out_norm', 'convnext.layernorm')
  kernel('head', 'classifier', transposed)
  for stage, count in enumerate(model.blocks):
    above = f'convnext.encoder.stages.{stage}'
    if stage:
      norm(f'stage_{stage}_norm', f'{above}.downsampling_layer.0')
      kernel(f'stage_{stage}_halve', f'{above}.downsampling_layer.1', convolution)
    for i in range(count):
      ours, theirs = f'stage_{stage}_block_{i}', f'{above}.layers.{i}'
      kernel(f'{ours}/conv', f'{theirs}.dwconv', convolution)
      norm(f'{ours}/norm', f'{theirs}.layernorm')
      kernel(f'{ours}/up', f'{theirs}.pwconv1', transposed)
      kernel(f'{ours}/down', f'{theirs}.pwconv2', transposed)
      if model.layer_scale:
        names[f'{ours}/gain'] = same(f'{theirs}.layer_scale_parameter')
  return names


FAMILIES = {'convnext': Family(_from_config, _to_config, _names)}
