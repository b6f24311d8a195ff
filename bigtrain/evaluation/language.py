"""How well a language model predicts text, told row by row, with intervals.

Letters: B rows of a batch, N of the table, L tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from bigtrain.evaluation.intervals import with_intervals
from bigtrain.evaluation.language_losses import token_nats


@dataclasses.dataclass(frozen=True)
class Language:
  """An evaluator for `next_token`: the same numbers, and how sure they are.

  Attributes:
    cluster: Key of what rows share, such as their document, an integer a row; clusters are
      resampled instead of rows. Empty: rows.
    resamples: Of the bootstrap.
    seed: Of its drawing.
  """

  cluster: str = ''
  resamples: int = 2_000
  seed: int = 0

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns sums over the tokens of each row [B]: 'nats', 'right', 'tokens', 'bytes'."""
    nats_BL, right_BL, weight_BL, bytes_BL = token_nats(apply, batch)
    cluster = {'cluster': batch[self.cluster]} if self.cluster else {}
    sums = {'nats': nats_BL, 'right': right_BL, 'tokens': 1.0, 'bytes': bytes_BL}
    return {
      **{
        key: jnp.sum(jnp.where(weight_BL > 0, column, 0) * weight_BL, axis=1)
        for key, column in sums.items()
      },
      **cluster,
    }

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns 'loss' (nats a token), 'accuracy', 'perplexity' and 'bits_per_byte', each with its
    interval; runs on the host."""
    names = ('nats', 'right', 'tokens', 'bytes')

    def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
      nats, right, tokens, size = sums
      return {
        'loss': nats / tokens,
        'accuracy': right / tokens,
        'perplexity': np.exp(nats / tokens),
        'bits_per_byte': nats / math.log(2) / size,
      }

    columns_NK = np.stack([np.asarray(table[name], np.float64) for name in names], axis=1)
    return with_intervals(
      columns_NK,
      metrics,
      cluster=table.get('cluster'),
      resamples=self.resamples,
      seed=self.seed,
    )
