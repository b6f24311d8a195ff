"""The selective state space layer of Mamba.

Arguments of layers: as at the top of `linear_recurrence`.

Letters: B examples, L positions, D width, E width inside, N numbers of a channel's state, R rank of
the step's product, T positions of a chunk.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.linear_recurrence import (
  GatedState,
  ShortConv,
  check_inputs,
  linear_scan,
  real,
  starts,
)
from bigtrain.architecture.products import dense

_STEPS = (1e-3, 1e-1)  # Between which a new layer's steps lie.


def selective_scan(
  x_BLE: jax.Array,
  step_BLE: jax.Array,
  decay_EN: jax.Array,
  in_BLN: jax.Array,
  out_BLN: jax.Array,
  *,
  reset_BL: jax.Array | None = None,
  first_BEN: jax.Array | None = None,
  chunk: int = 64,
) -> tuple[jax.Array, jax.Array]:
  """A diagonal linear system whose inputs, outputs and steps depend on the position (Gu and Dao
  2023, section 3.2): h_t = exp(-step_t decay) h_{t-1} + step_t in_t x_t, and y_t = out_t . h_t.

  The states of all positions, N times the inputs, exist for one chunk at a time, forwards and
  backwards.

  Args:
    x_BLE: Inputs, float32.
    step_BLE: Steps, at least 0; a step of 0 keeps the state.
    decay_EN: Rates, above 0.
    in_BLN: What a position writes.
    out_BLN: What it reads.
    reset_BL: Positions that see no state from before; None has none.
    first_BEN: The state before the first position; None is 0.
    chunk: Positions solved at once by associative scan.

  Returns:
    y [B, L, E], and the state after the last position, [B, E, N].
  """
  B, L, E = x_BLE.shape
  T = min(chunk, L)
  if first_BEN is None:
    first_BEN = jnp.zeros((B, E, decay_EN.shape[1]), x_BLE.dtype)
  reset_BL = jnp.zeros((B, L), bool) if reset_BL is None else reset_BL

  def chunks(values):  # [chunks, B, T, ...], filled up with steps of 0.
    values = jnp.pad(values, ((0, 0), (0, -L % T), *((0, 0),) * (values.ndim - 2)))
    return jnp.moveaxis(values.reshape(B, -1, T, *values.shape[2:]), 1, 0)

  @jax.checkpoint
  def solve(first_BEN, of):
    x, step, write, read, reset = of
    a = jnp.where(reset[..., None, None], 0, jnp.exp(-step[..., None] * decay_EN))
    h_BTEN = linear_scan(a, (step * x)[..., None] * write[:, :, None], first_BEN)
    return h_BTEN[:, -1], jnp.einsum('bten,btn->bte', h_BTEN, read)

  inputs = tuple(chunks(values) for values in (x_BLE, step_BLE, in_BLN, out_BLN, reset_BL))
  last_BEN, y = jax.lax.scan(solve, first_BEN, inputs)
  return jnp.moveaxis(y, 0, 1).reshape(B, -1, E)[:, :L], last_BEN


class SelectiveStateSpace(nn.Module):
  """Mamba's layer: a gated branch with a convolution and a selective state space (Gu and Dao 2023,
  section 3.4).

  Attributes:
    expand: E, in units of D.
    states: N.
    rank: R; None is D / 16, rounded up.
    taps: Of the convolution.
    chunk: Positions solved at once.
    dtype: Of the computation; the state space itself is float32.
  """

  expand: int = 2
  states: int = 16
  rank: int | None = None
  taps: int = 4
  chunk: int = 64
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
    """Maps [B, L, D] to the same and the state."""
    del train
    check_inputs(state, lengths, segment_ids)
    L, D = x_BLD.shape[1:]
    E, N, R = self.expand * D, self.states, self.rank or math.ceil(D / 16)
    conv, scan = (None, None) if state is None else state

    def layer(features, name, **options):
      return dense(features, use_bias=False, dtype=self.dtype, name=name, **options)

    x_BLE, gate_BLE = jnp.split(layer(2 * E, 'in')(x_BLD), 2, axis=-1)
    x_BLE, conv = ShortConv(self.taps, self.dtype, name='conv')(
      x_BLE, lengths=lengths, segment_ids=segment_ids, state=conv
    )
    x_BLE = nn.silu(x_BLE)
    chosen = layer(R + 2 * N, 'select')(x_BLE)
    step_BLR, in_BLN, out_BLN = jnp.split(chosen, [R, R + N], axis=-1)
    even = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
    step_BLE = layer(E, 'step', kernel_init=even)(step_BLR).astype(jnp.float32)
    step_BLE = nn.softplus(step_BLE + self.param('step_bias', _log_even_steps, (E,)))
    if lengths is not None:
      step_BLE = jnp.where(real(L, lengths), step_BLE, 0)
    log_decay_EN = self.param('log_decay', _counted, (E, N))
    x = x_BLE.astype(jnp.float32)
    y, scan = selective_scan(
      x,
      step_BLE,
      jnp.exp(log_decay_EN),
      in_BLN.astype(jnp.float32),
      out_BLN.astype(jnp.float32),
      reset_BL=None if segment_ids is None else starts(segment_ids),
      first_BEN=scan,
      chunk=self.chunk,
    )
    y = y + self.param('skip', nn.initializers.ones, (E,)) * x
    y_BLD = layer(D, 'out')(y.astype(self.dtype) * nn.silu(gate_BLE))
    return y_BLD, GatedState(conv, scan)


def _counted(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Rates of 1, 2, ... N in each channel (Gu et al. 2022, S4D-Real)."""
  del key
  return jnp.broadcast_to(jnp.log(jnp.arange(1.0, shape[1] + 1)), shape)


def _log_even_steps(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Such that the softplus is even in the logarithm (Gu and Dao 2023, section 3.6)."""
  low, high = (math.log(step) for step in _STEPS)
  step = jnp.exp(jax.random.uniform(key, shape, minval=low, maxval=high))
  return step + jnp.log(-jnp.expm1(-step))
