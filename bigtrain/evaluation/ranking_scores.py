"""How well scores put examples into order: areas under curves, exact under ties and weights.

One sort of each class's scores answers everything about it, so a million examples of ten classes
take seconds; the tests hold each number against scikit-learn's.

Where a number isn't defined: ROC-AUC needs examples of both sides and average precision one that
is positive; classes (or pairs of classes) without are left out of averages, which are NaN where
nothing is left. Letters: N examples, C classes.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Areas, averaged over classes (macro).

  Attributes:
    roc_auc: Of each class against the rest; of two classes, of class 1.
    roc_auc_error: Standard error of it (DeLong et al. 1988); NaN with weights.
    roc_auc_ovo: Of each class against each other, averaged over pairs (Hand and Till 2001).
    average_precision: Of each class against the rest; of two classes, of class 1.
  """

  roc_auc: float
  roc_auc_error: float
  roc_auc_ovo: float
  average_precision: float


def rank_classes(
  label_N: np.ndarray, score_NC: np.ndarray, weight_N: np.ndarray | None = None
) -> Ranking:
  """Returns the areas of scores [N, C] (two columns: class 1 by the difference of both)."""
  label_N = np.asarray(label_N)
  size, classes = score_NC.shape
  auc_CC = np.full((classes, classes), np.nan)
  rest, precisions, influence_N, kept = [], [], np.zeros(size), 0
  for c in [1] if classes == 2 else range(classes):
    # Log odds of two classes: near certainty, log probabilities round to the same float.
    score_N = score_NC[:, 1] - score_NC[:, 0] if classes == 2 else score_NC[:, c]
    area = _Areas(score_N, label_N, c, classes, weight_N)
    auc_CC[c] = area.against_each
    if not math.isnan(area.against_rest):
      rest.append(area.against_rest)
      influence_N += area.influence()
      kept += 1
    precisions.append(area.average_precision)
  if classes == 2:
    auc_CC[0, 1] = auc_CC[1, 0]
  pairs = (auc_CC + auc_CC.T)[np.triu_indices(classes, 1)] / 2
  error = math.nan
  if kept and weight_N is None and size > 1:
    error = float(np.sqrt(np.sum((influence_N / kept) ** 2)) / size)
  return Ranking(_mean(rest), error, _mean(pairs), _mean(precisions))


def roc_auc(positive_N: np.ndarray, score_N: np.ndarray, weight_N: np.ndarray | None = None):
  """Returns the area under the ROC curve: how often a positive outranks a negative (ties half)."""
  return float(_binary(positive_N, score_N, weight_N).against_rest)


def average_precision(
  positive_N: np.ndarray, score_N: np.ndarray, weight_N: np.ndarray | None = None
) -> float:
  """Returns the sum of precisions weighted by the step in recall; NaN without a positive."""
  return float(_binary(positive_N, score_N, weight_N).average_precision)


def _binary(positive_N, score_N, weight_N) -> _Areas:
  return _Areas(np.asarray(score_N), np.asarray(positive_N).astype(np.int64), 1, 2, weight_N)


class _Areas:
  """Areas of one class's scores: all examples sorted once, ties in groups."""

  def __init__(self, score_N, label_N, c, classes, weight_N):
    order = np.argsort(score_N)
    score_N = score_N[order]
    new_N = np.empty(len(order), bool)
    new_N[:1] = True
    np.not_equal(score_N[1:], score_N[:-1], out=new_N[1:])
    group_N = np.cumsum(new_N) - 1  # Of the sorted examples, ascending.
    label_N = label_N[order]
    mine_N = label_N == c
    if weight_N is None:
      positive_G = np.bincount(group_N[mine_N], minlength=group_N[-1] + 1).astype(float)
      all_G = np.bincount(group_N).astype(float)
      total_C = np.bincount(label_N, minlength=classes).astype(float)
      weight_N = 1.0
    else:
      weight_N = np.asarray(weight_N, np.float64)[order]
      positive_G = np.bincount(group_N, weight_N * mine_N)
      all_G = np.bincount(group_N, weight_N)
      total_C = np.bincount(label_N, weight_N, classes)
    positive, negative = positive_G.sum(), (all_G - positive_G).sum()
    above_G = positive - np.cumsum(positive_G) + positive_G / 2
    above_N = above_G[group_N]
    won_C = np.bincount(label_N, weight_N * above_N, classes)
    with np.errstate(invalid='ignore', divide='ignore'):
      self.against_each = won_C / (positive * total_C)
      self.against_each[c] = np.nan
      won_C[c] = 0
      self.against_rest = won_C.sum() / (positive * negative)
      down_G, all_down_G = np.cumsum(positive_G[::-1]), np.cumsum(all_G[::-1])
      precision_G = np.where(all_down_G > 0, down_G / all_down_G, 0)
      self.average_precision = np.sum(positive_G[::-1] * precision_G) / positive
    self._parts = (order, mine_N, above_N, all_G - positive_G, group_N, positive, negative)

  def influence(self) -> np.ndarray:
    """What each example adds to the area, times N, centred (unweighted)."""
    order, mine_N, above_N, negative_G, group_N, positive, negative = self._parts
    below_N = (np.cumsum(negative_G) - negative_G / 2)[group_N]
    share_N = np.where(mine_N, below_N / negative, above_N / positive) - self.against_rest
    found_N = np.empty(len(order))
    found_N[order] = share_N * len(order) / np.where(mine_N, positive, negative)
    return found_N


def _mean(values) -> float:
  values = np.asarray(values, np.float64)
  values = values[~np.isnan(values)]
  return float(values.mean()) if len(values) else math.nan
