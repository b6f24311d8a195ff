"""Recurrent layers: LSTM and GRU, and stacks of these and of linear recurrences.

Arguments of layers: as at the top of `linear_recurrence`.

Letters: B examples, L positions, D width, G gates times D.
"""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture.linear_recurrence import (
  GatedRecurrence,
  check_inputs,
  real,
  starts,
)
from bigtrain.architecture.parts import FeedForward
from bigtrain.architecture.products import dense, product
from bigtrain.architecture.state_spaces import SelectiveStateSpace

Kind = Literal['lstm', 'gru', 'rglru', 'mamba']
_GATES = {'lstm': 4, 'gru': 3}


class Recurrence(nn.Module):
  """An LSTM (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000) or GRU (Cho
  et al. 2014) over a sequence, in one direction.

  The GRU resets after the product, as cuDNN and PyTorch compute it, and so weights carry over. The
  inputs' products are taken for all positions at once; the loop has the state's alone.

  Attributes:
    kind: 'lstm' (gates in the order input, forget, cell, output) or 'gru' (reset, update, new).
    width: D.
    reverse: Whether to read from the last position to the first.
    dtype: Of the computation.
  """

  kind: Literal['lstm', 'gru']
  width: int
  reverse: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x_BLN: jax.Array,
    *,
    lengths: jax.Array | None = None,
    segment_ids: jax.Array | None = None,
    state: Any = None,
  ) -> tuple[jax.Array, Any]:
    """Maps [B, L, N] to [B, L, D], 0 at padding, and the state: h, or (h, c), each [B, D].

    Raises:
      ValueError: For an unknown kind, or segment_ids beside a state or lengths.
    """
    if self.kind not in _GATES:
      raise ValueError(f"kind must be 'lstm' or 'gru', got {self.kind!r}")
    check_inputs(state, lengths, segment_ids)
    B, L, _ = x_BLN.shape
    D, G = self.width, _GATES[self.kind] * self.width
    orthogonal = nn.initializers.orthogonal(column_axis=0)
    kernel_DG = self.param('recurrent_kernel', orthogonal, (D, G)).astype(self.dtype)
    bias_G = self.param('recurrent_bias', nn.initializers.zeros, (G,)).astype(self.dtype)
    forget = nn.initializers.zeros if self.kind == 'gru' else _open_forget_gate
    inner_BLG = dense(G, bias_init=forget, dtype=self.dtype, name='in')(x_BLN)
    seen = jnp.ones((B, L, 1), bool) if lengths is None else real(L, lengths)
    reset = jnp.zeros((B, L), bool)
    if segment_ids is not None:
      reset = starts(segment_ids, reverse=self.reverse)
    zero = jnp.zeros((B, D), self.dtype)
    if state is None:
      state = (zero, zero) if self.kind == 'lstm' else zero
    cell = lstm_cell if self.kind == 'lstm' else gru_cell

    def advance(before, of):
      inner_BG, seen_B1, reset_B = of
      before = jax.tree.map(lambda h: jnp.where(reset_B[:, None], 0, h), before)
      after = cell(before, inner_BG, kernel_DG, bias_G)
      after = jax.tree.map(lambda new, old: jnp.where(seen_B1, new, old), after, before)
      h = after[0] if self.kind == 'lstm' else after
      return after, jnp.where(seen_B1, h, 0)

    steps = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (inner_BLG, seen, reset))
    # From the end, padding comes first, and leaves the state as it was.
    state, y_LBD = jax.lax.scan(advance, state, steps, reverse=self.reverse)
    return jnp.moveaxis(y_LBD, 0, 1), state


def lstm_cell(
  state: tuple[jax.Array, jax.Array], inner_BG: jax.Array, kernel_DG: jax.Array, bias_G: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """One step of an LSTM, from and to (h, c); `inner_BG` has the inputs' products."""
  h, c = state
  i, f, g, o = jnp.split(inner_BG + product(h, kernel_DG) + bias_G, 4, axis=-1)
  c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
  return nn.sigmoid(o) * jnp.tanh(c), c


def gru_cell(
  h: jax.Array, inner_BG: jax.Array, kernel_DG: jax.Array, bias_G: jax.Array
) -> jax.Array:
  """One step of a GRU; `inner_BG` has the inputs' products."""
  outer_BG = product(h, kernel_DG) + bias_G
  r, z, n = (slice(i * h.shape[-1], (i + 1) * h.shape[-1]) for i in range(3))
  update = nn.sigmoid(inner_BG[:, z] + outer_BG[:, z])
  new = jnp.tanh(inner_BG[:, n] + nn.sigmoid(inner_BG[:, r] + outer_BG[:, r]) * outer_BG[:, n])
  return (1 - update) * new + update * h


def _open_forget_gate(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
  """1 for the forget gate, 0 for others (Jozefowicz et al. 2015)."""
  del key
  return jnp.repeat(jnp.array([0, 1, 0, 0], dtype), shape[0] // 4)


class RecurrentLayers(nn.Module):
  """Recurrent layers one upon another.

  LSTM and GRU: each layer reads the one below, or both its directions. 'rglru' and 'mamba':
  residual blocks with a norm before each layer; in Griffin's a feed-forward layer follows the
  recurrence (De et al. 2024, figure 2).

  Attributes:
    kind: Of the recurrence.
    depth: Layers.
    width: D, of each direction.
    bidirectional: Whether LSTM and GRU read from both ends; outputs are then 2 D wide.
    dropout: Share of each layer's output (but the last's) that training leaves out; of residual
      layers, share of what each adds.
    dtype: Of the computation.
  """

  kind: Kind
  depth: int
  width: int
  bidirectional: bool = False
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x_BLD: jax.Array,
    *,
    train: bool,
    lengths: jax.Array | None = None,
    segment_ids: jax.Array | None = None,
    state: Any = None,
  ) -> tuple[jax.Array, Any]:
    """Maps [B, L, D] to [B, L, D] or [B, L, 2 D], and the states of the layers, a tuple.

    Raises:
      ValueError: For an unknown kind, a recurrence that cannot read from both ends, a state of one
        that does, or segment_ids beside a state or lengths.
    """
    if self.kind not in (*_GATES, 'rglru', 'mamba'):
      raise ValueError(f"kind must be 'lstm', 'gru', 'rglru' or 'mamba', got {self.kind!r}")
    if self.bidirectional and (self.kind not in _GATES or state is not None):
      raise ValueError('bidirectional is for lstm and gru, over whole sequences: no state goes on')
    options = {'lengths': lengths, 'segment_ids': segment_ids}
    drop = nn.Dropout(self.dropout, deterministic=not train)
    states = []
    for i in range(self.depth):
      own = None if state is None else state[i]
      if self.kind in _GATES:
        x_BLD = drop(x_BLD) if i else x_BLD
        ways = (False, True) if self.bidirectional else (False,)
        both = [
          Recurrence(
            'lstm' if self.kind == 'lstm' else 'gru',
            self.width,
            way,
            self.dtype,
            name=f'layer_{i}' + ('_reverse' if way else ''),
          )(x_BLD, state=own, **options)
          for way in ways
        ]
        x_BLD = jnp.concatenate([y for y, _ in both], axis=-1)
        own = tuple(last for _, last in both) if self.bidirectional else both[0][1]
      else:
        layer = GatedRecurrence if self.kind == 'rglru' else SelectiveStateSpace
        y_BLD = nn.RMSNorm(dtype=self.dtype, name=f'layer_{i}_norm')(x_BLD)
        y_BLD, own = layer(dtype=self.dtype, name=f'layer_{i}')(
          y_BLD, train=train, state=own, **options
        )
        x_BLD = x_BLD + drop(y_BLD)
        if self.kind == 'rglru':
          y_BLD = nn.RMSNorm(dtype=self.dtype, name=f'feed_{i}_norm')(x_BLD)
          init = nn.initializers.lecun_normal()
          kinds = {'in_init': init, 'out_init': init, 'dtype': self.dtype}
          feed = FeedForward(3 * self.width, 'swiglu', name=f'feed_{i}', **kinds)
          x_BLD = x_BLD + drop(feed(y_BLD, train=train))
      states.append(own)
    if self.kind not in _GATES:
      x_BLD = nn.RMSNorm(dtype=self.dtype, name='out_norm')(x_BLD)
    return x_BLD, tuple(states)
