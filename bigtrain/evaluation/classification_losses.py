"""Objectives for classes: one of several, yes or no, ordered.

Conventions as in `batches`. Letters: B examples, C classes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bigtrain.evaluation.batches import (
  Apply,
  Batch,
  as_float,
  entry,
  inputs,
  outputs_and_label,
  pick,
  sigmoid_nats,
)
from bigtrain.evaluation.means import Mean


def softmax_cross_entropy(
  apply: Apply, batch: Batch, *, smoothing: float = 0.0, z_loss: float = 0.0
) -> dict[str, Mean]:
  """One class of several: `logsumexp(z) - z_label`.

  Args:
    apply: Maps batch['image'], ['features'], ['audio'] or ['tokens'] to logits [B, C].
    batch: Holds the input, and 'label': integers [B] in 0 ... C - 1, or probabilities [B, C] (from
      mixing images, say).
    smoothing: Share of the target spread evenly over the C classes (Szegedy et al. 2016, section
      7); it changes the loss, not the accuracy. Leave it out for evaluation.
    z_loss: Weight of `logsumexp(z)^2`, which keeps logits near 0 (Chowdhery et al. 2022, section
      5); 1e-4 is usual. Leave it out for evaluation.

  Returns:
    'loss', nats an example, and 'accuracy', of the likeliest class.

  Raises:
    ValueError: The batch lacks a key, or label and logits don't fit.
  """
  logits_BC = as_float(apply(inputs(batch)))
  hard_B, target_logit_B = _targets(logits_BC, entry(batch, 'label'))
  if smoothing:
    even_B = jnp.mean(logits_BC, axis=-1)
    target_logit_B = (1 - smoothing) * target_logit_B + smoothing * even_B
  z_B = jax.nn.logsumexp(logits_BC, axis=-1)
  loss_B = z_B - target_logit_B
  if z_loss:
    loss_B = loss_B + z_loss * jnp.square(z_B)
  right_B = jnp.argmax(logits_BC, axis=-1) == hard_B
  weight = batch.get('weight')
  return {'loss': Mean.of(loss_B, weight), 'accuracy': Mean.of(right_B, weight)}


def sigmoid_cross_entropy(apply: Apply, batch: Batch) -> dict[str, Mean]:
  """Yes or no, once or for each of several labels: `softplus(z) - y z`.

  Args:
    apply: Maps the input, as for `softmax_cross_entropy`, to logits [B], [B, 1] or [B, C].
    batch: Holds the input, and 'label': numbers in [0, 1] of shape [B], or [B, C].

  Returns:
    'loss', nats an answer, and 'accuracy', share of answers on the right side of 1/2 (at exactly
    1/2 the answer is no).

  Raises:
    ValueError: The batch lacks a key, or label and logits don't fit.
  """
  logits, label = outputs_and_label(apply, batch)
  right = (logits > 0) == (label > 0.5)
  weight = batch.get('weight')
  return {
    'loss': Mean.of(sigmoid_nats(logits, label), weight),
    'accuracy': Mean.of(right, weight),
  }


def focal(
  apply: Apply, batch: Batch, *, gamma: float = 2.0, alpha: float | None = None
) -> dict[str, Mean]:
  """Cross-entropy times `(1 - p)^gamma`, p of the right answer: easy examples count for little.

  Lin et al. 2017, equations 4 and 5; with gamma 0 it is the cross-entropy.

  Args:
    apply: Maps the input, as for `softmax_cross_entropy`, to logits: [B, C] where the label is a
      class, else of the label's shape (or [B, 1]).
    batch: Holds the input, and 'label': integers [B] for one class of C; numbers in [0, 1] of the
      logits' shape for yes or no.
    gamma: How little easy examples count.
    alpha: Weight of yes, where no has 1 - alpha; None weighs both 1. For yes or no alone.

  Returns:
    'loss' and 'accuracy'.

  Raises:
    ValueError: The batch lacks a key, label and logits don't fit, or alpha is given for classes.
  """
  logits, label = as_float(apply(inputs(batch))), entry(batch, 'label')
  weight = batch.get('weight')
  if logits.ndim == 2 and logits.shape[-1] > 1 and label.shape == logits.shape[:1]:
    if alpha is not None:
      raise ValueError(f'focal: alpha weighs yes against no, got {alpha} for classes: leave it out')
    hard_B, target_logit_B = _targets(logits, label)
    nats = jax.nn.logsumexp(logits, axis=-1) - target_logit_B
    miss = -jnp.expm1(-nats)
    right = jnp.argmax(logits, axis=-1) == hard_B
  else:
    logits, label = outputs_and_label(lambda _: logits, batch)
    nats = sigmoid_nats(logits, label)
    miss = jax.nn.sigmoid(logits) * (1 - label) + jax.nn.sigmoid(-logits) * label
    right = (logits > 0) == (label > 0.5)
    if alpha is not None:
      nats = (alpha * label + (1 - alpha) * (1 - label)) * nats
  # Selected before raised: below gamma 1 the gradient of 0^gamma is infinite.
  loss = jnp.where(miss > 0, jnp.where(miss > 0, miss, 1) ** gamma * nats, 0) if gamma else nats
  return {'loss': Mean.of(loss, weight), 'accuracy': Mean.of(right, weight)}


def ordinal_cross_entropy(apply: Apply, batch: Batch) -> dict[str, Mean]:
  """Classes in an order: one question 'is it above class k?' for each border.

  `sum over k of softplus(z_k) - [label > k] z_k` (Frank and Hall 2001; Cao et al. 2020, where the
  logits share their weights and differ by a bias).

  Args:
    apply: Maps the input, as for `softmax_cross_entropy`, to logits [B, C - 1].
    batch: Holds the input, and 'label': integers [B] in 0 ... C - 1.

  Returns:
    'loss', nats an example; 'accuracy'; and 'absolute_error', in classes. The prediction is the
    number of questions answered with yes.

  Raises:
    ValueError: The batch lacks a key, or label and logits don't fit.
  """
  logits_BK, label_B = as_float(apply(inputs(batch))), entry(batch, 'label')
  if logits_BK.shape[:-1] != label_B.shape or logits_BK.ndim != 2:
    raise ValueError(
      f"batch['label'] must hold classes of shape {logits_BK.shape[:1]} to fit logits "
      f'{logits_BK.shape} (one for each border of classes), got {label_B.shape}'
    )
  above_BK = (label_B[:, None] > jnp.arange(logits_BK.shape[-1])).astype(jnp.float32)
  predicted_B = jnp.sum(logits_BK > 0, axis=-1)
  weight = batch.get('weight')
  return {
    'loss': Mean.of(jnp.sum(sigmoid_nats(logits_BK, above_BK), axis=-1), weight),
    'accuracy': Mean.of(predicted_B == label_B, weight),
    'absolute_error': Mean.of(jnp.abs(predicted_B - label_B), weight),
  }


def _targets(logits_BC: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the likeliest class of the label, and the logit that the label expects."""
  if label.shape == logits_BC.shape:
    return jnp.argmax(label, axis=-1), jnp.sum(label * logits_BC, axis=-1)
  if label.shape == logits_BC.shape[:1]:
    hard_B = label.astype(jnp.int32)
    return hard_B, pick(logits_BC, hard_B)
  raise ValueError(
    f"batch['label'] must have shape {logits_BC.shape[:1]} (classes) or {logits_BC.shape} "
    f'(probabilities) to fit logits of shape {logits_BC.shape}, got {label.shape}'
  )
