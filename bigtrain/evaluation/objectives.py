"""What training minimises: functions `objective(apply, batch) -> dict of Means` with a 'loss'.

Conventions:

- `apply(x)` is the model with parameters, mode and randomness bound; the objective picks x and the
  targets from the batch by their keys, named in each docstring.
- batch['weight'], float [B] >= 0, is optional everywhere: 0 marks padding, which is ignored.
- A loss is in nats, in float32 whatever the model computes in.
- Options are keyword arguments: `functools.partial(softmax_cross_entropy, smoothing=0.1)`.

Letters: B examples, C classes, L tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bigtrain.evaluation.means import Mean

Apply = Callable[..., Any]
Batch = Mapping[str, Any]


def softmax_cross_entropy(apply: Apply, batch: Batch, *, smoothing: float = 0.0) -> dict[str, Mean]:
  """One class of several.

  Args:
    apply: Maps batch['image'] or batch['features'] to logits [B, C].
    batch: Holds 'image' or 'features', and 'label': integers [B] in 0 ... C - 1, or probabilities
      [B, C] (from mixing images, say).
    smoothing: Share of the target spread evenly over the C classes (Szegedy et al. 2016, section
      7); it changes the loss, not the accuracy. Leave it out for evaluation.

  Returns:
    'loss', nats an example, and 'accuracy', of the likeliest class.

  Raises:
    ValueError: The batch lacks a key, or label and logits don't fit.
  """
  logits_BC = _float(apply(_inputs(batch)))
  label = _label(batch)
  if label.shape == logits_BC.shape:
    hard_B = jnp.argmax(label, axis=-1)
    target_logit_B = jnp.sum(label * logits_BC, axis=-1)
  elif label.shape == logits_BC.shape[:1]:
    hard_B = label.astype(jnp.int32)
    target_logit_B = _pick(logits_BC, hard_B)
  else:
    raise ValueError(
      f"batch['label'] must have shape {logits_BC.shape[:1]} (classes) or {logits_BC.shape} "
      f'(probabilities) to fit logits of shape {logits_BC.shape}, got {label.shape}'
    )
  if smoothing:
    even_B = jnp.mean(logits_BC, axis=-1)
    target_logit_B = (1 - smoothing) * target_logit_B + smoothing * even_B
  loss_B = jax.nn.logsumexp(logits_BC, axis=-1) - target_logit_B
  right_B = jnp.argmax(logits_BC, axis=-1) == hard_B
  weight = batch.get('weight')
  return {'loss': Mean.of(loss_B, weight), 'accuracy': Mean.of(right_B, weight)}


def sigmoid_cross_entropy(apply: Apply, batch: Batch) -> dict[str, Mean]:
  """Yes or no, once or for each of several labels.

  Args:
    apply: Maps batch['image'] or batch['features'] to logits [B], [B, 1] or [B, C].
    batch: Holds 'image' or 'features', and 'label': numbers in [0, 1] of shape [B], or [B, C].

  Returns:
    'loss', nats an answer, and 'accuracy', share of answers on the right side of 1/2 (at exactly
    1/2 the answer is no).

  Raises:
    ValueError: The batch lacks a key, or label and logits don't fit.
  """
  logits, label = _same_shape(_float(apply(_inputs(batch))), _label(batch))
  # softplus(z) - y z, in the form that doesn't overflow.
  loss = jnp.maximum(logits, 0) - logits * label + jnp.log1p(jnp.exp(-jnp.abs(logits)))
  right = (logits > 0) == (label > 0.5)
  weight = batch.get('weight')
  return {'loss': Mean.of(loss, weight), 'accuracy': Mean.of(right, weight)}


def mean_squared_error(apply: Apply, batch: Batch) -> dict[str, Mean]:
  """A number, or several.

  Args:
    apply: Maps batch['image'] or batch['features'] to predictions [B], [B, 1] or [B, C].
    batch: Holds 'image' or 'features', and 'label': numbers [B], or [B, C].

  Returns:
    'loss', the squared error in squared units of the label, and 'absolute_error', in its units.

  Raises:
    ValueError: The batch lacks a key, or label and predictions don't fit.
  """
  prediction, label = _same_shape(_float(apply(_inputs(batch))), _label(batch))
  error = prediction - label
  weight = batch.get('weight')
  return {
    'loss': Mean.of(jnp.square(error), weight),
    'absolute_error': Mean.of(jnp.abs(error), weight),
  }


def next_token(apply: Apply, batch: Batch) -> dict[str, Mean]:
  """The next token of a text.

  Args:
    apply: Maps batch['inputs'] to logits [B, L, V]; called with `segment_ids=` too when the batch
      has them.
    batch: Holds 'inputs' and 'targets', integers [B, L]. Optional: 'weight' [B] and 'token_weight'
      [B, L], which multiply; 'bytes' [B, L], how many bytes of text each target stands for (0 for
      a token that isn't text); 'segment_ids' [B, L], documents that must not see each other.

  Returns:
    'loss', nats a token; 'accuracy'; and 'bits_per_byte', the information of all targets over
    their bytes, comparable between tokenisers. Without 'bytes', every target counts as one byte:
    exact for bytes, and for ASCII characters.

  Raises:
    ValueError: The batch lacks a key, or targets and logits don't fit.
  """
  for key in ('inputs', 'targets'):
    if key not in batch:
      raise ValueError(f"batch must hold 'inputs' and 'targets', got {sorted(batch)}: add {key!r}")
  more = {'segment_ids': batch['segment_ids']} if 'segment_ids' in batch else {}
  logits_BLV = _float(apply(batch['inputs'], **more))
  targets_BL = batch['targets']
  if logits_BLV.shape[:-1] != targets_BL.shape:
    raise ValueError(
      f"batch['targets'] must have shape {logits_BLV.shape[:-1]} to fit logits of shape "
      f'{logits_BLV.shape}, got {targets_BL.shape}'
    )
  loss_BL = jax.nn.logsumexp(logits_BLV, axis=-1) - _pick(logits_BLV, targets_BL)
  right_BL = jnp.argmax(logits_BLV, axis=-1) == targets_BL
  weight = batch.get('weight')
  if 'token_weight' in batch:
    token_weight_BL = jnp.asarray(batch['token_weight'], jnp.float32)
    weight = token_weight_BL if weight is None else weight[:, None] * token_weight_BL
  return {
    'loss': Mean.of(loss_BL, weight),
    'accuracy': Mean.of(right_BL, weight),
    'bits_per_byte': Mean.ratio(loss_BL / math.log(2), batch.get('bytes', 1.0), weight),
  }


def _inputs(batch: Batch) -> Any:
  for key in ('image', 'features'):
    if key in batch:
      return batch[key]
  raise ValueError(
    f"batch must hold 'image' or 'features' as the model's input, got {sorted(batch)}"
  )


def _label(batch: Batch) -> jax.Array:
  if 'label' not in batch:
    raise ValueError(f"batch must hold 'label', got {sorted(batch)}")
  return jnp.asarray(batch['label'])


def _float(logits: Any) -> jax.Array:
  return jnp.asarray(logits, jnp.float32)


def _pick(logits: jax.Array, index: jax.Array) -> jax.Array:
  return jnp.take_along_axis(logits, index[..., None], axis=-1)[..., 0]


def _same_shape(outputs: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
  if outputs.ndim == label.ndim + 1 and outputs.shape[-1] == 1:
    outputs = outputs[..., 0]
  # Checked, because [B, 1] against [B] would broadcast to [B, B] without a word.
  if outputs.shape != label.shape:
    raise ValueError(
      f"batch['label'] must have the shape of the model's outputs, {outputs.shape}, "
      f'got {label.shape}'
    )
  return outputs, label.astype(jnp.float32)
