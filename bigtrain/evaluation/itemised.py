"""What each example adds to an objective's Means: intervals for any objective, and who fares worst.

An objective gives sums over a batch. Mapped over the examples one by one, it gives the terms of
those sums, which the bootstrap draws from. That holds where examples do not see each other; where
they do, as in a contrastive loss, the terms do not add up to the sums, and there is no interval.

Letters: B examples of a batch, N of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from bigtrain.evaluation.intervals import with_intervals
from bigtrain.evaluation.means import Mean

_TOTAL, _WEIGHT = 'item_total/', 'item_weight/'
_NEAR = 1e-3  # Of the sum, by which terms may miss it: they are computed in another order.


@dataclasses.dataclass(frozen=True)
class Itemised:
  """An evaluator that adds the terms of an objective's Means to another's table, or makes one.

  Attributes:
    objective: Whose Means are taken apart.
    evaluator: Whose table it is; None for the terms alone.
  """

  objective: Callable[..., Mapping[str, Mean]]
  evaluator: Any = None

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the evaluator's columns and the terms, [B] each; runs on the device."""

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
      means = self.objective(apply, {key: value[None] for key, value in row.items()})
      totals = {f'{_TOTAL}{name}': mean.total for name, mean in means.items()}
      return totals | {f'{_WEIGHT}{name}': mean.weight for name, mean in means.items()}

    table = dict(self.evaluator.predict(apply, batch)) if self.evaluator else {}
    return table | jax.vmap(one)(dict(batch))

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the evaluator's report of its own columns."""
    return dict(self.evaluator.report(bare(table))) if self.evaluator else {}


def bare(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns a table without the terms."""
  return {k: column for k, column in table.items() if not k.startswith((_TOTAL, _WEIGHT))}


def item_sums(table: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
  """Returns total and weight of a metric over the rows of a table, [2]; None without its terms."""
  if f'{_TOTAL}{name}' not in table:
    return None
  return np.array([np.sum(table[k + name], dtype=np.float64) for k in (_TOTAL, _WEIGHT)])


def item_values(table: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
  """Returns a metric of each example, [N], NaN where it weighs nothing; None without its terms."""
  if f'{_TOTAL}{name}' not in table:
    return None
  total_N, weight_N = (np.asarray(table[k + name], np.float64) for k in (_TOTAL, _WEIGHT))
  return np.where(weight_N > 0, total_N / np.where(weight_N > 0, weight_N, 1), np.nan)


def report_items(means: Mapping[str, Mean], table: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Returns the value of each Mean, and its interval where the terms in the table add up to it.

  Args:
    means: Over the whole evaluation.
    table: As `Itemised` makes it; a column 'cluster' says what rows share.
  """
  found: dict[str, float] = {}
  for name, mean in means.items():
    found[name] = float(mean.value)
    if f'{_TOTAL}{name}' not in table:
      continue
    columns_N2 = np.stack([np.asarray(table[k + name], np.float64) for k in (_TOTAL, _WEIGHT)], 1)
    scale = np.maximum(np.abs(columns_N2).sum(axis=0), 1e-30)
    sums = np.array([mean.total, mean.weight], np.float64)
    if np.all(np.abs(columns_N2.sum(axis=0) - sums) <= _NEAR * scale):
      of = type(mean)
      both = with_intervals(
        columns_N2, lambda sums, of=of: {'x': of(*sums).value}, cluster=table.get('cluster')
      )
      found |= {f'{name}_low': both['x_low'], f'{name}_high': both['x_high']}
  return found
