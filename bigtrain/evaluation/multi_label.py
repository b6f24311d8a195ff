"""What a model gets right that answers yes or no to several questions of each example.

A question without an example that says yes (or no) is left out of the averages that need one, as in
`ranking_scores`; precision and recall without a denominator are 0. Letters: B examples of a batch,
N of the table, C questions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bigtrain.evaluation.batches import outputs_and_label
from bigtrain.evaluation.intervals import normal_interval, wilson_interval, with_intervals
from bigtrain.evaluation.pictures import (
  draw_bars,
  draw_precision_recall,
  draw_reliability,
  draw_roc,
)
from bigtrain.evaluation.ranking_scores import Ranking, rank_questions

if TYPE_CHECKING:
  from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class MultiLabel:
  """An evaluator for `sigmoid_cross_entropy` over several questions.

  Attributes:
    threshold: Probability above which the answer is yes.
    resamples: Of the bootstrap.
    seed: Of its drawing.
  """

  threshold: float = 0.5
  resamples: int = 2_000
  seed: int = 0

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns 'logit' and 'label' [B, C] of a batch; runs on the device."""
    logits, label = outputs_and_label(apply, batch)
    return {'logit': logits, 'label': label}

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns 'log_loss' (nats an answer), 'exact_match' (all answers of an example right),
    'micro_f1', 'macro_f1', 'macro_roc_auc' and 'macro_average_precision', with intervals."""
    logit_NC, label_NC = _columns(table)
    size = len(logit_NC)
    yes_NC = label_NC > 0.5
    said_NC = np.asarray(jax.nn.sigmoid(logit_NC)) > self.threshold
    nats_N = (np.logaddexp(0, logit_NC) - label_NC * logit_NC).mean(axis=1)
    right_N = (yes_NC == said_NC).all(axis=1)
    columns = [np.ones(size), nats_N, right_N, *(yes_NC & said_NC).T, *yes_NC.T, *said_NC.T]

    def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
      both, yes, said = np.split(sums[3:], 3)
      each = 2 * both / np.where(yes + said > 0, yes + said, 1)
      return {
        'log_loss': sums[1] / sums[0],
        'exact_match': sums[2] / sums[0],
        'micro_f1': 2 * both.sum(axis=0) / np.maximum((yes + said).sum(axis=0), 1),
        'macro_f1': np.mean(each, axis=0),
      }

    cluster_N = table.get('cluster')
    found = with_intervals(
      np.stack(columns, axis=1),
      metrics,
      resamples=self.resamples,
      seed=self.seed,
      cluster=cluster_N,
    )
    areas = rank_questions(yes_NC, logit_NC) if size else Ranking(*[math.nan] * 6)
    for name, value, error in (
      ('macro_roc_auc', areas.roc_auc, areas.roc_auc_error),
      ('macro_average_precision', areas.average_precision, areas.average_precision_error),
    ):
      low, high = normal_interval(value, error if cluster_N is None else math.nan)
      found |= {name: value, f'{name}_low': low, f'{name}_high': high}
    return found

  def draw(
    self, table: Mapping[str, np.ndarray], names: Sequence[str] | None = None
  ) -> dict[str, Figure]:
    """Returns pictures of the table by name; `names` are the questions'."""
    logit_NC, label_NC = _columns(table)
    yes_NC = label_NC > 0.5
    probability_NC = np.asarray(jax.nn.sigmoid(logit_NC))
    said_NC = probability_NC > self.threshold
    sure_NC = np.maximum(probability_NC, 1 - probability_NC)
    support_C = yes_NC.sum(axis=0)
    recall_C = (yes_NC & said_NC).sum(axis=0) / np.maximum(support_C, 1)
    recall = [wilson_interval(*pair) for pair in zip(recall_C, support_C, strict=True)]
    right_NC = (probability_NC > 0.5) == yes_NC
    return {
      'roc': draw_roc(yes_NC, logit_NC, names),
      'precision_recall': draw_precision_recall(yes_NC, logit_NC, names),
      'reliability': draw_reliability(sure_NC.ravel(), right_NC.ravel()),
      'per_class': draw_bars(recall_C, names, xlabel='recall', intervals=recall),
    }


def _columns(table: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  logit_NC = np.atleast_2d(np.asarray(table['logit'], np.float64).T).T
  return logit_NC, np.asarray(table['label'], np.float64).reshape(logit_NC.shape)
