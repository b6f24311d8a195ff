"""How a language model writes on from what it keeps of a text, whatever that is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigtrain.architecture.decoders import DecoderLM, init_cache
from bigtrain.architecture.encoder_decoders import EncoderDecoder
from bigtrain.architecture.sequence_models import RecurrentLM
from bigtrain.architecture.tiled_products import through_tiles, tiles_of

_TO_READ = 'to_read'  # In a new cache alone: the first call reads, and keeps what it made of it.


def cached_decode(
  model: Any, read: jax.Array | np.ndarray | None = None
) -> tuple[Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]], Callable[[int, int], Any]]:
  """Returns how a model goes on, and what it begins with.

  Args:
    model: A `DecoderLM`, which keeps keys and values; an `EncoderDecoder`, which keeps what it read
      too; or a `RecurrentLM`, which keeps a state.
    read: Tokens [B, M] that an `EncoderDecoder` reads; its prompt is the token that starts.

  Returns:
    `decode(variables, kept, tokens [B, L]) -> logits [B, L, V], kept`, and
    `begin(texts, tokens) -> kept`, with room for so many tokens a text.

  Raises:
    ValueError: The model keeps nothing, or has nothing to read.
  """
  if isinstance(model, DecoderLM):

    def decode(variables, cache, tokens_BL):
      variables = {**variables, 'cache': cache}
      with nn.intercept_methods(through_tiles):
        logits_BLV, changed = model.apply(variables, tokens_BL, method='decode', mutable=['cache'])
      return logits_BLV, changed['cache']

    return decode, functools.partial(init_cache, model)
  if isinstance(model, RecurrentLM):

    def advance(variables, state, tokens_BL):
      return model.apply(variables, tokens_BL, state, method='advance')

    return advance, lambda texts, tokens: None
  if isinstance(model, EncoderDecoder):
    if read is None:
      raise ValueError('EncoderDecoder writes about what it reads: give read, tokens [B, M]')

    def write(variables, cache, tokens_BL):
      rest = {name: x for name, x in cache.items() if name != _TO_READ}
      logits_BLV, changed = model.apply(
        {**variables, 'cache': rest}, tokens_BL, cache.get(_TO_READ), method='write',
        mutable=['cache'],
      )  # fmt: skip
      return logits_BLV, changed['cache']

    def begin(texts, tokens):
      if texts != len(read):
        raise ValueError(f'{len(read)} texts were read, and {texts} are to be written')

      def start():
        one = jnp.zeros((texts, 1), jnp.int32)
        return model.init(jax.random.key(0), one, read, length=tokens, method='write')['cache']

      empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(start))
      return {**empty, _TO_READ: jnp.asarray(read)}

    return write, begin
  kind = type(model).__name__
  raise ValueError(f'{kind} keeps no cache to write from: generate needs DecoderLM or RecurrentLM')


def tiled(model: Any, variables: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns variables for `cached_decode(model)` that write one text faster on a CPU.

  A `DecoderLM` gets its large matrices as tiles (`tiled_products`), in new memory; it computes the
  same up to rounding, and reads a prompt as fast. Any other model's variables stay as they are.
  """
  if not isinstance(model, DecoderLM):
    return variables
  return {**variables, 'params': tiles_of(variables['params'])}
