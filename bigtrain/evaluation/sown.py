"""Losses that layers hand out by the way, added to an objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bigtrain.evaluation.means import JointMean, Mean

_COLLECTION = 'losses'


def with_sown(
  objective: Callable[..., Mapping[str, Mean]], **coefficients: float
) -> Callable[..., dict[str, Mean]]:
  """Adds what the model sows into the collection 'losses' to the loss of an objective.

  A layer sows by `self.sow('losses', name, value)`; where several sow under one name (the blocks of
  a mixture of experts), their mean counts.

  Args:
    objective: As any; calls the model by `apply`.
    coefficients: By the name of what is sown: `with_sown(next_token, load_balance=0.01)`.

  Returns:
    An objective that reports each of them too, and the objective's own loss as 'own_loss'. In
    microbatches a sown loss counts in proportion to their weight.

  Raises:
    ValueError: When it is called, the model sows nothing of that name.
  """

  def total(apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, Mean]:
    found: dict[str, list[jax.Array]] = {}

    def listening(*args: Any, mutable: Any = (), **kwargs: Any) -> Any:
      output, sown = apply(*args, mutable=[*mutable, _COLLECTION], **kwargs)
      for path, leaf in jax.tree_util.tree_leaves_with_path(sown.get(_COLLECTION, {})):
        # A sown value lies in a tuple of its own: the name is the last key but one.
        found.setdefault(path[-2].key, []).append(jnp.mean(leaf))
      return (output, sown) if mutable else output

    means = dict(objective(listening, batch))
    loss = means['own_loss'] = means['loss']
    for name, coefficient in coefficients.items():
      if name not in found:
        raise ValueError(
          f'the model sows {sorted(found) or "nothing"} into {_COLLECTION!r}, not {name!r}: '
          f'leave its coefficient out'
        )
      value = jnp.stack(found[name]).mean()
      means[name] = JointMean(total=value * loss.weight, weight=loss.weight)
      more = coefficient * value * loss.weight
      means['loss'] = JointMean(total=means['loss'].total + more, weight=loss.weight)
    return means

  return total
