"""What a classifier gets right, told from the table of all its predictions.

Conventions, where a number isn't defined: those of `confusion` and `ranking_scores`, and

- no examples, or a prediction that isn't finite: every metric is NaN;
- of equally likely classes the first is predicted; top-k counts the others in the same order.

Each metric has its interval of 95 %, 'NAME_low' and 'NAME_high', by the bootstrap over examples, or
by its standard error (ROC-AUC, average precision, calibration error). With weights other than 1,
only means over examples have one.

Letters: B examples of a batch, N of the table, C classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bigtrain.evaluation.batches import entry, inputs
from bigtrain.evaluation.calibration import calibration_error, calibration_spread
from bigtrain.evaluation.confusion import class_scores, confusion_counts, confusion_scores
from bigtrain.evaluation.intervals import (
  normal_interval,
  percentiles,
  resampled_sums,
  wilson_interval,
  with_intervals,
)
from bigtrain.evaluation.pictures import (
  draw_bars,
  draw_confusion,
  draw_precision_recall,
  draw_reliability,
  draw_roc,
)
from bigtrain.evaluation.ranking_scores import rank_classes

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_CELLS = 40_000_000  # Numbers of all resampled confusion matrices together, at most.


@dataclasses.dataclass(frozen=True)
class Classification:
  """An evaluator of models that pick one class of several.

  Attributes:
    top: 'top_K_accuracy' is reported for each K below the number of classes.
    beta: Of the F score, 'macro_f1' for 1.
    bins: Of the expected calibration error.
    resamples: Of the bootstrap.
    seed: Of its drawing.
  """

  top: tuple[int, ...] = (5,)
  beta: float = 1.0
  bins: int = 15
  resamples: int = 2_000
  seed: int = 0

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Returns a batch's rows of the table; runs on the device.

    Args:
      apply: Maps the input, as for `softmax_cross_entropy`, to logits [B, C] of C classes, or, for
        two classes, [B] or [B, 1] of class 1 against class 0.
      batch: Holds the input, and 'label', integers [B]. Optional: 'weight'.

    Returns:
      'log_probability' float32 [B, C], 'label' int32 [B], and the weights.
    """
    logits = jnp.asarray(apply(inputs(batch)), jnp.float32)
    if logits.ndim == 1:
      logits = logits[:, None]
    if logits.shape[-1] == 1:
      logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    weight = {'weight': jnp.asarray(batch['weight'], jnp.float32)} if 'weight' in batch else {}
    return {
      'log_probability': jax.nn.log_softmax(logits),
      'label': jnp.asarray(entry(batch, 'label'), jnp.int32),
      **weight,
    }

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns every metric of the table; runs on the host.

    Args:
      table: 'log_probability' [N, C] and 'label' [N], as `predict` gives them. Optional: 'weight',
        and 'cluster' [N], what rows share: clusters are resampled instead of rows, and metrics that
        rank or calibrate have no interval then.

    Returns:
      What `confusion_scores` names; 'top_5_accuracy' and its like; 'roc_auc', 'roc_auc_ovo' and
      'average_precision'; 'log_loss' (nats); 'brier' (of two classes the squared error of class 1,
      of more the sum over classes, 0 to 2); 'calibration_error'. With their intervals.

    Raises:
      ValueError: A label lies outside 0 ... C - 1.
    """
    log_probability_NC, label_N, weight_N = _columns(table)
    cluster_N = table.get('cluster')
    if not len(label_N) or not np.isfinite(log_probability_NC).all():
      one = {
        'log_probability': np.zeros((1, log_probability_NC.shape[-1])),
        'label': np.zeros(1, int),
      }
      return dict.fromkeys(self.report(one), math.nan)
    classes = log_probability_NC.shape[-1]
    predicted_N = log_probability_NC.argmax(axis=-1)
    found = self._items(log_probability_NC, label_N, weight_N, predicted_N, cluster_N)
    counts = confusion_counts(label_N, predicted_N, classes, weight_N)
    found |= self._counted(counts, weight_N, label_N * classes + predicted_N, cluster_N)
    probability_NC = np.exp(log_probability_NC)
    confidence_N = probability_NC[np.arange(len(label_N)), predicted_N]
    right_N = predicted_N == label_N
    ranking = rank_classes(label_N, log_probability_NC, weight_N)
    own = {'bins': self.bins, 'weight_N': weight_N}
    spread = math.nan
    if weight_N is None and cluster_N is None:
      spread = calibration_spread(
        confidence_N, right_N, **own, resamples=self.resamples, seed=self.seed
      )
    calibration = calibration_error(confidence_N, right_N, **own)
    for name, value, error in (
      ('roc_auc', ranking.roc_auc, ranking.roc_auc_error),
      ('roc_auc_ovo', ranking.roc_auc_ovo, ranking.roc_auc_ovo_error),
      ('average_precision', ranking.average_precision, ranking.average_precision_error),
      ('calibration_error', calibration, spread),
    ):
      low, high = normal_interval(value, error if cluster_N is None else math.nan)
      found |= {name: value, f'{name}_low': low, f'{name}_high': high}
    return found

  def per_class(self, table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns 'precision', 'recall', 'f_score' and 'support' of each class, [C]."""
    return class_scores(self.confusion(table), beta=self.beta)

  def confusion(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns counts int64 [C, C]: row = label, column = prediction; every example counts once."""
    log_probability_NC, label_N, _ = _columns(table)
    classes = log_probability_NC.shape[-1]
    predicted_N = log_probability_NC.argmax(axis=-1)
    return confusion_counts(label_N, predicted_N, classes).astype(np.int64)

  def draw(
    self, table: Mapping[str, np.ndarray], names: Sequence[str] | None = None
  ) -> dict[str, Figure]:
    """Returns pictures of the table by name; `names` are the classes'."""
    log_probability_NC, label_N, _ = _columns(table)
    predicted_N = log_probability_NC.argmax(axis=-1)
    each = self.per_class(table)
    recall = [wilson_interval(x, n) for x, n in zip(each['recall'], each['support'], strict=True)]
    return {
      'roc': draw_roc(label_N, log_probability_NC, names),
      'precision_recall': draw_precision_recall(label_N, log_probability_NC, names),
      'confusion': draw_confusion(self.confusion(table), names),
      'reliability': draw_reliability(
        np.exp(log_probability_NC.max(axis=-1)), predicted_N == label_N, self.bins
      ),
      'per_class': draw_bars(list(each['recall']), names, xlabel='recall', intervals=recall),
    }

  def captions(
    self, table: Mapping[str, np.ndarray], names: Sequence[str] | None = None
  ) -> list[str]:
    """Returns what is true and what was said of each row, in words."""
    log_probability_NC, label_N, _ = _columns(table)
    names = names or [str(c) for c in range(log_probability_NC.shape[-1])]
    said_N = log_probability_NC.argmax(axis=-1)
    sure_N = np.exp(log_probability_NC.max(axis=-1))
    return [
      f'is {names[label]}, said {names[said]} ({sure:.0%})'
      for label, said, sure in zip(label_N, said_N, sure_N, strict=True)
    ]

  def _items(
    self, log_probability_NC, label_N, weight_N, predicted_N, cluster_N
  ) -> dict[str, float]:
    """Metrics that are means over examples."""
    size, classes = log_probability_NC.shape
    own_N = log_probability_NC[np.arange(size), label_N]
    probability_NC = np.exp(log_probability_NC)
    if classes == 2:
      brier_N = (1 - probability_NC[np.arange(size), label_N]) ** 2
    else:
      brier_N = 1 - 2 * np.exp(own_N) + np.einsum('nc,nc->n', probability_NC, probability_NC)
    # From log probabilities: cut off nowhere, where scikit-learn's log_loss ends at 2e-16.
    columns = {'accuracy': predicted_N == label_N, 'log_loss': -own_N, 'brier': brier_N}
    if tops := [k for k in self.top if k < classes]:
      ahead_N = np.sum(log_probability_NC > own_N[:, None], axis=-1)
      tied_NC = log_probability_NC == own_N[:, None]
      ahead_N += np.sum(tied_NC & (np.arange(classes) < label_N[:, None]), axis=-1)
      columns |= {f'top_{k}_accuracy': ahead_N < k for k in tops}
    weights_N = np.ones(size) if weight_N is None else weight_N
    stacked = [weights_N, *(column * weights_N for column in columns.values())]

    def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
      return {name: sums[i] / sums[0] for i, name in enumerate(columns, 1)}

    return with_intervals(
      np.stack(stacked, axis=1),
      metrics,
      resamples=self.resamples,
      seed=self.seed,
      cluster=cluster_N,
    )

  def _counted(
    self,
    counts_CC: np.ndarray,
    weight_N: np.ndarray | None,
    cell_N: np.ndarray,
    cluster_N: np.ndarray | None,
  ) -> dict[str, float]:
    """Metrics of the confusion matrix; to resample examples is to draw its counts anew."""
    values = dict(confusion_scores(counts_CC, beta=self.beta))
    del values['accuracy']
    size, drawn = counts_CC.sum(), {}
    few = weight_N is None and size > 1 and counts_CC.size * self.resamples <= _CELLS
    if few and cluster_N is not None and counts_CC.size * len(cell_N) <= _CELLS:
      cells_NK = np.eye(counts_CC.size, dtype=np.float32)[cell_N]
      draws = resampled_sums(cells_NK, resamples=self.resamples, seed=self.seed, cluster=cluster_N)
      drawn = confusion_scores(draws.reshape(-1, *counts_CC.shape), beta=self.beta)
    elif few and cluster_N is None:
      rng = np.random.default_rng(self.seed)
      some = np.flatnonzero(counts_CC)
      draws = np.zeros((self.resamples, counts_CC.size))
      draws[:, some] = rng.multinomial(int(size), counts_CC.ravel()[some] / size, self.resamples)
      drawn = confusion_scores(draws.reshape(-1, *counts_CC.shape), beta=self.beta)
    found = {}
    for name, value in values.items():
      low, high = percentiles(drawn[name]) if drawn else (math.nan, math.nan)
      found |= {name: float(value), f'{name}_low': low, f'{name}_high': high}
    return found


def _columns(table: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  log_probability_NC = np.asarray(table['log_probability'], np.float64)
  label_N = np.asarray(table['label'])
  weight_N = np.asarray(table['weight'], np.float64) if 'weight' in table else None
  if weight_N is not None and (weight_N == 1).all():
    weight_N = None
  classes = log_probability_NC.shape[-1]
  outside = np.flatnonzero((label_N < 0) | (label_N >= classes))
  if len(outside):
    raise ValueError(
      f'label must be in 0 ... {classes - 1} for a model of {classes} classes, '
      f'got {label_N[outside[0]]} in row {outside[0]} of the table'
    )
  return log_probability_NC, label_N, weight_N
