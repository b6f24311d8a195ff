"""What is done to gradients before an optimiser, and to its updates after, as Optax chains.

    optax.chain(tuning.penalty(l1=1e-5), tuning.adamw(schedule))
    optax.chain(tuning.adamw(schedule), tuning.by_path({'embed': 0.1}))

`optax.adaptive_grad_clip` clips each unit by its own norm (Brock et al. 2021), and goes in front.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from bigtrain.tuning.optimizers import matrices


def penalty(*, l1: float = 0.0, l2: float = 0.0) -> optax.GradientTransformation:
  """Adds the gradient of `l1 * sum |w| + l2 / 2 * sum w^2` over matrices.

  Unlike decoupled decay, an adaptive optimiser scales it with the rest of the gradient.
  """

  def update(updates, params):
    def add(g, p, decays):
      return g + l1 * jnp.sign(p) + l2 * p if decays else g

    return jax.tree.map(add, updates, params, matrices(params))

  return optax.stateless(update)


def gradient_noise(
  variance: float, *, decay: float = 0.55, seed: int = 0
) -> optax.GradientTransformation:
  """Adds normal noise of variance `variance / (1 + step)^decay` (Neelakantan et al. 2015)."""
  return optax.add_noise(variance, decay, seed)


def by_path(factors: Mapping[str, float]) -> optax.GradientTransformation:
  """Scales the updates of some parameters: rates by path.

  Args:
    factors: From a pattern, searched in the path (`Dense_0/kernel`), to the factor of the rate. Of
      several that fit, the first counts; where none fits the factor is 1. A factor of 0 freezes.

  Raises:
    ValueError: In `init`, where a pattern fits no parameter.
  """
  patterns = [(re.compile(pattern), factor) for pattern, factor in factors.items()]

  def factor(path) -> float:
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    return next((value for pattern, value in patterns if pattern.search(name)), 1.0)

  def init(params):
    names = [
      jax.tree_util.keystr(path, simple=True, separator='/')
      for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    for pattern, _ in patterns:
      if not any(pattern.search(name) for name in names):
        raise ValueError(f'the pattern {pattern.pattern!r} fits no parameter: there are {names}')
    return optax.EmptyState()

  def update(updates, state, params=None):
    del params
    scaled = jax.tree_util.tree_map_with_path(lambda path, u: factor(path) * u, updates)
    return scaled, state

  return optax.GradientTransformation(init, update)
