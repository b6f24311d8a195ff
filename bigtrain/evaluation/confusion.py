"""What a confusion matrix says: functions of counts [..., C, C], row = label, column = prediction.

Leading axes are cases of their own (resamples, say). Where a number isn't defined:

- a class that occurs neither as label nor as prediction is left out of macro averages;
- a class that occurs but is never predicted has precision 0; one that is predicted but never a
  label has recall 0 (balanced accuracy leaves it out);
- Matthews' coefficient is 0 where label or prediction is one class only; Cohen's kappa is NaN where
  both are the same one; with no examples everything is NaN.

Letters: C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def confusion_counts(
  label_N: np.ndarray, predicted_N: np.ndarray, classes: int, weight_N: np.ndarray | None = None
) -> np.ndarray:
  """Returns counts float64 [C, C], or sums of weights."""
  both_N = np.asarray(label_N, np.int64) * classes + np.asarray(predicted_N, np.int64)
  return np.bincount(both_N, weight_N, classes**2).astype(float).reshape(classes, classes)


def class_scores(counts: np.ndarray, *, beta: float = 1.0) -> dict[str, np.ndarray]:
  """Returns 'precision', 'recall', 'f_score' and 'support' of each class, [..., C].

  F-beta is `(1 + beta^2) P R / (beta^2 P + R)` (van Rijsbergen 1979): recall counts beta times as
  much as precision.
  """
  counts = np.asarray(counts, np.float64)
  right = np.einsum('...cc->...c', counts)
  support, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
  return {
    'precision': _ratio(right, predicted, 0),
    'recall': _ratio(right, support, 0),
    'f_score': _ratio((1 + beta**2) * right, beta**2 * support + predicted, 0),
    'support': support,
  }


def confusion_scores(counts: np.ndarray, *, beta: float = 1.0) -> Mapping[str, Any]:
  """Returns every metric that counts decide, by name, each of shape [...].

  'accuracy' (micro precision, recall and F are the same number, for one class of several),
  'balanced_accuracy', 'macro_precision', 'macro_recall', 'macro_f1', 'weighted_precision',
  'weighted_recall', 'weighted_f1' (weighted by support; 'f1' reads 'f0.5' for beta 0.5),
  'matthews' (Gorodkin 2004) and 'kappa' (Cohen 1960).
  """
  counts = np.asarray(counts, np.float64)
  each = class_scores(counts, beta=beta)
  support, predicted = each['support'], counts.sum(axis=-2)
  total = support.sum(axis=-1)
  right = np.einsum('...cc->...', counts)
  occurs, seen = support > 0, (support > 0) | (predicted > 0)
  named = {'precision': 'precision', 'recall': 'recall', f'f{beta:g}': 'f_score'}
  macro = {f'macro_{to}': _mean(each[name], seen) for to, name in named.items()}
  weighted = {f'weighted_{to}': _mean(each[name], support) for to, name in named.items()}
  agree = np.sum(support * predicted, axis=-1)
  spread = (total**2 - np.sum(support**2, axis=-1)) * (total**2 - np.sum(predicted**2, axis=-1))
  matthews = _ratio(right * total - agree, np.sqrt(np.maximum(spread, 0)), 0)
  return {
    'accuracy': _ratio(right, total, np.nan),
    'balanced_accuracy': _mean(each['recall'], occurs),
    **macro,
    **weighted,
    'matthews': np.where(total > 0, matthews, np.nan),
    'kappa': _ratio(right * total - agree, total**2 - agree, np.nan),
  }


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  return _ratio((values * weight).sum(axis=-1), weight.sum(axis=-1), np.nan)


def _ratio(above: Any, below: Any, otherwise: float) -> np.ndarray:
  # Rounding of weighted sums must not make something of nothing.
  some = np.abs(below) > 1e-12 * np.maximum(1, np.abs(above))
  return np.where(some, above / np.where(some, below, 1), otherwise)
