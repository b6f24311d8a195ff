"""Generation: token after token from a model that keeps a cache, many in one dispatch.

Letters: B texts, L tokens of a prompt, N tokens of a chunk, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Decode = Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]


def generate(
  decode: Decode,
  variables: Any,
  new_cache: Callable[[int, int], Any],
  prompt_BL: np.ndarray,
  *,
  tokens: int,
  draw: Callable[[jax.Array, jax.Array], jax.Array],
  seed: int = 0,
  chunk: int = 16,
) -> Iterator[np.ndarray]:
  """Yields the next tokens of each text, int32 [B, N], until there are `tokens` of them.

  A text depends on the seed and on its row, not on how many rows or what chunks there are. What
  the caller does not ask for is not computed.

  Args:
    decode: `decode(variables, cache, tokens [B, L]) -> logits [B, L, V], cache`.
    variables: Of the model.
    new_cache: `new_cache(texts, slots)` gives an empty cache; None where the first call makes it.
    prompt_BL: int32, at least one a text; an array of several devices is worked on by these.
    tokens: How many to generate at most.
    draw: `draw(keys [B], logits [B, V]) -> tokens [B]`, such as `sample`.
    seed: Of the draws.
    chunk: Tokens of one dispatch.

  Raises:
    ValueError: There is no prompt, or a count is below 1.
  """
  check_counts(prompt_BL, tokens, chunk)
  return _chunks(decode, variables, new_cache, prompt_BL, tokens, draw, seed, min(chunk, tokens))


def check_counts(prompt_BL: np.ndarray, tokens: int, several: int) -> None:
  """Raises ValueError unless there are texts, a prompt, and tokens to make in chunks or beams."""
  if min(prompt_BL.shape) < 1 or tokens < 1 or several < 1:
    raise ValueError(
      'generation takes at least one text, one token of prompt, one token to make and one of a '
      f'chunk or beam, got a prompt {list(prompt_BL.shape)}, {tokens} tokens and {several}'
    )


def _chunks(decode, variables, new_cache, prompt_BL, tokens, draw, seed, chunk):
  texts, length = prompt_BL.shape
  keys_B = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(texts))

  def choose(logits_BLV: jax.Array, place: jax.Array) -> jax.Array:
    return draw(jax.vmap(jax.random.fold_in, (0, None))(keys_B, place), logits_BLV[:, -1])

  @functools.partial(jax.jit, donate_argnums=1)
  def begin(variables, cache, prompt_BL):
    logits_BLV, cache = decode(variables, cache, prompt_BL)
    return cache, choose(logits_BLV, jnp.int32(0))

  @functools.partial(jax.jit, donate_argnums=1)
  def go_on(variables, cache, token_B, place):
    def step(carry, i):
      cache, token_B = carry
      logits_BLV, cache = decode(variables, cache, token_B[:, None])
      return (cache, choose(logits_BLV, place + i + 1)), token_B

    (cache, token_B), out_NB = jax.lax.scan(step, (cache, token_B), jnp.arange(chunk))
    return cache, token_B, out_NB.T

  # The last chunk is as long as the others, so that one program serves; the rest is cut off.
  slots = length + -(-tokens // chunk) * chunk
  cache, token_B = begin(variables, new_cache(texts, slots), prompt_BL)
  for place in range(0, tokens, chunk):
    cache, token_B, out_BN = go_on(variables, cache, token_B, jnp.int32(place))
    yield np.asarray(out_BN)[:, : tokens - place]
