"""What each example adds to an objective's Means: intervals for any objective, and who fares worst.

A Mean is a weighted sum over examples, so the derivative of its two sums by an example's weight,
times the weight, is what that example adds. The model's output does not depend on weights: nothing
is differentiated but the last lines of the objective, and no forward pass is made twice.

Letters: B examples of a batch, N of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigtrain.evaluation.intervals import with_intervals
from bigtrain.evaluation.means import JointMean, Mean

_NEAR = 1e-3  # Of the sum, by which terms may miss it: they are computed in another order.

Items = Mapping[str, np.ndarray]  # By the name of a Mean: its total and weight, [N, 2].


def itemise(
  objective: Callable[..., Mapping[str, Mean]],
  apply: Callable[..., Any],
  batch: Mapping[str, Any],
) -> tuple[dict[str, Mean], dict[str, jax.Array]]:
  """Returns an objective's Means of a batch, and what each example adds to them; for the device.

  Args:
    objective: Any.
    apply: As for the objective.
    batch: The same, with 'weight' [B].

  Returns:
    The Means; and of each that is no JointMean, total and weight of each example, [B, 2].
  """
  weight_B = jnp.asarray(batch['weight'], jnp.float32)
  means, pull = jax.vjp(
    lambda weight: dict(objective(apply, {**batch, 'weight': weight})), weight_B
  )
  leaves, tree = jax.tree.flatten(means)
  (slopes_KB,) = jax.vmap(lambda one: pull(tree.unflatten(list(one))))(jnp.eye(len(leaves)))
  terms = tree.unflatten(list(slopes_KB * weight_B))
  items = {
    name: jnp.stack([mean.total, mean.weight], axis=1)
    for name, mean in terms.items()
    if not isinstance(mean, JointMean)
  }
  return means, items


def item_values(items: Items, name: str) -> np.ndarray | None:
  """Returns a metric of each example, [N], NaN where it weighs nothing; None without its terms."""
  if name not in items:
    return None
  total_N, weight_N = np.asarray(items[name], np.float64).T
  return np.where(weight_N > 0, total_N / np.where(weight_N > 0, weight_N, 1), np.nan)


def report_items(
  means: Mapping[str, Mean], items: Items, cluster: np.ndarray | None = None
) -> dict[str, float]:
  """Returns the value of each Mean, and its interval where its terms add up to it.

  Args:
    means: Over all examples.
    items: Of all examples.
    cluster: What examples share, [N]: clusters are drawn instead.
  """
  found: dict[str, float] = {}
  for name, mean in means.items():
    found[name] = float(mean.value)
    if name not in items:
      continue
    columns_N2 = np.asarray(items[name], np.float64)
    scale = np.maximum(np.abs(columns_N2).sum(axis=0), 1e-30)
    sums = np.array([mean.total, mean.weight], np.float64)
    if np.all(np.abs(columns_N2.sum(axis=0) - sums) <= _NEAR * scale):
      of = type(mean)
      both = with_intervals(columns_N2, lambda sums, of=of: {'x': of(*sums).value}, cluster=cluster)
      found |= {f'{name}_low': both['x_low'], f'{name}_high': both['x_high']}
  return found
