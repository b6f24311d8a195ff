"""Normalisations, by name."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

NORMS = ('layer', 'layer_bias', 'rms', 'rms_shifted')


class ShiftedRMSNorm(nn.Module):
  """RMS normalisation times 1 + scale, where scale is 0 at first (Gemma Team 2024).

  Weight decay pulls its gain to 1, where it pulls that of `nn.RMSNorm` to 0. Computed in float32.
  """

  epsilon: float = 1e-6
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., D] to the same."""
    scale = self.param('scale', nn.initializers.zeros, (x.shape[-1],))
    x = x.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
    return (x * (1 + scale)).astype(self.dtype)


def norm(kind: str, **kwargs: Any) -> nn.Module:
  """A normalisation over the last axis.

  Args:
    kind: 'layer' (Ba et al. 2016, without bias), 'layer_bias' (with it), 'rms' (Zhang and Sennrich
      2019) or 'rms_shifted' (the same, whose gain is 1 + scale).
    kwargs: Of the module: `epsilon`, `dtype`, `name`.

  Raises:
    ValueError: There is no such kind.
  """
  if kind not in NORMS:
    raise ValueError(f'norm must be one of {", ".join(map(repr, NORMS))}, got {kind!r}')
  if kind == 'rms':
    return nn.RMSNorm(**kwargs)
  if kind == 'rms_shifted':
    return ShiftedRMSNorm(**kwargs)
  return nn.LayerNorm(use_bias=kind == 'layer_bias', **kwargs)
