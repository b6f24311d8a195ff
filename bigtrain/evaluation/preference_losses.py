"""Objectives over pairs of answers, of which a person preferred one.

A batch is as `data.preference_pairs` makes it: 'chosen_inputs', 'chosen_targets' and
'chosen_token_weight' [B, L], and the same of 'rejected'. Optional: 'weight' [B].

Letters: B pairs, L tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bigtrain.evaluation.batches import Apply, Batch, as_float, entry, pick
from bigtrain.evaluation.means import Mean

_RECORDED = ('reference_chosen', 'reference_rejected')


def dpo(
  apply: Apply,
  batch: Batch,
  *,
  beta: float = 0.1,
  smoothing: float = 0.0,
  reference: Mapping[str, Any] | None = None,
) -> dict[str, Mean]:
  """Direct preference optimisation (Rafailov et al. 2023, equation 7).

  `-log sigmoid(beta (log p(chosen) / q(chosen) - log p(rejected) / q(rejected)))`, p the policy
  that is trained and q the reference that it begins with.

  Args:
    apply: Maps tokens [B, L] to logits [B, L, V].
    batch: As the module says; with 'reference_chosen' and 'reference_rejected' [B], the log
      probabilities that q gives (`pair_log_probabilities`), unless `reference` is given.
    beta: How dear it is to leave the reference.
    smoothing: Probability that a pair is the wrong way round.
    reference: What turns `apply` into the reference, as keyword arguments: `{'lora': False}` asks
      the frozen model below the adapters of `iteration.LoRA`. Keep dropout at 0 then.

  Returns:
    'loss'; 'accuracy', the share of pairs in which the policy prefers the chosen answer more than
    the reference does; 'margin', what the sigmoid sees; 'chosen_reward' and 'rejected_reward',
    `beta log p / q`, whose difference that is.

  Raises:
    ValueError: The batch lacks a key, or a number is out of its range.
  """
  if not beta > 0 or not 0 <= smoothing < 0.5:
    raise ValueError(
      f'dpo takes beta above 0 and smoothing in [0, 0.5), got {beta} and {smoothing}'
    )
  policy_2B = _pairs(apply, batch)
  if reference is not None:
    reference_2B = _pairs(lambda *args, **more: apply(*args, **more, **reference), batch)
  else:
    reference_2B = jnp.concatenate([as_float(entry(batch, key)) for key in _RECORDED])
  rewards_2B = beta * (policy_2B - jax.lax.stop_gradient(reference_2B))
  chosen_B, rejected_B = jnp.split(rewards_2B, 2)
  margin_B = chosen_B - rejected_B
  loss_B = -(1 - smoothing) * jax.nn.log_sigmoid(margin_B)
  loss_B = loss_B - smoothing * jax.nn.log_sigmoid(-margin_B) if smoothing else loss_B
  weight = batch.get('weight')
  return {
    'loss': Mean.of(loss_B, weight),
    'accuracy': Mean.of(margin_B > 0, weight),
    'margin': Mean.of(margin_B, weight),
    'chosen_reward': Mean.of(chosen_B, weight),
    'rejected_reward': Mean.of(rejected_B, weight),
  }


def pair_log_probabilities(apply: Apply, batch: Batch) -> dict[str, jax.Array]:
  """Returns 'reference_chosen' and 'reference_rejected' [B]: what a reference says, to be kept with
  the pairs and given to `dpo`.

  Each is the sum over the answer's tokens of the log probability of the token.
  """
  return dict(zip(_RECORDED, jnp.split(_pairs(apply, batch), 2), strict=True))


def _pairs(apply: Apply, batch: Batch) -> jax.Array:
  """Returns log probabilities [2 B], the chosen answers first; one call of the model."""
  inputs, targets, weight = (
    jnp.concatenate([entry(batch, f'{side}_{name}') for side in ('chosen', 'rejected')])
    for name in ('inputs', 'targets', 'token_weight')
  )
  logits = as_float(apply(inputs))
  nats = jax.nn.logsumexp(logits, axis=-1) - pick(logits, targets)
  return -jnp.sum(nats * weight, axis=-1)
