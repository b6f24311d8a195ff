"""Parts that the families share.

Letters: B examples, L positions that ask, M positions that answer, D width, F hidden width, H
heads, K width of a head, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

_GPT_STDDEV = 0.02  # Radford et al. 2019 (GPT-2).


def gelu(x: jax.Array) -> jax.Array:
  """The exact Gaussian error linear unit, x Phi(x) (Hendrycks and Gimpel 2016).

  `jax.nn.gelu(approximate=False)` computes the same through erfc, which XLA's CPU backend runs on
  one thread: a transformer's step takes 1.3x as long.
  """
  return 0.5 * x * (1 + jax.lax.erf(x * jnp.asarray(math.sqrt(0.5), x.dtype)))


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Multiplies [..., D] by a kernel [D, F].

  JAX derives the gradient of `x @ kernel` as [F, D] and turns it. Where it is added up over devices
  before that, XLA cannot fold the turn into the product: on two virtual CPU devices a small
  transformer's step took 8 % longer. Here it is computed as it lies. (No forward-mode derivative.)
  """
  return x @ kernel


def _product_backward(residuals: tuple[jax.Array, jax.Array], y: jax.Array) -> tuple:
  x, kernel = residuals
  lead = tuple(range(x.ndim - 1))
  return y @ kernel.T, jax.lax.dot_general(x, y, ((lead, lead), ((), ())))


product.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _product_backward)


def dense(features: int, **kwargs: Any) -> nn.Dense:
  """A dense layer that computes by `product`."""
  return nn.Dense(features, dot_general=lambda x, kernel, *_, **__: product(x, kernel), **kwargs)


def attention(
  q_BLHK: jax.Array,
  k_BMHK: jax.Array,
  v_BMHK: jax.Array,
  *,
  causal: bool = False,
  segments: tuple[jax.Array, jax.Array] | None = None,
) -> jax.Array:
  """Scaled dot-product attention (Vaswani et al. 2017, equation 1); softmax in float32.

  Args:
    q_BLHK: Queries.
    k_BMHK: Keys.
    v_BMHK: Values.
    causal: Position l sees m <= l only.
    segments: Segment numbers [B, L] and [B, M]; a position sees its own segment only.

  Returns:
    [B, L, H, K].
  """
  scale = 1 / math.sqrt(q_BLHK.shape[-1])
  logits_BHLM = jnp.einsum('blhk,bmhk->bhlm', q_BLHK * scale, k_BMHK).astype(jnp.float32)
  seen = None
  if causal:
    seen = jnp.tril(jnp.ones(logits_BHLM.shape[-2:], bool))
  if segments is not None:
    same = segments[0][:, None, :, None] == segments[1][:, None, None, :]
    seen = same if seen is None else seen & same
  if seen is not None:
    logits_BHLM = jnp.where(seen, logits_BHLM, jnp.finfo(jnp.float32).min)
  weights_BHLM = jax.nn.softmax(logits_BHLM).astype(v_BMHK.dtype)
  return jnp.einsum('bhlm,bmhk->blhk', weights_BHLM, v_BMHK)


def rotary(x_BLHK: jax.Array, base: float = 10_000.0) -> jax.Array:
  """Turns pairs (i, i + K/2) by an angle that grows with the position (Su et al. 2021, RoPE)."""
  half = x_BLHK.shape[-1] // 2
  frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  angle_LK = jnp.arange(x_BLHK.shape[1], dtype=jnp.float32)[:, None] * frequency
  cos, sin = (f(angle_LK)[None, :, None].astype(x_BLHK.dtype) for f in (jnp.cos, jnp.sin))
  a, b = x_BLHK[..., :half], x_BLHK[..., half:]
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


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
  def __call__(self, x_BLD: jax.Array, segment_ids: jax.Array | None = None) -> jax.Array:
    """Maps [B, L, D] to the same; a position sees its own segment only, where [B, L] are given."""
    taps = self.param('taps', nn.initializers.zeros, (self.width, x_BLD.shape[-1]))
    taps = taps.astype(x_BLD.dtype)
    y_BLD = x_BLD
    for i in range(self.width):
      earlier_BLD = shift(x_BLD, i)
      if segment_ids is not None:
        same_BL = segment_ids == jnp.pad(segment_ids, ((0, 0), (i, 0)))[:, : x_BLD.shape[1]]
        earlier_BLD = jnp.where(same_BL[..., None], earlier_BLD, 0)
      y_BLD = y_BLD + taps[i] * earlier_BLD
    return y_BLD


def norm(kind: str, **kwargs: Any) -> nn.Module:
  """A normalisation without bias: 'layer' (Ba et al. 2016) or 'rms' (Zhang and Sennrich 2019)."""
  if kind not in ('layer', 'rms'):
    raise ValueError(f"norm must be 'layer' or 'rms', got {kind!r}")
  if kind == 'rms':
    return nn.RMSNorm(**kwargs)
  return nn.LayerNorm(use_bias=False, **kwargs)


class SelfAttention(nn.Module):
  """Multi-head attention of a sequence to itself.

  Queries, keys and values come from one stack of matrices [3, D, D], in which an optimiser for
  matrices sees three.
  """

  heads: int
  causal: bool = False
  position: str = 'none'  # Or 'rotary'.
  qk_norm: bool = False  # RMS-normalised queries and keys (Henry et al. 2020).
  dropout: float = 0.0
  init: Any = nn.initializers.normal(_GPT_STDDEV)
  out_init: Any = nn.initializers.normal(_GPT_STDDEV)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x_BLD: jax.Array, *, train: bool, segment_ids: jax.Array | None = None
  ) -> jax.Array:
    B, L, D = x_BLD.shape
    if D % self.heads:
      raise ValueError(f'width must divide by {self.heads} heads, got {D}')
    if self.position == 'rotary' and D // self.heads % 2:
      raise ValueError(
        f'rotary positions need an even width of heads, got {D // self.heads} '
        f'({D} / {self.heads}): change width or heads'
      )
    kernel = self.param('qkv', _each(self.init), (3, D, D)).astype(self.dtype)
    q_BLHK, k_BLHK, v_BLHK = (
      product(x_BLD, each).reshape(B, L, self.heads, D // self.heads) for each in kernel
    )
    if self.qk_norm:
      q_BLHK = nn.RMSNorm(dtype=self.dtype, name='q_norm')(q_BLHK)
      k_BLHK = nn.RMSNorm(dtype=self.dtype, name='k_norm')(k_BLHK)
    if self.position == 'rotary':
      q_BLHK, k_BLHK = rotary(q_BLHK), rotary(k_BLHK)
    segments = None if segment_ids is None else (segment_ids, segment_ids)
    y_BLHK = attention(q_BLHK, k_BLHK, v_BLHK, causal=self.causal, segments=segments)
    y_BLD = y_BLHK.reshape(B, L, D)
    layer = dense(D, use_bias=False, kernel_init=self.out_init, dtype=self.dtype, name='out')
    y_BLD = layer(y_BLD)
    return nn.Dropout(self.dropout, deterministic=not train)(y_BLD)


def _each(init: Any) -> Any:
  """Initialises matrix by matrix: an initialiser takes a stack for a convolution."""

  def stacked(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: init(key, shape[1:]))(jax.random.split(key, shape[0]))

  return stacked


class FeedForward(nn.Module):
  """Two products with a nonlinearity between: 'gelu', 'relu2' (So et al. 2021) or 'swiglu'."""

  hidden: int
  kind: str = 'gelu'
  dropout: float = 0.0
  use_bias: bool = False
  init: Any = nn.initializers.normal(_GPT_STDDEV)
  out_init: Any = nn.initializers.normal(_GPT_STDDEV)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x_BLD: jax.Array, *, train: bool) -> jax.Array:
    def layer(features: int, init: Any, name: str) -> nn.Dense:
      options = {'use_bias': self.use_bias, 'dtype': self.dtype}
      return dense(features, kernel_init=init, name=name, **options)

    y_BLF = layer(self.hidden, self.init, 'up')(x_BLD)
    if self.kind == 'gelu':
      y_BLF = gelu(y_BLF)
    elif self.kind == 'relu2':
      y_BLF = jnp.square(nn.relu(y_BLF))
    elif self.kind == 'swiglu':
      y_BLF = y_BLF * nn.silu(layer(self.hidden, self.init, 'gate')(x_BLD))
    else:
      raise ValueError(f"the nonlinearity must be 'gelu', 'relu2' or 'swiglu', got {self.kind!r}")
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
