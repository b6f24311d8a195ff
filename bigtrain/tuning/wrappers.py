"""Optimisers around an optimiser: SAM, schedule-free averaging, states of low precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from bigtrain.tuning.optimizers import Rate, decoupled


def sam(
  optimizer: optax.GradientTransformation, radius: float = 0.05
) -> optax.GradientTransformation:
  """Takes the gradient where the loss is about highest nearby: sharpness-aware (Foret et al. 2021).

  A step costs two gradients, of one batch and one draw of noise. What the second pass does to the
  model's collections (BatchNorm's statistics) is dropped.

  Args:
    optimizer: Uses the gradient.
    radius: How far to go along the gradient to take it; rho in the paper.
  """

  def ascend(updates, params):
    del params
    factor = -radius / (optax.tree.norm(updates) + 1e-12)  # Optax's sam turns the sign around.
    return jax.tree.map(lambda g: factor * g, updates)

  return contrib.sam(optimizer, optax.stateless(ascend), opaque_mode=True)


def schedule_free(
  rate: Rate,
  *,
  decay: float = 0.1,
  clip: float | None = 1.0,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
) -> optax.GradientTransformation:
  """AdamW whose average of iterates stands in for a falling rate (Defazio et al. 2024).

  Evaluations use that average, as they do with `Experiment.ema`, which then is to be 0.

  Args:
    rate: Of `warmup_constant`, or a number.
    decay: Of matrices, relative to the rate.
    clip: The norm of the whole gradient at most.
    b1: Where between the iterate (0) and the average (1) the gradient is taken.
    b2: Of the second moment.
    eps: Added to its root.
  """
  scale = optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
  return contrib.schedule_free(decoupled(scale, rate, decay, clip), rate, b1)


def low_precision(
  optimizer: optax.GradientTransformation, dtype: Any = jnp.bfloat16
) -> optax.GradientTransformation:
  """Keeps an optimiser's float32 state in a smaller type between its steps, second moments too.

  A mean whose decay is above 0.99 moves by less than bfloat16 can tell apart, and stands still.
  """
  inner = optax.with_extra_args_support(optimizer)

  def cast(state, kept, to):
    return jax.tree.map(
      lambda x, k: x.astype(to) if k.dtype == jnp.float32 and k.ndim else x, state, kept
    )

  def init(params):
    state = inner.init(params)
    return cast(state, state, dtype)

  def update(updates, state, params=None, **extra):
    # By the shapes of a new state, for its own types may be small ones too.
    kept = jax.eval_shape(inner.init, updates if params is None else params)
    updates, new = inner.update(updates, cast(state, kept, jnp.float32), params, **extra)
    return updates, cast(new, kept, dtype)

  return optax.GradientTransformationExtraArgs(init, update)
