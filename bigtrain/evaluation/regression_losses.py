"""Objectives for numbers. Conventions as in `batches`. Letters: B examples, C numbers, Q levels."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from bigtrain.evaluation.batches import Apply, Batch, as_float, entry, inputs, outputs_and_label
from bigtrain.evaluation.means import Mean, RootMean


def mean_squared_error(apply: Apply, batch: Batch) -> dict[str, Mean]:
  """A number, or several: `(prediction - label)^2`.

  Args:
    apply: Maps batch['image'], ['features'], ['audio'] or ['tokens'] to predictions [B], [B, 1] or
      [B, C].
    batch: Holds the input, and 'label': numbers [B], or [B, C].

  Returns:
    'loss', the squared error in squared units of the label; 'absolute_error' and 'rmse', the root
    of the loss, in its units.

  Raises:
    ValueError: The batch lacks a key, or label and predictions don't fit.
  """
  return _errors(apply, batch, jnp.square)


def mean_absolute_error(apply: Apply, batch: Batch) -> dict[str, Mean]:
  """`|prediction - label|`, least at the median; the rest as for `mean_squared_error`."""
  return _errors(apply, batch, jnp.abs)


def huber(apply: Apply, batch: Batch, *, delta: float = 1.0) -> dict[str, Mean]:
  """Squared for small errors, linear for large ones (Huber 1964).

  `e^2 / 2` where |e| <= delta, else `delta (|e| - delta / 2)`; the rest as for
  `mean_squared_error`.

  Args:
    apply: As for `mean_squared_error`.
    batch: As for `mean_squared_error`.
    delta: Where the parabola ends, in units of the label, above 0.

  Raises:
    ValueError: `delta` is not above 0.
  """
  if not delta > 0:
    raise ValueError(f'huber: delta must be above 0, in units of the label, got {delta}')

  def loss(error):
    near = jnp.minimum(jnp.abs(error), delta)
    return 0.5 * near**2 + delta * (jnp.abs(error) - near)

  return _errors(apply, batch, loss)


def quantile(
  apply: Apply, batch: Batch, *, levels: Sequence[float] = (0.1, 0.5, 0.9)
) -> dict[str, Mean]:
  """The quantiles of a number, by the pinball loss (Koenker and Bassett 1978).

  `max(q e, (q - 1) e)` with `e = label - prediction`, averaged over the levels q.

  Args:
    apply: Maps the input, as for `mean_squared_error`, to [B, Q], a prediction for each level.
    batch: Holds the input, and 'label': numbers [B].
    levels: Shares of labels that are to lie below each prediction, in (0, 1).

  Returns:
    'loss', in units of the label, and 'below_Q', the share of labels at or below the prediction
    of each level, such as 'below_0.9', which should be the level.

  Raises:
    ValueError: The batch lacks a key, or label, levels and predictions don't fit.
  """
  if not levels or not all(0 < level < 1 for level in levels):
    raise ValueError(f'quantile: levels must lie between 0 and 1, got {tuple(levels)}')
  prediction_BQ, label_B = as_float(apply(inputs(batch))), as_float(entry(batch, 'label'))
  if prediction_BQ.shape != (*label_B.shape, len(levels)) or label_B.ndim != 1:
    raise ValueError(
      f"quantile: predictions must have shape [B, {len(levels)}], one a level, for batch['label'] "
      f'[B], got {prediction_BQ.shape} and {label_B.shape}'
    )
  level_Q = jnp.asarray(levels, jnp.float32)
  error_BQ = label_B[:, None] - prediction_BQ
  weight = batch.get('weight')
  pinball_BQ = jnp.maximum(level_Q * error_BQ, (level_Q - 1) * error_BQ)
  below = {
    f'below_{level:g}': Mean.of(error_BQ[:, i] <= 0, weight) for i, level in enumerate(levels)
  }
  return {'loss': Mean.of(pinball_BQ, weight), **below}


def _errors(apply: Apply, batch: Batch, loss) -> dict[str, Mean]:
  prediction, label = outputs_and_label(apply, batch)
  error = prediction - label
  weight = batch.get('weight')
  return {
    'loss': Mean.of(loss(error), weight),
    'absolute_error': Mean.of(jnp.abs(error), weight),
    'rmse': RootMean.of(jnp.square(error), weight),
  }
