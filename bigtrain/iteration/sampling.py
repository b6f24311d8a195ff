"""Sampling: from logits to the next token.

Letters: B examples, V vocabulary. A token that is left out has the logit -inf.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def keep_top_k(logits_BV: jax.Array, k: int) -> jax.Array:
  """Leaves out all but the k likeliest tokens, and those as likely as the last (Fan et al. 2018).

  Args:
    logits_BV: Logits [B, V].
    k: 0, or V and more, leaves none out.
  """
  if not 0 < k < logits_BV.shape[-1]:
    return logits_BV
  least = jax.lax.top_k(logits_BV, k)[0][:, -1:]
  return jnp.where(logits_BV >= least, logits_BV, -jnp.inf)


def keep_top_p(logits_BV: jax.Array, p: float) -> jax.Array:
  """Keeps the fewest likeliest tokens whose probability is p together (Holtzman et al. 2020).

  Args:
    logits_BV: Logits [B, V].
    p: In (0, 1]; 1 leaves none out.
  """
  if p >= 1:
    return logits_BV
  order = jnp.argsort(-logits_BV, axis=-1)
  ranked = jax.nn.softmax(jnp.take_along_axis(logits_BV, order, -1))
  kept = jnp.cumsum(ranked, -1) - ranked < p  # What came before it does not suffice.
  kept = jnp.take_along_axis(kept, jnp.argsort(order, axis=-1), -1)
  return jnp.where(kept, logits_BV, -jnp.inf)


def keep_min_p(logits_BV: jax.Array, p: float) -> jax.Array:
  """Keeps tokens at least p times as likely as the likeliest (Nguyen et al. 2024).

  Args:
    logits_BV: Logits [B, V].
    p: In [0, 1]; 0 leaves none out.
  """
  if p <= 0:
    return logits_BV
  least = logits_BV.max(-1, keepdims=True) + jnp.log(p)
  return jnp.where(logits_BV >= least, logits_BV, -jnp.inf)


def sample(
  keys_B: jax.Array,
  logits_BV: jax.Array,
  *,
  temperature: float = 1.0,
  top_k: int = 0,
  top_p: float = 1.0,
  min_p: float = 0.0,
) -> jax.Array:
  """Draws a token for each row, with the row's own key; returns int32 [B].

  Args:
    keys_B: Keys [B].
    logits_BV: Logits [B, V].
    temperature: Divides the logits, before anything is left out; 0 takes the likeliest token.
    top_k: As in `keep_top_k`, and first of the three.
    top_p: As in `keep_top_p`, of what top_k kept.
    min_p: As in `keep_min_p`.

  Raises:
    ValueError: A number is out of its range.
  """
  if temperature < 0 or top_k < 0 or not 0 < top_p <= 1 or not 0 <= min_p <= 1:
    raise ValueError(
      'sampling takes temperature >= 0, top_k >= 0, top_p in (0, 1] and min_p in [0, 1], '
      f'got {temperature}, {top_k}, {top_p} and {min_p}'
    )
  logits_BV = logits_BV.astype(jnp.float32)
  if temperature == 0:
    return jnp.argmax(logits_BV, -1).astype(jnp.int32)
  logits_BV = keep_top_k(logits_BV / temperature, top_k)
  logits_BV = keep_min_p(keep_top_p(logits_BV, top_p), min_p)
  return jax.vmap(jax.random.categorical)(keys_B, logits_BV).astype(jnp.int32)
