"""A scanned decoder's blocks as a pipeline over the mesh's stages.

Letters: B examples, L positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from bigtrain.architecture.decoder_blocks import Period
from bigtrain.architecture.pipeline import pipeline

if TYPE_CHECKING:
  from bigtrain.architecture.decoders import DecoderLM


def through_stages(
  model: DecoderLM,
  call: Callable[..., jax.Array],
  x_BLD: jax.Array,
  skips: jax.Array,
  train: bool,
  seen: Mapping[str, Any],
) -> jax.Array:
  """Puts embedded tokens through the blocks; called within a method of the model.

  Args:
    model: Has its parameters already.
    call: `call(block, x_BLD, skip, seen)`.
    x_BLD: The stream.
    skips: For each turn, the probabilities of leaving its blocks out.
    train: Whether dropout is on.
    seen: What goes along: arrays that broadcast to [B, L], or None.

  Returns:
    [B, L, D].

  Raises:
    ValueError: The model is not scanned, has experts, or is asked to decode with a cache.
  """
  cure = 'leave stage out of --mesh'
  if not model.scan:
    raise ValueError(f'stages of a pipeline are cut from a scanned model: set scan=True, or {cure}')
  if model.experts:
    raise ValueError(f'a pipeline would lose the losses of experts, got {model.experts}: {cure}')
  if seen.get('slots') is not None:
    raise ValueError(f'a pipeline keeps no cache to decode with: {cure}')
  B, L = x_BLD.shape[:2]
  stack = {'params': model.variables['params']['blocks'], 'skips': skips}
  if train and model.has_rng('dropout'):
    stack['key'] = jax.random.split(model.make_rng('dropout'), len(skips))
  given = {name: jnp.broadcast_to(a, (B, L)) for name, a in seen.items() if a is not None}
  period = Period(model.clone(parent=None, name=None), model.windows, parent=None)

  def layer(one: Any, x: Any) -> Any:
    # Microbatches differ by their rows: so do their random numbers.
    rngs = {'dropout': jax.random.fold_in(one['key'], x['row'][0])} if 'key' in one else {}

    def run(block: Any, x_BLD: jax.Array, skip: jax.Array) -> jax.Array:
      return call(block, x_BLD, skip, x['given'])

    variables = {'params': one['params']}
    return {**x, 'x': period.apply(variables, x['x'], one['skips'], call=run, rngs=rngs)}

  return pipeline(layer, stack, {'x': x_BLD, 'row': jnp.arange(B), 'given': given})['x']
