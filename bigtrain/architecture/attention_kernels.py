"""Attention by kernels that never hold all weights, [B, H, L, M], at once.

On TPU splash attention (of JAX's Pallas operations); on GPU cuDNN's flash attention (Dao 2023).
Each does a part of what `attention` may be asked for; `kernel` knows which.

Letters: B examples, L positions, H heads of queries, G heads of keys and values, K width of a head.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from bigtrain.architecture.sequence_attention import Mask
from bigtrain.architecture.spreading import BATCH, axes_over, layout, platform

_TILE = 128  # Positions: what splash attention divides a sequence by, at least.
_BLOCK = 512  # Positions of a block at most; those of 2048 overflow the fast memory of v5e.
_WIDEST = 128  # K of cuDNN's kernels on every GPU that has them.


def kernel(
  q_BLHK: jax.Array,
  k_BMGK: jax.Array,
  segments: tuple[jax.Array, jax.Array] | None,
  mask: Mask,
) -> Callable[..., jax.Array] | None:
  """Returns the kernel for what the program is compiled for, where there is one.

  Args:
    q_BLHK: Queries, or their shape.
    k_BMGK: Keys, or their shape.
    segments: As in `attention`.
    mask: What a position sees.

  Returns:
    A function of queries, keys, values, `segments` and `mask`; or None.
  """
  L, K = q_BLHK.shape[1], q_BLHK.shape[3]
  if k_BMGK.shape[1] != L:
    return None
  target = platform()
  if target == 'tpu' and L % _TILE == 0:
    return splash
  half = q_BLHK.dtype in (jnp.bfloat16, jnp.float16)
  asked = mask.soft_cap is None and segments is None and (mask.window is None or mask.causal)
  if target == 'gpu' and half and asked and K <= _WIDEST and K % 8 == 0:
    return cudnn
  return None


def cudnn(
  q_BLHK: jax.Array, k_BLGK: jax.Array, v_BLGK: jax.Array, segments: None, mask: Mask
) -> jax.Array:
  """Flash attention of cuDNN; segments it has none. Arguments as `kernel` says."""
  del segments
  return jax.nn.dot_product_attention(
    q_BLHK,
    k_BLGK,
    v_BLGK,
    scale=mask.scale,
    is_causal=mask.causal,
    local_window_size=None if mask.window is None else (mask.window - 1, 0),
    implementation='cudnn',
  )


def splash(
  q_BLHK: jax.Array,
  k_BLGK: jax.Array,
  v_BLGK: jax.Array,
  segments: tuple[jax.Array, jax.Array] | None,
  mask: Mask,
  *,
  interpret: bool = False,
) -> jax.Array:
  """Splash attention on TPU; on a mesh each device takes its examples and heads.

  Arguments as `kernel` says; `interpret` runs the kernel as plain JAX, anywhere.
  """
  heads = axes_over(k_BLGK.shape[2], 'tensor')
  spec = layout(q_BLHK.shape, (BATCH, None, heads))
  rows = P(*spec[:1])
  asks, answers = segments or (None, None)
  specs = (spec, spec, spec, *(None if x is None else rows for x in (asks, answers)))
  local = functools.partial(_splash, mask, interpret)
  if not jax.sharding.get_abstract_mesh().empty:
    # XLA cannot split a kernel by itself.
    local = jax.shard_map(local, in_specs=specs, out_specs=spec, check_vma=False)
  return local(q_BLHK, k_BLGK, v_BLGK, asks, answers)


def _splash(
  mask: Mask, interpret: bool, q: jax.Array, k: jax.Array, v: jax.Array, asks: Any, answers: Any
) -> jax.Array:
  """On one device."""
  # Here, for Pallas takes half a second to import.
  from jax.experimental.pallas.ops.tpu import splash_attention as library

  L, H, K = q.shape[1:]
  shape = (L, L)
  if mask.window is not None:
    after = 0 if mask.causal else mask.window - 1
    seen = library.LocalMask(shape, (mask.window - 1, after), 0)
  else:
    seen = library.CausalMask(shape) if mask.causal else library.FullMask(shape)
  block = next(size for size in (_BLOCK, _BLOCK // 2, _TILE) if L % size == 0)
  names = ('q', 'kv', 'kv_compute', 'q_dkv', 'kv_dkv', 'kv_dkv_compute', 'q_dq', 'kv_dq')
  blocks: dict[str, Any] = {f'block_{name}': block for name in names}
  sizes = library.BlockSizes(**blocks)
  run: Any = library.make_splash_mha(
    library.MultiHeadMask([seen] * H),
    block_sizes=sizes,
    head_shards=1,
    q_seq_shards=1,
    attn_logits_soft_cap=mask.soft_cap,
    interpret=interpret,
  )
  scale = 1 / math.sqrt(K) if mask.scale is None else mask.scale
  # The kernel has heads before positions.
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q * scale, k, v))
  ids = None if asks is None else library.SegmentIds(asks, answers)
  y = jax.vmap(run)(q, k, v) if ids is None else jax.vmap(run)(q, k, v, ids)
  return jnp.swapaxes(y, 1, 2).astype(q.dtype)
