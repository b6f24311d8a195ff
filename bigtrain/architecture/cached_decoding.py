"""How a language model writes on from what it keeps of a text, whatever that is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from bigtrain.architecture.decoders import DecoderLM, init_cache
from bigtrain.architecture.sequence_models import RecurrentLM


def cached_decode(
  model: Any,
) -> tuple[Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]], Callable[[int, int], Any]]:
  """Returns how a model goes on, and what it begins with.

  Args:
    model: A `DecoderLM`, which keeps keys and values; or a `RecurrentLM`, which keeps a state.

  Returns:
    `decode(variables, kept, tokens [B, L]) -> logits [B, L, V], kept`, and
    `begin(texts, tokens) -> kept`, with room for so many tokens a text.

  Raises:
    ValueError: The model keeps nothing.
  """
  if isinstance(model, DecoderLM):

    def decode(variables, cache, tokens_BL):
      variables = {**variables, 'cache': cache}
      logits_BLV, changed = model.apply(variables, tokens_BL, method='decode', mutable=['cache'])
      return logits_BLV, changed['cache']

    return decode, functools.partial(init_cache, model)
  if isinstance(model, RecurrentLM):

    def advance(variables, state, tokens_BL):
      return model.apply(variables, tokens_BL, state, method='advance')

    return advance, lambda texts, tokens: None
  kind = type(model).__name__
  raise ValueError(f'{kind} keeps no cache to write from: generate needs DecoderLM or RecurrentLM')
