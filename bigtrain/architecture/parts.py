"""Parts that the families share.

Letters: B examples, L positions, D width, F hidden width, C classes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.products import dense
from bigtrain.architecture.self_attention import Slots

_GPT_STDDEV = 0.02  # Radford et al. 2019 (GPT-2).


def gelu(x: jax.Array) -> jax.Array:
  """The exact Gaussian error linear unit, x Phi(x) (Hendrycks and Gimpel 2016).

  `jax.nn.gelu(approximate=False)` computes the same through erfc, which XLA's CPU backend runs on
  one thread: a transformer's step takes 1.3x as long.
  """
  return 0.5 * x * (1 + jax.lax.erf(x * jnp.asarray(math.sqrt(0.5), x.dtype)))


def shift(x_BLD: jax.Array, by: int) -> jax.Array:
  """Moves a sequence to later positions; zeros come in at the start."""
  return jnp.pad(x_BLD, ((0, 0), (by, 0), (0, 0)))[:, : x_BLD.shape[1]]


class CausalConv(nn.Module):
  """x plus a depthwise convolution over this and the previous positions; zero at first.

  Lets a layer look at its neighbours without spending attention on them (Allen-Zhu 2025, Canon
  layers), for `width` numbers a channel.
  """

  width: int

  @nn.compact
  def __call__(
    self,
    x_BLD: jax.Array,
    segment_ids: jax.Array | None = None,
    slots: Slots | None = None,
  ) -> jax.Array:
    """Maps [B, L, D] to the same; a position sees its own segment only, where [B, L] are given.

    With `slots` it goes on from the inputs kept in the collection 'cache' ('recent'), and takes
    positions below 0, which are padding in front, for nothing.
    """
    B, L, D = x_BLD.shape
    taps = self.param('taps', nn.initializers.zeros, (self.width, D))
    taps = taps.astype(x_BLD.dtype)
    if slots is not None:
      x_BLD = jnp.where(slots.positions[0][..., None] >= 0, x_BLD, 0)
      recent = self.variable('cache', 'recent', jnp.zeros, (B, self.width - 1, D), x_BLD.dtype)
      x_BLD = jnp.concatenate([recent.value, x_BLD], axis=1)
      recent.value = x_BLD[:, L:]
    y_BLD = x_BLD
    for i in range(self.width):
      earlier_BLD = shift(x_BLD, i)
      if segment_ids is not None:
        same_BL = segment_ids == jnp.pad(segment_ids, ((0, 0), (i, 0)))[:, : x_BLD.shape[1]]
        earlier_BLD = jnp.where(same_BL[..., None], earlier_BLD, 0)
      y_BLD = y_BLD + taps[i] * earlier_BLD
    return y_BLD[:, -L:]


ACTIVATIONS = {
  'gelu': gelu,
  'gelu_sigmoid': lambda x: x * nn.sigmoid(1.702 * x),  # Hendrycks and Gimpel 2016; CLIP.
  'gelu_tanh': functools.partial(jax.nn.gelu, approximate=True),
  'relu': nn.relu,
  'relu2': lambda x: jnp.square(nn.relu(x)),  # So et al. 2021.
  'silu': nn.silu,
}
# One product goes through the nonlinearity and multiplies another (Shazeer 2020).
GATES = {'geglu': gelu, 'geglu_tanh': ACTIVATIONS['gelu_tanh'], 'reglu': nn.relu, 'swiglu': nn.silu}


class FeedForward(nn.Module):
  """Two products with a nonlinearity between, one of ACTIVATIONS; three with one of GATES."""

  hidden: int
  kind: str = 'gelu'
  dropout: float = 0.0
  use_bias: bool = False
  in_init: Any = nn.initializers.normal(_GPT_STDDEV)
  out_init: Any = nn.initializers.normal(_GPT_STDDEV)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x_BLD: jax.Array, *, train: bool) -> jax.Array:
    def layer(features: int, init: Any, name: str) -> nn.Dense:
      options = {'use_bias': self.use_bias, 'dtype': self.dtype}
      return dense(features, kernel_init=init, name=name, **options)

    y_BLF = layer(self.hidden, self.in_init, 'up')(x_BLD)
    if self.kind in ACTIVATIONS:
      y_BLF = ACTIVATIONS[self.kind](y_BLF)
    elif self.kind in GATES:
      y_BLF = y_BLF * GATES[self.kind](layer(self.hidden, self.in_init, 'gate')(x_BLD))
    else:
      raise ValueError(
        f'the nonlinearity must be one of {", ".join(map(repr, (*ACTIVATIONS, *GATES)))}, '
        f'got {self.kind!r}'
      )
    y_BLD = layer(x_BLD.shape[-1], self.out_init, 'down')(y_BLF)
    return nn.Dropout(self.dropout, deterministic=not train)(y_BLD)


def scaled(x: jax.Array) -> jax.Array:
  """Images as the models take them: uint8 becomes float32 in [0, 1], floats stay."""
  return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


class MLP(nn.Module):
  """Dense layers with ReLU and dropout between; inputs of any shape are flattened.

  Attributes:
    widths: Of the hidden layers.
    classes: Outputs.
    dropout: Share of hidden units that training leaves out.
    dtype: Of the computation.
  """

  widths: Sequence[int]
  classes: int
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Maps [B, ...] to logits [B, C]."""
    x_BD = scaled(x).reshape(x.shape[0], -1)
    for width in self.widths:
      x_BD = nn.relu(dense(width, kernel_init=nn.initializers.he_normal(), dtype=self.dtype)(x_BD))
      x_BD = nn.Dropout(self.dropout, deterministic=not train)(x_BD)
    return dense(self.classes, dtype=self.dtype, name='head')(x_BD)


class Mirrored(nn.Module):
  """A model of images, whose evaluation averages its outputs for an image and the mirror image.

  Evaluation takes twice as long; training is the model's own. For images that mean the same both
  ways (Krizhevsky et al. 2012, section 4.1).

  Attributes:
    model: Maps images [B, height, width, channels] to outputs [B, ...].
  """

  model: nn.Module

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    """Maps what the model maps."""
    if train:
      return self.model(image, train=True)
    return (self.model(image, train=False) + self.model(image[:, :, ::-1], train=False)) / 2
