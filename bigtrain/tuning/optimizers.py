"""Optimisers: Optax transformations, ready made with clipping, masks and decay.

Convention: weight decay is decoupled (Loshchilov and Hutter 2019) and applies to matrices alone,
not to biases, gains or other vectors. `clip` bounds the norm of the whole gradient; None leaves it.
"""

from __future__ import annotations

from typing import Any

import jax
import optax

from bigtrain.tuning.matrices import axes_of_one, scale_by_muon
from bigtrain.tuning.orthogonal import JORDAN, Coefficients

Rate = float | optax.Schedule


def adamw(
  rate: Rate,
  *,
  decay: float = 0.1,
  clip: float | None = 1.0,
  b1: float = 0.9,
  b2: float = 0.95,
  eps: float = 1e-8,
  dtype: Any = None,
) -> optax.GradientTransformation:
  """Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019).

  `dtype` is that of the first moment: bfloat16 halves its memory.
  """
  adam = optax.adamw(rate, b1, b2, eps, mu_dtype=dtype, weight_decay=decay, mask=matrices)
  return clipped(adam, clip)


def sgd(
  rate: Rate, *, momentum: float = 0.9, decay: float = 5e-4, clip: float | None = None
) -> optax.GradientTransformation:
  """Stochastic gradient descent with Nesterov momentum; the rate scales the decay too."""
  return decoupled(optax.trace(momentum, nesterov=True), rate, decay, clip)


def muon(
  rate: Rate,
  *,
  ratio: float = 7.0,
  decay: float = 0.1,
  clip: float | None = 1.0,
  momentum: float = 0.95,
  coefficients: Coefficients = JORDAN,
  b1: float = 0.9,
  b2: float = 0.95,
) -> optax.GradientTransformation:
  """Muon for the matrices inside the model, AdamW for the rest (Jordan et al. 2024).

  The rest: vectors, and what has 'embed' or 'head' in its path.

  Args:
    rate: The learning rate of the rest.
    ratio: The rate of the matrices inside, in units of `rate`; their update has singular values of
      1.
    decay: Of all matrices, relative to `rate`.
    clip: The norm of the whole gradient at most.
    momentum: Of Muon, in Nesterov's form.
    coefficients: Of the orthogonalisation, one triple for each of its steps.
    b1: Of AdamW.
    b2: Of AdamW.
  """
  inside = optax.chain(
    scale_by_muon(coefficients=coefficients, momentum=momentum),
    optax.scale(ratio),
    optax.add_decayed_weights(decay),
    optax.scale_by_learning_rate(rate),
  )
  rest = adamw(rate, decay=decay, clip=None, b1=b1, b2=b2)
  return clipped(optax.partition({'inside': inside, 'rest': rest}, muon_labels), clip)


def clipped(step: optax.GradientTransformation, clip: float | None) -> optax.GradientTransformation:
  """Returns the optimiser behind a bound on the norm of the whole gradient."""
  return step if clip is None else optax.chain(optax.clip_by_global_norm(clip), step)


def decoupled(
  scale: optax.GradientTransformation, rate: Rate, decay: float, clip: float | None
) -> optax.GradientTransformation:
  """Returns the optimiser that adds decay to what `scale` gives, both times the rate."""
  step = optax.chain(
    scale,
    optax.add_decayed_weights(decay, mask=matrices),
    optax.scale_by_learning_rate(rate),
  )
  return clipped(step, clip)


def matrices(params: Any) -> Any:
  """Returns a mask of the parameters that decay: those of 2 axes or more in a layer."""
  return jax.tree_util.tree_map_with_path(lambda path, p: axes_of_one(path, p) >= 2, params)


def muon_labels(params: Any) -> Any:
  """Returns 'inside' for the parameters that Muon takes, and 'rest' for AdamW's."""

  def label(path, leaf) -> str:
    name = jax.tree_util.keystr(path)
    few = axes_of_one(path, leaf) < 2 or min(leaf.shape[-2:]) < 8
    outside = few or 'embed' in name or 'head' in name
    return 'rest' if outside else 'inside'

  return jax.tree_util.tree_map_with_path(label, params)
