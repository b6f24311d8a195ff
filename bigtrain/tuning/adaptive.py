"""Optimisers that scale each parameter's update by what its gradients have been, by Optax.

Conventions: those of `optimizers`. Decay is decoupled and applies to matrices alone; `clip` bounds
the norm of the whole gradient, None leaves it. `dtype` is that of the first moment: bfloat16 halves
its memory.
"""

from __future__ import annotations

from typing import Any

import optax
from optax import contrib

from bigtrain.tuning.optimizers import Rate, clipped, decoupled, matrices


def rmsprop(
  rate: Rate,
  *,
  decay: float = 0.0,
  clip: float | None = None,
  b2: float = 0.99,
  eps: float = 1e-8,
  momentum: float = 0.0,
) -> optax.GradientTransformation:
  """Divides by the root mean square of recent gradients (Tieleman and Hinton 2012)."""
  scale = optax.scale_by_rms(decay=b2, eps=eps)
  return decoupled(optax.chain(scale, optax.trace(momentum)), rate, decay, clip)


def adagrad(
  rate: Rate, *, decay: float = 0.0, clip: float | None = None, eps: float = 1e-7
) -> optax.GradientTransformation:
  """Divides by the root of the sum of all squared gradients (Duchi et al. 2011)."""
  return decoupled(optax.scale_by_rss(initial_accumulator_value=0.1, eps=eps), rate, decay, clip)


def nadamw(
  rate: Rate,
  *,
  decay: float = 0.1,
  clip: float | None = 1.0,
  b1: float = 0.9,
  b2: float = 0.95,
  eps: float = 1e-8,
  dtype: Any = None,
) -> optax.GradientTransformation:
  """AdamW with Nesterov's momentum (Dozat 2016)."""
  adam = optax.scale_by_adam(b1, b2, eps, mu_dtype=dtype, nesterov=True)
  return decoupled(adam, rate, decay, clip)


def lamb(
  rate: Rate,
  *,
  decay: float = 0.1,
  clip: float | None = 1.0,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-6,
) -> optax.GradientTransformation:
  """Adam whose update of each array has the array's own norm, for large batches (You et al. 2020).

  The decay is part of what is scaled.
  """
  step = optax.chain(
    optax.scale_by_adam(b1, b2, eps),
    optax.add_decayed_weights(decay, mask=matrices),
    optax.scale_by_trust_ratio(),
    optax.scale_by_learning_rate(rate),
  )
  return clipped(step, clip)


def lion(
  rate: Rate,
  *,
  decay: float = 1.0,
  clip: float | None = 1.0,
  b1: float = 0.9,
  b2: float = 0.99,
  dtype: Any = None,
) -> optax.GradientTransformation:
  """The sign of a mixed momentum (Chen et al. 2023).

  It wants a rate 3 to 10 times below AdamW's, and a decay as much above.
  """
  return decoupled(optax.scale_by_lion(b1, b2, mu_dtype=dtype), rate, decay, clip)


def adafactor(
  rate: Rate, *, decay: float = 0.0, clip: float | None = None, factored_from: int = 128
) -> optax.GradientTransformation:
  """Second moments as row and column means, which take next to no memory (Shazeer and Stern 2018).

  Args:
    rate: The learning rate; updates are clipped to a root mean square of 1 an array.
    decay: Of matrices, relative to the rate.
    clip: The norm of the whole gradient at most.
    factored_from: Matrices with both sides at least this long are factored.
  """
  scale = optax.chain(
    optax.scale_by_factored_rms(min_dim_size_to_factor=factored_from),
    optax.clip_by_block_rms(1.0),
  )
  return decoupled(scale, rate, decay, clip)


def prodigy(
  rate: Rate = 1.0,
  *,
  decay: float = 0.0,
  clip: float | None = None,
  b1: float = 0.9,
  b2: float = 0.999,
) -> optax.GradientTransformation:
  """Adam that estimates its own rate (Mishchenko and Defazio 2024).

  Args:
    rate: A factor of the estimate: 1, or a schedule that ends at 0.
    decay: Of all parameters, relative to the estimated rate.
    clip: The norm of the whole gradient at most.
    b1: Of the first moment.
    b2: Of the second moment.
  """
  step = contrib.prodigy(rate, betas=(b1, b2), weight_decay=decay)
  return clipped(step, clip)
