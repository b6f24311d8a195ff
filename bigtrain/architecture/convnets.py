"""Convolutional networks.

Letters: B examples, C classes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.parts import scaled
from bigtrain.architecture.products import dense, product


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
      x = Conv(width, dtype=self.dtype)(x)
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


class Conv(nn.Module):
  """A convolution, without bias unless asked for.

  Attributes:
    features: Channels that come out.
    size: Side of the kernel: odd, with size // 2 zeros around the image (as PyTorch pads, where
      XLA's 'SAME' of an even image pads less on one side), or equal to the stride, which cuts the
      image into squares.
    stride: Pixels from one output to the next.
    use_bias: Whether to add a bias.
    kernel_init: Initialiser of the kernel [size, size, channels, features].
    products: Whether to compute it as products of matrices, one for each row of the kernel; None
      does so on CPU. XLA's own convolutions there do not share a core's time among devices and
      stall in a loop of steps; with products a small residual network trains 1.3 times as fast on
      two cores.
    dtype: Of the computation.
  """

  features: int
  size: int = 3
  stride: int = 1
  use_bias: bool = False
  kernel_init: Any = nn.initializers.lecun_normal()
  products: bool | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x_BHWC: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H / stride, W / stride, features], both rounded up."""
    if self.size % 2 == 0 and self.size != self.stride:
      raise ValueError(
        f'the side of a kernel must be odd, got {self.size}, or equal its stride, got {self.stride}'
      )
    shape = (self.size, self.size, x_BHWC.shape[-1], self.features)
    kernel = self.param('kernel', self.kernel_init, shape).astype(self.dtype)
    y_BHWF = self._convolved(x_BHWC.astype(self.dtype), kernel)
    if self.use_bias:
      y_BHWF = y_BHWF + self.param('bias', nn.initializers.zeros, (self.features,)).astype(
        self.dtype
      )
    return y_BHWF

  def _convolved(self, x_BHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    B, height, width, C = x_BHWC.shape
    s = self.stride
    if self.size == s:
      if height % s or width % s:
        raise ValueError(
          f'an image cut into squares of {s} must divide by it: got {height}x{width}'
        )
      x_BHWN = x_BHWC.reshape(B, height // s, s, width // s, s, C).swapaxes(2, 3)
      x_BHWN = x_BHWN.reshape(B, height // s, width // s, s * s * C)
      return product(x_BHWN, kernel.reshape(-1, self.features))
    around = (self.size // 2, self.size // 2)
    by_products = jax.default_backend() == 'cpu' if self.products is None else self.products
    if not by_products:
      axes = ('NHWC', 'HWIO', 'NHWC')
      return jax.lax.conv_general_dilated(
        x_BHWC, kernel, (s, s), (around, around), dimension_numbers=axes
      )
    x_BHWC = jnp.pad(x_BHWC, ((0, 0), around, around, (0, 0)))
    height, width = -(-height // s), -(-width // s)
    # Each pixel beside its neighbours of the same row: [B, H + size - 1, W, size * C].
    side = [x_BHWC[:, :, i : i + s * width : s][:, :, :width] for i in range(self.size)]
    x_BHWN = jnp.concatenate(side, axis=-1)
    y_BHWF = jnp.zeros((), self.dtype)
    for i, row in enumerate(kernel.reshape(self.size, -1, self.features)):
      # In two axes: XLA copies a product's inputs of four.
      x_PN = x_BHWN[:, i : i + s * height : s][:, :height].reshape(B * height * width, -1)
      y_BHWF = y_BHWF + product(x_PN, row).reshape(B, height, width, self.features)
    return y_BHWF


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


def overlapping_maxima(x: jax.Array) -> jax.Array:
  """Max-pools 3x3 pixels at every second one, with one pixel around the image that never wins.

  By slices, as `maxima`. Where maxima are equal they share the gradient.
  """
  for axis in (1, 2):
    size = -(-x.shape[axis] // 2)
    pad = [(0, 0)] * x.ndim
    pad[axis] = (1, 1)
    wide = jnp.pad(x, pad, constant_values=-jnp.inf)
    parts = [
      jax.lax.slice_in_dim(wide, i, min(i + 2 * size, wide.shape[axis]), 2, axis) for i in range(3)
    ]
    x = functools.reduce(jnp.maximum, [jax.lax.slice_in_dim(p, 0, size, 1, axis) for p in parts])
  return x
