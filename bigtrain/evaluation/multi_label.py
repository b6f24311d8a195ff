"""What a model gets right that answers yes or no to several questions of each example.

A question without an example that says yes (or no) is left out of the averages that need one, as in
`ranking_scores`; precision and recall without a denominator are 0. Letters: B examples of a batch,
N of the table, C questions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from bigtrain.evaluation.batches import outputs_and_label
from bigtrain.evaluation.intervals import with_intervals
from bigtrain.evaluation.ranking_scores import average_precision, roc_auc


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
    'micro_f1', 'macro_f1' with intervals; 'macro_roc_auc', 'macro_average_precision'."""
    logit_NC = np.atleast_2d(np.asarray(table['logit'], np.float64).T).T
    label_NC = np.asarray(table['label'], np.float64).reshape(logit_NC.shape)
    size, classes = logit_NC.shape
    yes_NC, said_NC = label_NC > 0.5, jax.nn.sigmoid(logit_NC) > self.threshold
    said_NC = np.asarray(said_NC)
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

    found = with_intervals(
      np.stack(columns, axis=1), metrics, resamples=self.resamples, seed=self.seed
    )
    pairs = [(yes_NC[:, c], logit_NC[:, c]) for c in range(classes)] if size else []
    for name, area in (('macro_roc_auc', roc_auc), ('macro_average_precision', average_precision)):
      areas = np.array([area(*pair) for pair in pairs])
      known = areas[~np.isnan(areas)] if len(areas) else areas
      found[name] = float(known.mean()) if len(known) else float('nan')
    return found
