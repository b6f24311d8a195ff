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
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Areas, averaged over classes (macro), with standard errors: NaN with weights.

  Attributes:
    roc_auc: Of each class against the rest; of two classes, of class 1.
    roc_auc_error: By DeLong et al. (1988).
    roc_auc_ovo: Of each class against each other, averaged over pairs (Hand and Till 2001).
    roc_auc_ovo_error: Likewise.
    average_precision: Of each class against the rest; of two classes, of class 1.
    average_precision_error: By the infinitesimal jackknife (Jaeckel 1972; Efron 1982).
  """

  roc_auc: float
  roc_auc_error: float
  roc_auc_ovo: float
  roc_auc_ovo_error: float
  average_precision: float
  average_precision_error: float


class _Macro:
  """An average over classes, and what each example adds to it, times N."""

  def __init__(self, size: int, weighted: bool):
    self._values: list[float] = []
    self._influence_N = np.full(size, math.nan if weighted else 0.0)

  def add(self, value: float, influence_N: Any) -> None:
    """Adds a class, or leaves it out where its value is NaN."""
    if not math.isnan(value):
      self._values.append(float(value))
      self._influence_N += influence_N

  @property
  def value(self) -> float:
    return float(np.mean(self._values)) if self._values else math.nan

  @property
  def error(self) -> float:
    size = len(self._influence_N)
    if not self._values or size < 2:
      return math.nan
    return float(np.linalg.norm(self._influence_N / len(self._values)) / size)


def rank_classes(
  label_N: np.ndarray, score_NC: np.ndarray, weight_N: np.ndarray | None = None
) -> Ranking:
  """Returns the areas of scores [N, C] (two columns: class 1 by the difference of both)."""
  label_N = np.asarray(label_N)
  size, classes = score_NC.shape
  rest, ovo, precision = (_Macro(size, weight_N is not None) for _ in range(3))
  for c in [1] if classes == 2 else range(classes):
    # Log odds of two classes: near certainty, log probabilities round to the same float.
    score_N = score_NC[:, 1] - score_NC[:, 0] if classes == 2 else score_NC[:, c]
    area = _Areas(score_N, label_N, c, classes, weight_N)
    rest.add(area.against_rest, area.influence())
    # A pair is two areas, one by the score of each class; where one is known, so is the other.
    known_C = ~np.isnan(area.against_each)
    influence_N = area.influence_of_each() if known_C.any() else 0.0
    for value in area.against_each[known_C]:
      ovo.add(value, influence_N)
      influence_N = 0.0  # It is that of all pairs of the class.
    precision.add(area.average_precision, area.influence_of_precision())
  return Ranking(
    rest.value, rest.error, ovo.value, ovo.error, precision.value, precision.error
  )  # fmt: skip


def rank_questions(yes_NC: np.ndarray, score_NC: np.ndarray) -> Ranking:
  """Returns the areas of scores [N, C] of several questions, averaged; there are no pairs."""
  size, classes = score_NC.shape
  rest, precision = (_Macro(size, False) for _ in range(2))
  for c in range(classes):
    area = _binary(yes_NC[:, c], score_NC[:, c], None)
    rest.add(area.against_rest, area.influence())
    precision.add(area.average_precision, area.influence_of_precision())
  return Ranking(
    rest.value, rest.error, math.nan, math.nan, precision.value, precision.error
  )  # fmt: skip


def roc_auc(positive_N: np.ndarray, score_N: np.ndarray, weight_N: np.ndarray | None = None):
  """Returns the area under the ROC curve: how often a positive outranks a negative (ties half).

  >>> roc_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
  0.875
  """
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
    down_G, all_down_G = np.cumsum(positive_G[::-1])[::-1], np.cumsum(all_G[::-1])[::-1]
    with np.errstate(invalid='ignore', divide='ignore'):
      self.against_each = won_C / (positive * total_C)
      self.against_each[c] = np.nan
      won_C[c] = 0
      self.against_rest = won_C.sum() / (positive * negative)
      precision_G = np.where(all_down_G > 0, down_G / all_down_G, 0)
      self.average_precision = np.sum(positive_G * precision_G) / positive
    self._order, self._label_N, self._mine_N, self._group_N = order, label_N, mine_N, group_N
    self._above_N, self._total_C, self._positive, self._negative = (
      above_N,
      total_C,
      positive,
      negative,
    )
    self._positive_G, self._all_G, self._precision_G = positive_G, all_G, precision_G
    self._all_down_G = all_down_G

  def influence(self) -> np.ndarray:
    """What each example adds to the area against the rest, times N, centred (unweighted)."""
    negative_G = self._all_G - self._positive_G
    below_N = (np.cumsum(negative_G) - negative_G / 2)[self._group_N]
    with np.errstate(invalid='ignore', divide='ignore'):
      share_N = np.where(self._mine_N, below_N / self._negative, self._above_N / self._positive)
      share_N -= self.against_rest
      share_N /= np.where(self._mine_N, self._positive, self._negative)
    return self._unsorted(share_N)

  def influence_of_each(self) -> np.ndarray:
    """The same, summed over the areas against each other class."""
    known_C = ~np.isnan(self.against_each)
    each_C = np.nan_to_num(self.against_each)
    with np.errstate(invalid='ignore', divide='ignore'):
      one_C = np.where(known_C, 1 / self._total_C, 0)
      # A rival weighs 1 / rivals of its class, so that one sum serves all classes.
      rival_G = np.bincount(self._group_N, one_C[self._label_N])
      below_N = (np.cumsum(rival_G) - rival_G / 2)[self._group_N]
      ours_N = (below_N - each_C.sum()) / self._positive
      theirs_N = (self._above_N / self._positive - each_C[self._label_N]) * one_C[self._label_N]
    return self._unsorted(np.where(self._mine_N, ours_N, theirs_N))

  def influence_of_precision(self) -> np.ndarray:
    """What each example adds to the average precision, times N, centred (unweighted)."""
    with np.errstate(invalid='ignore', divide='ignore'):
      # An example counts at every threshold at or below its score: above the line, below it.
      step_G = self._positive_G / self._all_down_G
      gain_N = np.cumsum(step_G)[self._group_N] + self._precision_G[self._group_N]
      lost_N = np.cumsum(step_G * self._precision_G)[self._group_N]
      share_N = np.where(self._mine_N, gain_N - self.average_precision, 0) - lost_N
      return self._unsorted(share_N / self._positive)

  def _unsorted(self, share_N: np.ndarray) -> np.ndarray:
    found_N = np.empty(len(share_N))
    found_N[self._order] = share_N * len(share_N)
    return found_N
