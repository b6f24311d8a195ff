"""Objectives over tokens: the next, the masked, and the corrupted spans.

Conventions as in `batches`. In all of them batch['targets'], integers [B, L], is what is predicted
at each position. Optional: 'weight' [B] and 'token_weight' [B, L], which multiply; 'bytes' [B, L],
how many bytes of text each target stands for (0 for a token that isn't text).

They return 'loss', nats a token; 'accuracy'; 'perplexity', e to the mean nats of a token; and
'bits_per_byte', the information of all targets over their bytes, comparable between tokenisers.
Without 'bytes', every target counts as one byte: exact for bytes, and for ASCII characters.

Letters: B examples, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from bigtrain.evaluation.batches import Apply, Batch, as_float, entry, pick
from bigtrain.evaluation.means import ExpMean, Mean


def next_token(
  apply: Apply, batch: Batch, *, chunks: int = 1, z_loss: float = 0.0
) -> dict[str, Mean]:
  """The next token of a text.

  Args:
    apply: Maps batch['inputs'] to logits [B, L, V]; called with `segment_ids=` too when the batch
      has them. With `chunks`, the model's methods `features` and `head` are called instead.
    batch: Holds 'inputs' and 'targets', integers [B, L]. Optional: what the module names, and
      'segment_ids' [B, L], documents that must not see each other.
    chunks: Pieces of the sequence whose logits are made one after another, and once more in the
      backward pass: B L V / chunks numbers are alive instead of B L V. Equal to float32 rounding.
    z_loss: Weight of `logsumexp(z)^2` in the loss (Chowdhery et al. 2022, section 5).

  Returns:
    'loss', 'accuracy', 'perplexity' and 'bits_per_byte'.

  Raises:
    ValueError: The batch lacks a key, targets and logits don't fit, or chunks don't divide L.
  """
  more = {'segment_ids': batch['segment_ids']} if 'segment_ids' in batch else {}
  return _token_loss(apply, batch, ('inputs',), more, chunks, z_loss)


def masked_token(
  apply: Apply, batch: Batch, *, chunks: int = 1, z_loss: float = 0.0
) -> dict[str, Mean]:
  """The tokens behind the masks (Devlin et al. 2019, section 3.1).

  Args:
    apply: As for `next_token`, but each position may see all others.
    batch: Holds 'inputs', with masks; 'targets', the text without them; and 'token_weight' [B, L],
      1 where a token was chosen and 0 elsewhere. Optional: as for `next_token`.
    chunks: As for `next_token`.
    z_loss: As for `next_token`.

  Returns:
    'loss', 'accuracy', 'perplexity' and 'bits_per_byte', of the chosen tokens.

  Raises:
    ValueError: As for `next_token`; or 'token_weight' is missing, without which the model would be
      asked to copy what it sees.
  """
  entry(batch, 'token_weight')
  return next_token(apply, batch, chunks=chunks, z_loss=z_loss)


def span_corruption(
  apply: Apply, batch: Batch, *, chunks: int = 1, z_loss: float = 0.0
) -> dict[str, Mean]:
  """What was cut out of a text, by an encoder and a decoder (Raffel et al. 2020, section 3.1.4).

  Args:
    apply: Maps batch['inputs'] [B, M] and batch['decoder_inputs'] [B, L] to logits [B, L, V]; with
      `chunks`, by the model's methods `features` and `head`.
    batch: Holds them and 'targets' [B, L], as `data.span_corruption(layout='encoder_decoder')`
      makes them. Optional: what the module names.
    chunks: As for `next_token`.
    z_loss: As for `next_token`.

  Returns:
    'loss', 'accuracy', 'perplexity' and 'bits_per_byte', of the targets.

  Raises:
    ValueError: As for `next_token`.
  """
  return _token_loss(apply, batch, ('inputs', 'decoder_inputs'), {}, chunks, z_loss)


def token_nats(apply: Apply, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Returns nats, whether the likeliest token is right, weight and bytes of each target, [B, L].

  The batch is read as by `span_corruption` where it holds 'decoder_inputs', else by `next_token`.
  """
  keys = ('inputs', 'decoder_inputs') if 'decoder_inputs' in batch else ('inputs',)
  more = {'segment_ids': batch['segment_ids']} if 'segment_ids' in batch else {}
  given, (targets_BL, weight_BL, bytes_BL) = _read(batch, keys)
  _, nats_BL, right_BL = _nats(as_float(apply(*given, **more)), targets_BL)
  return nats_BL, right_BL, weight_BL, bytes_BL


def _token_loss(
  apply: Apply, batch: Batch, keys: tuple[str, ...], more: Any, chunks: int, z_loss: float
) -> dict[str, Mean]:
  given, judged = _read(batch, keys)
  targets_BL = judged[0]
  if chunks == 1:
    return _judge(as_float(apply(*given, **more)), judged, z_loss)
  length = targets_BL.shape[1]
  if chunks < 1 or length % chunks:
    raise ValueError(
      f'chunks must divide the {length} positions of a row, got {chunks}: use a divisor, such as '
      f'{max(n for n in range(1, max(1, min(chunks, length)) + 1) if length % n == 0)}'
    )

  def cut(x_BL: jax.Array) -> jax.Array:
    return jnp.moveaxis(x_BL.reshape(x_BL.shape[0], chunks, -1, *x_BL.shape[2:]), 1, 0)

  def judge(x_BLD: jax.Array, *judged: jax.Array) -> dict[str, Mean]:
    return _judge(as_float(apply(x_BLD, method='head')), judged, z_loss)

  x_BLD = apply(*given, method='features', **more)
  if x_BLD.shape[:-1] != targets_BL.shape:
    _check_shape(x_BLD, targets_BL, 'features')
  again = jax.checkpoint(judge, prevent_cse=False)  # Or the scan would keep all chunks' logits.
  pieces = tuple(map(cut, (x_BLD, *judged)))
  shapes = jax.eval_shape(judge, *(piece[0] for piece in pieces))
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

  def add(total: dict[str, Mean], piece: Any) -> tuple[dict[str, Mean], None]:
    return {key: total[key] + mean for key, mean in again(*piece).items()}, None

  total, _ = jax.lax.scan(add, zeros, pieces)
  # Parameters that `apply` makes on the way, at initialisation, belong to the trace of the scan:
  # this call makes them anew outside of it. Elsewhere its result is unused and compiled away.
  apply(x_BLD[:, :1], method='head')
  return total


def _read(batch: Batch, keys: tuple[str, ...]) -> tuple[list[Any], tuple[jax.Array, ...]]:
  """Returns the model's inputs, and targets, weights and bytes, each [B, L]."""
  for key in (*keys, 'targets'):
    if key not in batch:
      needed = ' and '.join(map(repr, (*keys, 'targets')))
      raise ValueError(f'batch must hold {needed}, got {sorted(batch)}: add {key!r}')
  given = [batch[key] for key in keys]
  targets_BL = jnp.asarray(batch['targets'])
  weight_BL = jnp.ones(targets_BL.shape, jnp.float32)
  if 'token_weight' in batch:
    weight_BL = weight_BL * jnp.asarray(batch['token_weight'], jnp.float32)
  if 'weight' in batch:
    weight_BL = weight_BL * jnp.asarray(batch['weight'], jnp.float32)[:, None]
  bytes_BL = jnp.broadcast_to(jnp.asarray(batch.get('bytes', 1.0), jnp.float32), targets_BL.shape)
  return given, (targets_BL, weight_BL, bytes_BL)


def _judge(logits_BLV: jax.Array, judged: Any, z_loss: float) -> dict[str, Mean]:
  targets_BL, weight_BL, bytes_BL = judged
  z_BL, nats_BL, right_BL = _nats(logits_BLV, targets_BL)
  loss_BL = nats_BL + z_loss * jnp.square(z_BL) if z_loss else nats_BL
  return {
    'loss': Mean.of(loss_BL, weight_BL),
    'accuracy': Mean.of(right_BL, weight_BL),
    'perplexity': ExpMean.of(nats_BL, weight_BL),
    'bits_per_byte': Mean.ratio(nats_BL / math.log(2), bytes_BL, weight_BL),
  }


def _nats(logits_BLV: jax.Array, targets_BL: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  _check_shape(logits_BLV, targets_BL, 'logits')
  z_BL = jax.nn.logsumexp(logits_BLV, axis=-1)
  right_BL = jnp.argmax(logits_BLV, axis=-1) == targets_BL
  return z_BL, z_BL - pick(logits_BLV, targets_BL), right_BL


def _check_shape(outputs: jax.Array, targets_BL: jax.Array, name: str) -> None:
  if outputs.shape[:-1] != targets_BL.shape:
    raise ValueError(
      f"batch['targets'] must have shape {outputs.shape[:-1]} to fit {name} of shape "
      f'{outputs.shape}, got {targets_BL.shape}'
    )
