"""Beam search: the likeliest continuation, looked for among the best few at a time.

Letters: B texts, K beams of each, L tokens of a prompt, N new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigtrain.iteration.generation import Decode, check_counts


def beam_search(
  decode: Decode,
  variables: Any,
  new_cache: Callable[[int, int], Any],
  prompt_BL: np.ndarray,
  *,
  tokens: int,
  beams: int = 4,
  end: int | None = None,
  length_power: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the K best continuations of each text, best first, and what they score.

  Args:
    decode: As for `generate`.
    variables: Of the model.
    new_cache: As for `generate`.
    prompt_BL: Integers, at least one a text.
    tokens: N.
    beams: K, at most V.
    end: The token that ends a text: what follows it is `end` too, and counts nothing.
    length_power: What a log-probability is divided by, is the length to this power (Wu et al. 2016,
      section 7, without the constant 5); 0 prefers short texts, as the sum of logs does.

  Returns:
    Tokens int32 [B, K, N], and scores float32 [B, K].

  Raises:
    ValueError: A count is below 1, or there are more beams than tokens to begin with.
  """
  check_counts(prompt_BL, tokens, beams)
  texts = prompt_BL.shape[0]
  slots = prompt_BL.shape[1] + tokens
  prompt = jnp.asarray(np.repeat(prompt_BL, beams, axis=0), jnp.int32)
  axes = _text_axes(decode, variables, new_cache, prompt, slots)

  def scored(logits_KV: jax.Array, score_BK: jax.Array, done_BK: jax.Array) -> Any:
    """Returns the best K of B x K x V: (scores, beam that each goes on from, token)."""
    logs = jax.nn.log_softmax(logits_KV.astype(jnp.float32)).reshape(texts, beams, -1)
    V = logs.shape[-1]
    if end is not None:  # A text that has ended goes on in one way, at no cost.
      stays = jnp.where(jnp.arange(V) == end, 0.0, -jnp.inf)
      logs = jnp.where(done_BK[..., None], stays, logs)
    score_BK, place_BK = jax.lax.top_k((score_BK[..., None] + logs).reshape(texts, -1), beams)
    return score_BK, place_BK // V, (place_BK % V).astype(jnp.int32)

  def reordered(cache: Any, beam_BK: jax.Array) -> Any:
    rows = (jnp.arange(texts)[:, None] * beams + beam_BK).reshape(-1)
    return jax.tree.map(lambda x, axis: x if axis < 0 else jnp.take(x, rows, axis), cache, axes)

  @jax.jit
  def search(variables, cache, prompt):
    def step(carry, i):
      cache, logits_KV, score_BK, out_BKN = carry
      done_BK = jnp.zeros((texts, beams), bool)
      if end is not None:
        done_BK = (out_BKN == end).any(-1)
      score_BK, beam_BK, token_BK = scored(logits_KV, score_BK, done_BK)
      out_BKN = jnp.take_along_axis(out_BKN, beam_BK[..., None], axis=1)
      out_BKN = out_BKN.at[..., i].set(token_BK)
      logits_KLV, cache = decode(variables, reordered(cache, beam_BK), token_BK.reshape(-1, 1))
      return (cache, logits_KLV[:, -1], score_BK, out_BKN), None

    logits_KLV, cache = decode(variables, cache, prompt)
    # All beams are one at first: the others must not fill the best K with copies.
    score_BK = jnp.broadcast_to(jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf), (texts, beams))
    out_BKN = jnp.full((texts, beams, tokens), -1, jnp.int32)
    carry = (cache, logits_KLV[:, -1], score_BK, out_BKN)
    (_, _, score_BK, out_BKN), _ = jax.lax.scan(step, carry, jnp.arange(tokens))
    length_BK = jnp.full((texts, beams), tokens)
    if end is not None:
      length_BK = jnp.minimum(tokens, (out_BKN != end).sum(-1) + 1)
    score_BK = score_BK / length_BK.astype(jnp.float32) ** length_power
    order = jnp.argsort(-score_BK, axis=-1)
    out_BKN = jnp.take_along_axis(out_BKN, order[..., None], axis=1)
    return out_BKN, jnp.take_along_axis(score_BK, order, axis=-1)

  found, score_BK = search(variables, new_cache(texts * beams, slots), prompt)
  return np.asarray(found), np.asarray(score_BK)


def _text_axes(
  decode: Decode, variables: Any, new_cache: Any, prompt: jax.Array, slots: int
) -> Any:
  """Returns for each array of a cache the axis that counts texts, -1 where there is none."""

  def shapes(more: int) -> Any:
    tokens = jax.ShapeDtypeStruct((len(prompt) + more, prompt.shape[1]), jnp.int32)

    def first(variables, tokens):
      return decode(variables, new_cache(len(prompt) + more, slots), tokens)[1]

    return jax.eval_shape(first, variables, tokens)

  def axis(one: Any, other: Any) -> int:
    return next((i for i, n in enumerate(one.shape) if n != other.shape[i]), -1)

  return jax.tree.map(axis, shapes(0), shapes(1))
