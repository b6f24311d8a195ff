"""Whether what is looked for is found: recall@k, MRR and nDCG over all pairs of an evaluation.

Queries without anything to be found are left out; of equal scores the earlier item comes first.
Letters: Q queries, N items, D width, B examples of a batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from bigtrain.evaluation.batches import entry
from bigtrain.evaluation.contrastive_losses import towers, unit
from bigtrain.evaluation.intervals import with_intervals


def retrieval_items(
  score_QN: np.ndarray, relevant_QN: np.ndarray, *, at: Sequence[int] = (1, 5, 10)
) -> dict[str, np.ndarray]:
  """Returns metrics of each query that has something relevant, [Q'].

  Args:
    score_QN: Higher is nearer.
    relevant_QN: Whether an item answers a query; for nDCG also a gain >= 0.
    at: The k of 'recall@k', the share of relevant items among the first k, and of 'ndcg@k'
      (Järvelin and Kekäläinen 2002, with gains as they are and log2 of the rank + 1).

  Returns:
    'recall@K' and 'ndcg@K' for each K, and 'mrr', 1 / rank of the first relevant item.
  """
  gain_QN = np.asarray(relevant_QN, np.float64)
  keep = (gain_QN > 0).any(axis=1)
  score_QN, gain_QN = np.asarray(score_QN)[keep], gain_QN[keep]
  order_QN = np.argsort(-score_QN, axis=1, kind='stable')
  ranked_QN = np.take_along_axis(gain_QN, order_QN, axis=1)
  hit_QN = ranked_QN > 0
  discount_N = 1 / np.log2(np.arange(2, gain_QN.shape[1] + 2))
  best_QN = -np.sort(-gain_QN, axis=1)
  found = {}
  for k in at:
    found[f'recall@{k}'] = hit_QN[:, :k].sum(axis=1) / hit_QN.sum(axis=1)
  found['mrr'] = 1 / (hit_QN.argmax(axis=1) + 1.0) if len(hit_QN) else np.zeros(0)
  for k in at:
    ideal = best_QN[:, :k] @ discount_N[:k]
    found[f'ndcg@{k}'] = ranked_QN[:, :k] @ discount_N[:k] / ideal
  return found


@dataclasses.dataclass(frozen=True)
class Retrieval:
  """An evaluator of two towers: each image asks for its text, and each text for its image.

  Attributes:
    keys: Of the two inputs.
    at: As for `retrieval_items`.
    resamples: Of the bootstrap over queries.
    seed: Of its drawing.
  """

  keys: tuple[str, str] = ('image', 'tokens')
  at: tuple[int, ...] = (1, 5, 10)
  resamples: int = 2_000
  seed: int = 0

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns 'image' and 'text', embeddings of length 1 [B, D], and 'group' where the batch has
    it; runs on the device."""
    image_BD, text_BD, *_ = towers(apply(*(entry(batch, key) for key in self.keys)))
    group = {'group': batch['group']} if 'group' in batch else {}
    return {'image': unit(image_BD), 'text': unit(text_BD), **group}

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns 'image_to_text/...' and 'text_to_image/...' metrics with intervals; runs on the host.

    Args:
      table: As `predict` gives it; what is of one group (or one row) belongs together.
    """
    size = len(table['image'])
    group_N = np.asarray(table.get('group', np.arange(size)))
    found = {}
    for way, query, item in (
      ('image_to_text', 'image', 'text'),
      ('text_to_image', 'text', 'image'),
    ):
      query_ND, item_ND = (np.asarray(table[key], np.float32) for key in (query, item))
      blocks = []
      for begin in range(0, size, 1_000):  # Not all pairs at once: 10,000 squared is 400 MB.
        score = query_ND[begin : begin + 1_000] @ item_ND.T
        same = group_N[begin : begin + 1_000, None] == group_N
        blocks.append(retrieval_items(score, same, at=self.at))
      names = list(blocks[0]) if blocks else []
      columns = [np.concatenate([block[name] for block in blocks]) for name in names]

      def metrics(sums: np.ndarray, names: list[str] = names) -> dict[str, np.ndarray]:
        return {name: sums[i] / sums[0] for i, name in enumerate(names, 1)}

      values = with_intervals(
        np.stack([np.ones(size), *columns], axis=1),
        metrics,
        resamples=self.resamples,
        seed=self.seed,
        cluster=table.get('cluster'),
      )
      found |= {f'{way}/{name}': value for name, value in values.items()}
    return found


def zero_shot(image_ND: np.ndarray, class_names_CPD: np.ndarray) -> np.ndarray:
  """Returns cosines of images and classes named in words, [N, C] (Radford et al. 2021, section 3).

  Args:
    image_ND: Embeddings of images.
    class_names_CPD: Embeddings of P phrases that name each of C classes ([C, D] for one phrase);
      a class is the mean of its phrases, each of length 1.
  """
  names = np.asarray(unit(jnp.asarray(class_names_CPD)))
  if names.ndim == 3:
    names = np.asarray(unit(names.mean(axis=1)))
  return np.asarray(unit(image_ND)) @ names.T
