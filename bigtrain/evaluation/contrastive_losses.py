"""Objectives over embeddings: what belongs together lies close together.

Conventions as in `batches`. The contrastive ones compare each example with all others of the batch,
so they depend on how examples are grouped: `accumulate` splits the batch they see, and a value over
evaluation data compares within its batches. Retrieval over all of it is an evaluator's work.

Letters: B examples, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bigtrain.evaluation.batches import Apply, Batch, as_float, entry, sigmoid_nats
from bigtrain.evaluation.means import JointMean, Mean

_NEVER = -1e30  # A logit; minus infinity would make NaN gradients in a batch of padding alone.


def triplet(apply: Apply, batch: Batch, *, margin: float = 0.2) -> dict[str, Mean]:
  """An anchor lies closer to its like than to another: `max(0, d(a, p) - d(a, n) + margin)`.

  d is the squared Euclidean distance of embeddings of length 1 (Schroff et al. 2015, equation 2).

  Args:
    apply: Maps each of batch['anchor'], ['positive'] and ['negative'] to embeddings [B, D].
    batch: Holds the three.
    margin: By how much the distances are to differ.

  Returns:
    'loss', and 'accuracy', the share of anchors closer to their like.

  Raises:
    ValueError: The batch lacks a key.
  """
  embed = (unit(apply(entry(batch, key))) for key in ('anchor', 'positive', 'negative'))
  anchor_BD, positive_BD, negative_BD = embed
  near_B = jnp.sum(jnp.square(anchor_BD - positive_BD), axis=-1)
  far_B = jnp.sum(jnp.square(anchor_BD - negative_BD), axis=-1)
  weight = batch.get('weight')
  loss_B = jnp.maximum(near_B - far_B + margin, 0)
  return {'loss': Mean.of(loss_B, weight), 'accuracy': Mean.of(near_B < far_B, weight)}


def softmax_contrastive(
  apply: Apply, batch: Batch, *, keys: tuple[str, str] = ('image', 'tokens')
) -> dict[str, Mean]:
  """Each image finds its text among those of the batch, and each text its image.

  The mean of both cross-entropies of `scale * x_i . y_j` (Radford et al. 2021, section 2.3).

  Args:
    apply: Maps both inputs to (image embeddings [B, D], text embeddings [B, D], scale, ...), or to
      a mapping with 'image', 'text' and 'scale'. Embeddings are brought to length 1 here; the scale
      multiplies cosines as it is (the exponential belongs to the model).
    batch: Holds both inputs. Optional: 'group', integers [B]; pairs of one group belong together
      as well (one thing named twice), and the target is spread evenly over them.
    keys: Of the two inputs.

  Returns:
    'loss', nats a question; 'image_to_text' and 'text_to_image', the share of answers that are
    right, within the batch.

  Raises:
    ValueError: The batch lacks a key, or the model returns something else.
  """
  logits_BB, real_B = _logits(apply, batch, keys, bias=False)
  together_BB = _together(batch, real_B)
  target_BB = together_BB / jnp.maximum(jnp.sum(together_BB, axis=1, keepdims=True), 1)
  # Padding answers nothing, and is no answer either.
  masked_BB = jnp.where(real_B[None, :], logits_BB, _NEVER)
  turned_BB = jnp.where(real_B[None, :], logits_BB.T, _NEVER)

  def nats(rows_BB: jax.Array) -> jax.Array:
    finite_BB = jnp.where(real_B[None, :], rows_BB, 0)
    return jax.nn.logsumexp(rows_BB, axis=1) - jnp.sum(target_BB * finite_BB, axis=1)

  weight = jnp.asarray(batch.get('weight', jnp.ones(len(real_B))), jnp.float32)
  return {
    'loss': JointMean.of((nats(masked_BB) + nats(turned_BB)) / 2, weight),
    'image_to_text': JointMean.of(_right(masked_BB, together_BB), weight),
    'text_to_image': JointMean.of(_right(turned_BB, together_BB), weight),
  }


def sigmoid_contrastive(
  apply: Apply, batch: Batch, *, keys: tuple[str, str] = ('image', 'tokens')
) -> dict[str, Mean]:
  """Does this image go with this text? Asked of every pair of the batch.

  `sum over pairs of softplus(-s (scale * x_i . y_j + bias)) / B`, s = 1 for a pair that belongs
  together and -1 for others (Zhai et al. 2023, equation 1).

  Args:
    apply: As for `softmax_contrastive`, with a bias after the scale ('bias' in a mapping).
    batch: As for `softmax_contrastive`.
    keys: Of the two inputs.

  Returns:
    'loss', nats an image; 'image_to_text' and 'text_to_image', as for `softmax_contrastive`.

  Raises:
    ValueError: The batch lacks a key, or the model returns something else.
  """
  logits_BB, real_B = _logits(apply, batch, keys, bias=True)
  together_BB = _together(batch, real_B)
  nats_BB = sigmoid_nats(logits_BB, together_BB)
  loss_B = jnp.sum(jnp.where(real_B[None, :], nats_BB, 0), axis=1)
  weight = jnp.asarray(batch.get('weight', jnp.ones(len(real_B))), jnp.float32)
  masked_BB = jnp.where(real_B[None, :], logits_BB, _NEVER)
  turned_BB = jnp.where(real_B[None, :], logits_BB.T, _NEVER)
  return {
    'loss': JointMean.of(loss_B, weight),
    'image_to_text': JointMean.of(_right(masked_BB, together_BB), weight),
    'text_to_image': JointMean.of(_right(turned_BB, together_BB), weight),
  }


def unit(x_BD: Any) -> jax.Array:
  """Returns vectors of length 1 in float32; a vector of zeros stays, with a finite gradient."""
  x_BD = as_float(x_BD)
  return x_BD * jax.lax.rsqrt(jnp.maximum(jnp.sum(x_BD**2, axis=-1, keepdims=True), 1e-12))


def towers(output: Any) -> tuple[Any, Any, Any, Any]:
  """Returns (image embeddings, text embeddings, scale, bias or None) of what two towers return."""
  if isinstance(output, Mapping) and {'image', 'text', 'scale'} <= output.keys():
    return output['image'], output['text'], output['scale'], output.get('bias')
  if isinstance(output, tuple | list) and len(output) in (3, 4):
    image, text, scale, *bias = output
    return image, text, scale, bias[0] if bias else None
  kind = sorted(output) if isinstance(output, Mapping) else type(output).__name__
  raise ValueError(
    'two towers must return (image embeddings, text embeddings, scale[, bias]) or a mapping with '
    f"'image', 'text', 'scale' and perhaps 'bias', got {kind}"
  )


def _logits(
  apply: Apply, batch: Batch, keys: tuple[str, str], bias: bool
) -> tuple[jax.Array, jax.Array]:
  """Returns the logits of all pairs, [image, text], and which examples are real."""
  given = [entry(batch, key) for key in keys]
  image_BD, text_BD, scale, offset = towers(apply(*given))
  if image_BD.shape != text_BD.shape or image_BD.ndim != 2:
    raise ValueError(
      'embeddings of images and texts must have one shape [B, D], '
      f'got {image_BD.shape} and {text_BD.shape}'
    )
  if bias and offset is None:
    raise ValueError('sigmoid_contrastive needs a bias: let the model return one after the scale')
  real_B = jnp.asarray(batch.get('weight', jnp.ones(image_BD.shape[0]))) > 0
  # Selected before multiplied: padding may embed as NaN.
  image_BD, text_BD = (unit(jnp.where(real_B[:, None], x, 0)) for x in (image_BD, text_BD))
  # Exact in float32: a TPU's default would round cosines to 3 digits before the scale of 100.
  cosine_BB = jnp.matmul(image_BD, text_BD.T, precision=jax.lax.Precision.HIGHEST)
  logits_BB = as_float(scale).reshape(()) * cosine_BB
  return (logits_BB + as_float(offset).reshape(()) if bias else logits_BB), real_B


def _together(batch: Batch, real_B: jax.Array) -> jax.Array:
  if 'group' not in batch:
    return jnp.eye(len(real_B))
  group_B = jnp.asarray(batch['group'])
  same_BB = group_B[:, None] == group_B[None, :]
  return jnp.where(same_BB & real_B[:, None] & real_B[None, :], 1.0, 0.0)


def _right(rows_BB: jax.Array, together_BB: jax.Array) -> jax.Array:
  best_B = jnp.argmax(rows_BB, axis=1)
  return jnp.take_along_axis(together_BB, best_B[:, None], axis=1)[:, 0] > 0
