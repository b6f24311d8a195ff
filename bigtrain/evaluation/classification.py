"""What a classifier gets right, told from the table of all its predictions.

Conventions, where a number isn't defined:

- no examples, or a prediction that isn't finite: every metric is NaN;
- a class that occurs neither as label nor as prediction: left out of macro averages;
- a class that occurs but is never predicted: precision 0; predicted but never a label: recall 0;
- ROC-AUC, one class against the rest, is averaged over the classes for which both exist, and NaN
  where there is none; of two classes it is the AUC of class 1;
- every example counts once: weights other than 0 (padding, left out of the table) aren't used.

Letters: B examples of a batch, N of the table, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigtrain.evaluation.intervals import bootstrap_interval

_METRICS = (
  'accuracy',
  'accuracy_low',
  'accuracy_high',
  'balanced_accuracy',
  'macro_precision',
  'macro_recall',
  'macro_f1',
  'roc_auc',
  'log_loss',
)


@dataclasses.dataclass(frozen=True)
class Classification:
  """An evaluator of models that pick one class of several.

  Attributes:
    resamples: Of the bootstrap interval of the accuracy (95 %, 'accuracy_low' and 'accuracy_high').
    seed: Of its drawing.
  """

  resamples: int = 1_000
  seed: int = 0

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Returns a batch's rows of the table; runs on the device.

    Args:
      apply: Maps batch['image'] or batch['features'] to logits [B, C] of C classes, or, for two
        classes, [B] or [B, 1] of class 1 against class 0.
      batch: Holds 'image' or 'features', and 'label', integers [B].

    Returns:
      'log_probability' float32 [B, C] and 'label' int32 [B].
    """
    logits = jnp.asarray(apply(batch['image' if 'image' in batch else 'features']), jnp.float32)
    if logits.ndim == 1:
      logits = logits[:, None]
    if logits.shape[-1] == 1:
      logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    return {
      'log_probability': jax.nn.log_softmax(logits),
      'label': jnp.asarray(batch['label'], jnp.int32),
    }

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns every metric of the table, by scikit-learn; runs on the host.

    Args:
      table: 'log_probability' [N, C] and 'label' [N], as `predict` gives them.

    Returns:
      'accuracy', its interval 'accuracy_low' and 'accuracy_high', 'balanced_accuracy' (mean recall
      of the classes that occur as labels), 'macro_precision', 'macro_recall', 'macro_f1',
      'roc_auc' and 'log_loss' (nats).

    Raises:
      ValueError: A label lies outside 0 ... C - 1.
    """
    log_probability_NC, label_N = _columns(table)
    if not len(label_N) or not np.isfinite(log_probability_NC).all():
      return dict.fromkeys(_METRICS, float('nan'))
    # scikit-learn takes a second to import, and only evaluation needs it.
    from sklearn import metrics

    predicted_N = log_probability_NC.argmax(axis=-1)
    right_N = predicted_N == label_N
    low, high = bootstrap_interval(right_N, resamples=self.resamples, seed=self.seed)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
      label_N,
      predicted_N,
      average='macro',
      zero_division=0,  # pyright: ignore[reportArgumentType]
    )
    values = {
      'accuracy': metrics.accuracy_score(label_N, predicted_N),
      'accuracy_low': low,
      'accuracy_high': high,
      # By hand, for scikit-learn warns about classes that are predicted but don't occur.
      'balanced_accuracy': np.mean([right_N[label_N == c].mean() for c in np.unique(label_N)]),
      'macro_precision': precision,
      'macro_recall': recall,
      'macro_f1': f1,
      'roc_auc': _roc_auc(log_probability_NC, label_N),
      # From log probabilities: scikit-learn's log_loss cuts off probabilities below 2e-16.
      'log_loss': -log_probability_NC[np.arange(len(label_N)), label_N].mean(),
    }
    return {name: float(values[name]) for name in _METRICS}

  def confusion(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns counts int64 [C, C]: row = label, column = prediction."""
    log_probability_NC, label_N = _columns(table)
    from sklearn import metrics

    classes = np.arange(log_probability_NC.shape[-1])
    if not len(label_N):
      return np.zeros((len(classes), len(classes)), np.int64)
    return metrics.confusion_matrix(label_N, log_probability_NC.argmax(axis=-1), labels=classes)


def _columns(table: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  log_probability_NC = np.asarray(table['log_probability'], np.float64)
  label_N = np.asarray(table['label'])
  classes = log_probability_NC.shape[-1]
  outside = np.flatnonzero((label_N < 0) | (label_N >= classes))
  if len(outside):
    raise ValueError(
      f'label must be in 0 ... {classes - 1} for a model of {classes} classes, '
      f'got {label_N[outside[0]]} in row {outside[0]} of the table'
    )
  return log_probability_NC, label_N


def _roc_auc(log_probability_NC: np.ndarray, label_N: np.ndarray) -> float:
  from sklearn import metrics

  classes = log_probability_NC.shape[-1]
  areas = []
  for c in [1] if classes == 2 else range(classes):
    is_c_N = label_N == c
    if 0 < is_c_N.sum() < len(label_N):
      if classes == 2:  # Log odds: near certainty, log probabilities round to the same float.
        score_N = log_probability_NC[:, 1] - log_probability_NC[:, 0]
      else:
        score_N = log_probability_NC[:, c]
      areas.append(metrics.roc_auc_score(is_c_N, score_N))
  return float(np.mean(areas)) if areas else float('nan')
