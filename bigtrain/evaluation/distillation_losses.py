"""Objectives of a student that imitates a teacher, whose outputs stand in the batch.

Conventions as in `batches`. What the teacher says is computed before (once, and kept with the
records) or by a map, and is data here: no gradient reaches it.

Letters: B examples, C classes (or the vocabulary), D width, H heads, L positions.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bigtrain.evaluation.batches import INPUTS, Apply, Batch, as_float, entry, inputs, pick
from bigtrain.evaluation.contrastive_losses import unit
from bigtrain.evaluation.means import Mean


def distillation(
  apply: Apply, batch: Batch, *, temperature: float = 2.0, hard: float = 0.0
) -> dict[str, Mean]:
  """The teacher's probabilities: `T^2 KL(teacher / T || student / T)` (Hinton et al. 2015,
  section 2), mixed with the cross-entropy of the label.

  Args:
    apply: Maps the batch's input ('image', 'features', 'audio', 'tokens', or 'inputs' of a language
      model, with its 'segment_ids') to logits [B, C] or [B, L, C].
    batch: Holds the input and 'teacher_logits', of the logits' shape. Optional: 'label' [B] or
      'targets' [B, L], integers; 'weight' [B] and 'token_weight' [B, L], which multiply.
    temperature: T, what logits are divided by.
    hard: Share of the label's cross-entropy in the loss; the divergence has the rest.

  Returns:
    'loss' and 'divergence' (nats, times T^2); 'agreement', the share in which student and teacher
    prefer the same class; with a label also 'accuracy'.

  Raises:
    ValueError: The batch lacks a key, or shapes don't fit.
  """
  if not temperature > 0:
    raise ValueError(f'distillation: temperature must be above 0, got {temperature}')
  logits = as_float(_call(apply, batch))
  teacher = _teacher(batch, 'teacher_logits', logits.shape)
  student_log = jax.nn.log_softmax(logits / temperature)
  teacher_log = jax.nn.log_softmax(teacher / temperature)
  divergence = temperature**2 * _divergence(teacher_log, student_log)
  weight = _weight(batch, logits.shape[:-1])
  best = jnp.argmax(logits, axis=-1)
  means = {
    'divergence': Mean.of(divergence, weight),
    'agreement': Mean.of(best == jnp.argmax(teacher, axis=-1), weight),
  }
  loss, key = divergence, 'targets' if 'targets' in batch else 'label'
  if hard or key in batch:
    label = entry(batch, key)
    if label.shape != logits.shape[:-1]:
      raise ValueError(
        f'batch[{key!r}] must have shape {logits.shape[:-1]} to fit logits of shape '
        f'{logits.shape}, got {label.shape}'
      )
    nats = jax.nn.logsumexp(logits, axis=-1) - pick(logits, label.astype(jnp.int32))
    loss = (1 - hard) * divergence + hard * nats if hard else divergence
    means['accuracy'] = Mean.of(best == label, weight)
  return {'loss': Mean.of(loss, weight), **means}


def feature_distillation(
  apply: Apply, batch: Batch, *, method: str = 'features', cosine: bool = False
) -> dict[str, Mean]:
  """The teacher's hidden states: the squared difference to the student's (Romero et al. 2015,
  equation 3), or 1 minus their cosine (Sanh et al. 2019, section 2).

  Args:
    apply: Maps the input to features, [B, D] or [B, L, D], by the model's method.
    batch: Holds the input, as for `distillation`, and 'teacher_features' of the same shape. A
      student of another width projects inside its method.
    method: Of the model.
    cosine: Whether only directions count.

  Returns:
    'loss', a mean over all numbers, or over all vectors with `cosine`.

  Raises:
    ValueError: The batch lacks a key, or shapes don't fit.
  """
  features = as_float(_call(apply, batch, method=method))
  teacher = _teacher(batch, 'teacher_features', features.shape)
  weight = _weight(batch, features.shape[:-1])
  if cosine:
    return {'loss': Mean.of(1 - jnp.sum(unit(features) * unit(teacher), axis=-1), weight)}
  return {'loss': Mean.of(jnp.square(features - teacher), weight)}


def attention_distillation(
  apply: Apply, batch: Batch, *, method: str = 'attention'
) -> dict[str, Mean]:
  """What the teacher looks at: `KL(teacher || student)` of attention, over heads and positions
  (Wang et al. 2020, equation 6).

  Args:
    apply: Maps the input to attention probabilities [B, H, L, L] by the model's method.
    batch: Holds the input, as for `distillation`, and 'teacher_attention' of the same shape.
    method: Of the model.

  Returns:
    'loss', nats a row of attention.

  Raises:
    ValueError: The batch lacks a key, or shapes don't fit.
  """
  attention_BHLL = as_float(_call(apply, batch, method=method))
  teacher_BHLL = _teacher(batch, 'teacher_attention', attention_BHLL.shape)
  logs = (jnp.log(jnp.maximum(x, 1e-30)) for x in (teacher_BHLL, attention_BHLL))
  return {'loss': Mean.of(_divergence(*logs), batch.get('weight'))}


def _divergence(p_log: jax.Array, q_log: jax.Array) -> jax.Array:
  """Returns KL(p || q) over the last axis; a probability of 0 adds nothing."""
  p = jnp.exp(p_log)
  return jnp.sum(jnp.where(p > 0, p * (p_log - q_log), 0), axis=-1)


def _call(apply: Apply, batch: Batch, **kwargs: Any) -> Any:
  if 'inputs' in batch and not any(key in batch for key in INPUTS):
    more = {'segment_ids': batch['segment_ids']} if 'segment_ids' in batch else {}
    return apply(batch['inputs'], **more, **kwargs)
  return apply(inputs(batch), **kwargs)


def _teacher(batch: Batch, key: str, shape: tuple[int, ...]) -> jax.Array:
  teacher = jax.lax.stop_gradient(as_float(entry(batch, key)))
  if teacher.shape != shape:
    raise ValueError(
      f"batch[{key!r}] must have the shape of the student's, {shape}, got {teacher.shape}"
    )
  return teacher


def _weight(batch: Batch, shape: tuple[int, ...]) -> Any:
  weight = batch.get('weight')
  if 'token_weight' not in batch or len(shape) < 2:
    return weight
  token_weight_BL = jnp.asarray(batch['token_weight'], jnp.float32)
  return token_weight_BL if weight is None else weight[:, None] * token_weight_BL
