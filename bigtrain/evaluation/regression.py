"""How far predicted numbers are from the true ones, told from the table of all predictions.

Conventions, where a number isn't defined: no examples, or a prediction that isn't finite, makes
every metric NaN; so are R2 and explained variance where labels don't vary. Intervals are the
bootstrap's, over examples. Letters: B examples of a batch, N of the table, C numbers an example.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bigtrain.evaluation.batches import outputs_and_label
from bigtrain.evaluation.intervals import with_intervals
from bigtrain.evaluation.pictures import draw_residuals

if TYPE_CHECKING:
  from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Regression:
  """An evaluator of models that predict a number (or several, whose R2 are averaged).

  Attributes:
    resamples: Of the bootstrap.
    seed: Of its drawing.
  """

  resamples: int = 2_000
  seed: int = 0

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns 'prediction' and 'label' (and 'weight') of a batch, as `mean_squared_error` reads
    them; runs on the device."""
    prediction, label = outputs_and_label(apply, batch)
    weight = {'weight': batch['weight']} if 'weight' in batch else {}
    return {'prediction': prediction, 'label': label, **weight}

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns 'rmse', 'mae' (units of the label), 'r2', 'explained_variance' and the intervals.

    R2 is `1 - sum e^2 / sum (y - mean y)^2`; explained variance takes the mean of e off first.

    Args:
      table: 'prediction' and 'label', [N] or [N, C], and perhaps 'weight' [N].
    """
    label, prediction = (
      np.asarray(table[key], np.float64).reshape(
        len(table[key]), math.prod(np.shape(table[key])[1:])
      )
      for key in ('label', 'prediction')
    )
    size = len(label)
    weight_N1 = np.asarray(table.get('weight', np.ones(size)), np.float64)[:, None]
    if not np.isfinite(prediction).all():
      prediction = np.full_like(prediction, np.nan)
    # Centred, so that squares lose no digits; only differences enter.
    label_NC = label - (label.mean(axis=0) if size else 0)
    error_NC = label - prediction
    columns = (np.ones_like(error_NC), error_NC, error_NC**2, np.abs(error_NC), label_NC,
               label_NC**2)  # fmt: skip
    columns_NK = np.concatenate([column * weight_N1 for column in columns], axis=1)

    def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
      count, error, squared, absolute, own, own2 = np.split(sums, len(columns))
      spread = own2 / count - (own / count) ** 2
      spread = np.where(spread > 1e-12 * own2 / count, spread, np.nan)
      return {
        'rmse': np.sqrt(np.mean(squared / count, axis=0)),
        'mae': np.mean(absolute / count, axis=0),
        'r2': np.mean(1 - squared / count / spread, axis=0),
        'explained_variance': np.mean(
          1 - (squared / count - (error / count) ** 2) / spread, axis=0
        ),
      }

    return with_intervals(
      columns_NK,
      metrics,
      resamples=self.resamples,
      seed=self.seed,
      cluster=table.get('cluster'),
    )

  def draw(
    self, table: Mapping[str, np.ndarray], names: Sequence[str] | None = None
  ) -> dict[str, Figure]:
    """Returns pictures of the table by name."""
    del names
    return {'residuals': draw_residuals(table['label'], table['prediction'])}

  def captions(
    self, table: Mapping[str, np.ndarray], names: Sequence[str] | None = None
  ) -> list[str]:
    """Returns what is true and what was said of each row, in words."""
    del names
    label, said = (np.asarray(table[k]).reshape(len(table[k]), -1) for k in ('label', 'prediction'))
    return [
      f'is {", ".join(f"{x:.4g}" for x in a)}, said {", ".join(f"{x:.4g}" for x in b)}'
      for a, b in zip(label, said, strict=True)
    ]
