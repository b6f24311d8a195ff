"""Attention of sequences whose positions are spread over devices, exact.

Each device keeps its queries. In a ring (Liu et al. 2023) keys and values go round, one neighbour
at a time, and a running softmax adds up what each part answers; a device never holds more than two
parts. Gathered, every device takes all keys and values at once: fewer messages, more memory.

Letters: B examples, L positions that ask and M that answer (of one device), G heads of keys and
values, R heads of queries that share one, H = G R, K width of a head.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from bigtrain.architecture.spreading import BATCH, SEQUENCE, axes_over, layout

_UNSEEN = -1e30  # A logit; finite, for infinity minus infinity is no number.


@dataclasses.dataclass(frozen=True)
class Mask:
  """What a position sees, as in `attention`, and the logits' form."""

  causal: bool = False
  window: int | None = None
  scale: float | None = None
  soft_cap: float | None = None


def is_spread(q_BLHK: jax.Array, k_BMGK: jax.Array) -> bool:
  """Whether the mesh at hand spreads the positions of these queries and keys."""
  return q_BLHK.shape[1] == k_BMGK.shape[1] and bool(axes_over(q_BLHK.shape[1], SEQUENCE))


def ring_attention(
  q_BLHK: jax.Array,
  k_BMGK: jax.Array,
  v_BMGK: jax.Array,
  segments: tuple[jax.Array, jax.Array] | None = None,
  mask: Mask = Mask(),  # noqa: B008 (frozen).
) -> jax.Array:
  """Attention around the ring of the mesh's `sequence` axis.

  Args:
    q_BLHK: Queries, of all positions.
    k_BMGK: Keys of as many positions.
    v_BMGK: Values.
    segments: Segment numbers [B, L] and [B, M]; a position sees its own segment only.
    mask: What else it sees.

  Returns:
    [B, L, H, K].
  """
  return _on_devices(functools.partial(_ring, mask), q_BLHK, k_BMGK, v_BMGK, segments)


def gathered_attention(
  q_BLHK: jax.Array,
  k_BMGK: jax.Array,
  v_BMGK: jax.Array,
  segments: tuple[jax.Array, jax.Array] | None = None,
  mask: Mask = Mask(),  # noqa: B008 (frozen).
) -> jax.Array:
  """As `ring_attention`, with all keys and values on every device."""

  def local(q, k, v, asks, answers):
    gather = functools.partial(jax.lax.all_gather, axis_name=SEQUENCE, axis=1, tiled=True)
    k, v, answers = gather(k), gather(v), None if answers is None else gather(answers)
    scores, change = _logits(mask, q, k, asks, answers, _start(q), 0)
    del change
    weights = jax.nn.softmax(scores).astype(v.dtype)
    return _merge(jnp.einsum('bgrlm,bmgk->blgrk', weights, v))

  return _on_devices(local, q_BLHK, k_BMGK, v_BMGK, segments)


def _on_devices(local: Any, q: jax.Array, k: jax.Array, v: jax.Array, segments: Any) -> jax.Array:
  """Runs a device's share: its examples, positions and heads."""
  # Heads are split where those of queries and keys both divide, so that groups stay together.
  heads = axes_over(k.shape[2], 'tensor')
  spec = layout(q.shape, (BATCH, SEQUENCE, heads))
  rows = P(*spec[:2])
  asks, answers = segments or (None, None)
  specs = (spec, spec, spec, *(None if x is None else rows for x in (asks, answers)))
  spread = jax.shard_map(local, in_specs=specs, out_specs=spec, check_vma=False)
  return spread(q, k, v, asks, answers)


def _start(x: jax.Array) -> jax.Array:
  """Position of the first row of this device."""
  return jax.lax.axis_index(SEQUENCE) * x.shape[1]


def _split(x_BLHK: jax.Array, G: int) -> jax.Array:
  B, L, H, K = x_BLHK.shape
  return x_BLHK.reshape(B, L, G, H // G, K)


def _merge(x_BLGRK: jax.Array) -> jax.Array:
  B, L, G, R, K = x_BLGRK.shape
  return x_BLGRK.reshape(B, L, G * R, K)


def _logits(
  mask: Mask, q: jax.Array, k: jax.Array, asks: Any, answers: Any, first: Any, other: Any
) -> tuple[jax.Array, jax.Array | None]:
  """Returns logits [B, G, R, L, M], and d logits / d products over the scale (None is 1)."""
  scale = 1 / math.sqrt(q.shape[-1]) if mask.scale is None else mask.scale
  split = _split(q * scale, k.shape[2])
  logits = jnp.einsum('blgrk,bmgk->bgrlm', split, k, preferred_element_type=jnp.float32)
  change = None
  if mask.soft_cap is not None:
    bent = jnp.tanh(logits / mask.soft_cap)
    logits, change = mask.soft_cap * bent, 1 - bent**2
  ago = first + jnp.arange(q.shape[1])[:, None] - other - jnp.arange(k.shape[1])
  seen = jnp.ones_like(ago, bool)
  if mask.causal:
    seen &= ago >= 0
  if mask.window is not None:
    seen &= jnp.abs(ago) < mask.window
  if asks is not None:
    seen = seen & (asks[:, None, None, :, None] == answers[:, None, None, None, :])
  return jnp.where(seen, logits, _UNSEEN), change


def _pass_on(*parts: Any) -> Any:
  """Sends each array to the next device of the ring."""
  size = jax.lax.axis_size(SEQUENCE)
  around = [(i, (i + 1) % size) for i in range(size)]
  return jax.tree.map(lambda x: jax.lax.ppermute(x, SEQUENCE, around), parts)


def _owner(step: Any) -> Any:
  """The device whose part has arrived here after that many steps."""
  return (jax.lax.axis_index(SEQUENCE) - step) % jax.lax.axis_size(SEQUENCE)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _ring(mask: Mask, q: jax.Array, k: jax.Array, v: jax.Array, asks: Any, answers: Any) -> Any:
  return _ring_forward(mask, q, k, v, asks, answers)[0]


def _ring_forward(mask: Mask, q: jax.Array, k: jax.Array, v: jax.Array, asks: Any, answers: Any):
  B, L, H, K = q.shape
  G = k.shape[2]

  def add(total, step, k, v, answers):
    """Adds one part's answers to the softmax so far: its maximum, its sum, its numerator."""
    highest, weight, y = total
    logits, _ = _logits(mask, q, k, asks, answers, _start(q), _owner(step) * k.shape[1])
    new = jnp.maximum(highest, logits.max(axis=-1))
    share = jnp.exp(logits - new[..., None])
    shrink = jnp.exp(highest - new)
    part = jnp.einsum('bgrlm,bmgk->bgrlk', share, v.astype(jnp.float32))
    return new, weight * shrink + share.sum(axis=-1), y * shrink[..., None] + part

  def turn(carry, step):
    total, parts = carry
    parts = _pass_on(*parts)
    return (add(total, step, *parts), parts), None

  rows = (B, G, H // G, L)
  nothing = (jnp.full(rows, _UNSEEN), jnp.zeros(rows), jnp.zeros((*rows, K)))
  parts = (k, v, answers)
  carry = (add(nothing, 0, *parts), parts)
  (total, _), _ = jax.lax.scan(turn, carry, jnp.arange(1, jax.lax.axis_size(SEQUENCE)))
  highest, weight, y = total
  y_BLHK = _merge(jnp.moveaxis(y / weight[..., None], 3, 1)).astype(q.dtype)
  return y_BLHK, (q, k, v, asks, answers, y_BLHK, highest + jnp.log(weight))


def _ring_backward(mask: Mask, residuals: Any, dy: jax.Array):
  # Weights are made again from the logarithm of their sum (Dao 2023, algorithm 2); the gradients
  # of keys and values travel with them, and are home after a full turn.
  q, k, v, asks, answers, y, log_sum = residuals
  G = k.shape[2]
  scale = 1 / math.sqrt(q.shape[-1]) if mask.scale is None else mask.scale
  dy, y, split = (_split(x.astype(jnp.float32), G) for x in (dy, y, q))
  own = jnp.moveaxis((dy * y).sum(axis=-1), 1, 3)  # [B, G, R, L].

  def turn(carry, step):
    dq, (k, v, answers, dk, dv) = carry
    logits, change = _logits(mask, q, k, asks, answers, _start(q), _owner(step) * k.shape[1])
    share = jnp.exp(logits - log_sum[..., None])
    dv = dv + jnp.einsum('bgrlm,blgrk->bmgk', share, dy)
    toward = jnp.einsum('blgrk,bmgk->bgrlm', dy, v.astype(jnp.float32))
    dlogits = share * (toward - own[..., None]) * scale
    dlogits = dlogits if change is None else dlogits * change
    dq = dq + jnp.einsum('bgrlm,bmgk->blgrk', dlogits, k.astype(jnp.float32))
    dk = dk + jnp.einsum('bgrlm,blgrk->bmgk', dlogits, split)
    return (dq, _pass_on(k, v, answers, dk, dv)), None

  zeros = tuple(jnp.zeros(x.shape, jnp.float32) for x in (k, v))
  carry = (jnp.zeros_like(split), (k, v, answers, *zeros))
  (dq, parts), _ = jax.lax.scan(turn, carry, jnp.arange(jax.lax.axis_size(SEQUENCE)))
  dk, dv = parts[3:]
  return _merge(dq).astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None, None


_ring.defvjp(_ring_forward, _ring_backward)
