"""Linear recurrences by associative scan, and the gated one of Griffin (RG-LRU).

What layers over sequences share, here and in `recurrent` and `state_spaces`:

- Called on [B, L, D] they return the outputs and the state after the last position, from which a
  call on the next positions goes on as if both had been one.
- `lengths`, integers [B], count the real positions of each row, the first ones; padding after them
  changes no output before it and no state.
- `segment_ids`, integers [B, L], number the documents packed into one row; the state starts anew
  with each. Neither `state` nor `lengths` go with them.

Letters: B examples, L positions, D width, E width of the recurrence, H heads, K width of a head, W
taps of a convolution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.parts import gelu
from bigtrain.architecture.products import dense

_POWER = 8.0  # c in De et al. 2024, equation 6.
_LEAST = 1e-8  # Of 1 - a^2, whose root has no slope at 0.


def linear_scan(a: jax.Array, b: jax.Array, first: jax.Array | None = None) -> jax.Array:
  """Solves h_t = a_t h_{t-1} + b_t for all t at once, elementwise (Blelloch 1990).

  Args:
    a: Factors [B, L, ...].
    b: Terms, of the same shape.
    first: h before the first position, [B, ...]; None is 0.

  Returns:
    h, [B, L, ...].
  """
  if first is not None:
    b = jnp.asarray(b).at[:, 0].add(a[:, 0] * first)

  def joined(earlier, later):
    return earlier[0] * later[0], later[0] * earlier[1] + later[1]

  return jax.lax.associative_scan(joined, (a, b), axis=1)[1]


def check_inputs(state: Any, lengths: Any, segment_ids: Any) -> None:
  """Refuses packed documents together with a state or lengths.

  Raises:
    ValueError: For segment_ids beside one of these.
  """
  if segment_ids is not None and not (state is None and lengths is None):
    raise ValueError('segment_ids go with neither state nor lengths: unpack the documents')


def starts(segment_ids: jax.Array, *, reverse: bool = False) -> jax.Array:
  """Returns bool [B, L]: where a segment of [B, L] starts, read from the end if `reverse`."""
  change = segment_ids[:, 1:] != segment_ids[:, :-1]
  return jnp.pad(change, ((0, 0), (0, 1) if reverse else (1, 0)), constant_values=True)


def real(length: int, lengths: jax.Array) -> jax.Array:
  """Returns bool [B, length, 1]: true at the first `lengths` [B] positions."""
  return (jnp.arange(length) < lengths[:, None])[..., None]


class ShortConv(nn.Module):
  """A causal depthwise convolution with bias; its state is the inputs that it still needs.

  Attributes:
    taps: W, this position among them.
    dtype: Of the computation.
  """

  taps: int = 4
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x_BLE: jax.Array,
    *,
    lengths: jax.Array | None = None,
    segment_ids: jax.Array | None = None,
    state: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Maps [B, L, E] to the same and the last W - 1 inputs, [B, W - 1, E]."""
    B, L, E = x_BLE.shape
    init = nn.initializers.variance_scaling(1.0, 'fan_in', 'uniform', in_axis=0, out_axis=())
    kernel = self.param('kernel', init, (self.taps, E)).astype(self.dtype)
    bias = self.param('bias', nn.initializers.zeros, (E,)).astype(self.dtype)
    before = self.taps - 1
    if state is None:
      state = jnp.zeros((B, before, E), self.dtype)
    wide_BNE = jnp.concatenate([state.astype(self.dtype), x_BLE.astype(self.dtype)], axis=1)
    y_BLE = bias
    for i in range(self.taps):
      earlier_BLE = wide_BNE[:, i : i + L]
      if segment_ids is not None:
        padded = jnp.pad(segment_ids, ((0, 0), (before, 0)), mode='edge')[:, i : i + L]
        earlier_BLE = jnp.where((padded == segment_ids)[..., None], earlier_BLE, 0)
      y_BLE = y_BLE + kernel[i] * earlier_BLE
    if lengths is None:
      return y_BLE, wide_BNE[:, L:]
    last_BW = lengths[:, None] + jnp.arange(before)
    return y_BLE, jnp.take_along_axis(wide_BNE, last_BW[..., None], axis=1)


class RGLRU(nn.Module):
  """The real-gated linear recurrent unit (De et al. 2024, section 2.4).

  h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t x_t), where a_t = sigmoid(decay)^(8 r_t); r_t and i_t are
  gates of x_t, in float32.

  Attributes:
    heads: Blocks of the gates' matrices.
  """

  heads: int = 1

  @nn.compact
  def __call__(
    self,
    x_BLE: jax.Array,
    *,
    lengths: jax.Array | None = None,
    segment_ids: jax.Array | None = None,
    state: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Maps [B, L, E] to the same and the state, float32 [B, E]."""
    B, L, E = x_BLE.shape
    if E % self.heads:
      raise ValueError(f'the width of the recurrence must divide by {self.heads} heads, got {E}')
    check_inputs(state, lengths, segment_ids)
    x = x_BLE.astype(jnp.float32)
    K = E // self.heads

    def gate(name):
      init = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal', batch_axis=0)
      kernel_HKK = self.param(f'{name}_kernel', init, (self.heads, K, K))
      bias_E = self.param(f'{name}_bias', nn.initializers.zeros, (E,))
      y_BLHK = jnp.einsum('blhk,hkn->blhn', x.reshape(B, L, self.heads, K), kernel_HKK)
      return nn.sigmoid(y_BLHK.reshape(B, L, E) + bias_E)

    decay_E = self.param('decay', _long_memory, (E,))
    log_a = -_POWER * gate('recurrence') * nn.softplus(-decay_E)
    a = jnp.exp(log_a)
    b = jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), _LEAST)) * gate('input') * x
    if lengths is not None:
      seen = real(L, lengths)
      a, b = jnp.where(seen, a, 1), jnp.where(seen, b, 0)
    if segment_ids is not None:
      a = jnp.where(starts(segment_ids)[..., None], 0, a)
    h_BLE = linear_scan(a, b, state)
    return h_BLE.astype(x_BLE.dtype), h_BLE[:, -1]


def _long_memory(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Such that sigmoid(decay)^8 is even between 0.9 and 0.999 (De et al. 2024, section 2.4)."""
  a = jax.random.uniform(key, shape, minval=0.9, maxval=0.999) ** (1 / _POWER)
  return jnp.log(a) - jnp.log1p(-a)


class GatedState(NamedTuple):
  """The state of a convolution, and of the recurrence after it."""

  conv: jax.Array
  scan: jax.Array


class GatedRecurrence(nn.Module):
  """Griffin's recurrent layer: a convolution and RG-LRU in one branch, GELU in the other (De et al.
  2024, section 2.3).

  Attributes:
    width: E; None is D.
    heads: Blocks of the gates' matrices.
    taps: Of the convolution.
    dtype: Of the computation; the recurrence itself is float32.
  """

  width: int | None = None
  heads: int = 1
  taps: int = 4
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x_BLD: jax.Array,
    *,
    train: bool,
    lengths: jax.Array | None = None,
    segment_ids: jax.Array | None = None,
    state: GatedState | None = None,
  ) -> tuple[jax.Array, GatedState]:
    """Maps [B, L, D] to the same and the state; arguments as at the top of this file."""
    del train
    check_inputs(state, lengths, segment_ids)
    D = x_BLD.shape[-1]
    E = self.width or D
    conv, scan = (None, None) if state is None else state
    options = {'lengths': lengths, 'segment_ids': segment_ids}
    gate_BLE = gelu(dense(E, dtype=self.dtype, name='gate')(x_BLD))
    y_BLE = dense(E, dtype=self.dtype, name='in')(x_BLD)
    y_BLE, conv = ShortConv(self.taps, self.dtype, name='conv')(y_BLE, state=conv, **options)
    y_BLE, scan = RGLRU(self.heads, name='recurrence')(y_BLE, state=scan, **options)
    return dense(D, dtype=self.dtype, name='out')(gate_BLE * y_BLE), GatedState(conv, scan)
