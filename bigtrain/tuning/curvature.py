"""Optimisers that look at curvature: SOAP by covariances of gradients, Sophia by the Hessian.

Conventions: those of `optimizers`. Matrices are seen as Muon sees them (`matrices`).
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from bigtrain.tuning.matrices import as_stack, axes_of_one
from bigtrain.tuning.optimizers import Rate, clipped, decoupled, matrices


class SoapState(NamedTuple):
  """What SOAP remembers.

  Attributes:
    count: Updates taken.
    mean: The mean gradient, a tree like the parameters'.
    square: The mean squared gradient in the rotated basis; a matrix is a stack [N, M, K].
    covariances: For each matrix, G G^T [N, M, M] and G^T G [N, K, K]; None for a side too long.
    bases: Their eigenvectors, as columns.
  """

  count: jax.Array
  mean: Any
  square: Any
  covariances: Any
  bases: Any


def soap(
  rate: Rate,
  *,
  decay: float = 0.1,
  clip: float | None = 1.0,
  b1: float = 0.95,
  b2: float = 0.95,
  eps: float = 1e-8,
  every: int = 10,
  longest: int = 4096,
) -> optax.GradientTransformation:
  """Adam in the eigenbasis of Shampoo's covariances (Vyas et al. 2024); vectors have plain Adam.

  The first update of a matrix is zero: its gradient alone decides the first basis.

  Args:
    rate: The learning rate; about that of AdamW.
    decay: Of matrices, relative to the rate.
    clip: The norm of the whole gradient at most.
    b1: Of the first moment.
    b2: Of the second moment, and of the covariances.
    eps: Added to the root of the second moment.
    every: Steps between changes of the basis, by one power iteration and a QR decomposition.
    longest: A side longer than this isn't rotated.
  """
  inside = scale_by_soap(b1=b1, b2=b2, eps=eps, every=every, longest=longest)
  rest = optax.scale_by_adam(b1, b2, eps)
  kinds: dict[Hashable, optax.GradientTransformation] = {True: inside, False: rest}
  return decoupled(optax.partition(kinds, matrices), rate, decay, clip)


def scale_by_soap(
  *, b1: float, b2: float, eps: float, every: int, longest: int
) -> optax.GradientTransformation:
  """Adam in a rotated basis, for matrices alone; arguments as for `soap`."""
  if every < 1:
    raise ValueError(f'every counts steps and must be at least 1, got {every}')

  def stacks(tree):
    def stack(path, leaf):
      return as_stack(leaf, axes_of_one(path, leaf)).astype(jnp.float32)

    return jax.tree_util.tree_map_with_path(stack, tree)

  def init(params):
    def sides(x, fill):
      return tuple(
        jnp.broadcast_to(fill(n), (len(x), n, n)) if n <= longest else None for n in x.shape[1:]
      )

    shaped = stacks(params)
    return SoapState(
      count=jnp.zeros((), jnp.int32),
      mean=jax.tree.map(jnp.zeros_like, params),
      square=jax.tree.map(jnp.zeros_like, shaped),
      covariances=jax.tree.map(lambda x: sides(x, lambda n: jnp.zeros((n, n))), shaped),
      bases=jax.tree.map(lambda x: sides(x, jnp.eye), shaped),
    )

  def update(updates, state, params=None):
    del params
    first = state.count == 0
    # The step that makes the first basis leaves the moments as they are.
    mean = jax.tree.map(
      lambda m, g: jnp.where(first, m, b1 * m + (1 - b1) * g), state.mean, updates
    )
    number = jnp.maximum(state.count, 1)

    def one(g_NMK, m_NMK, square, covariances, bases):
      turned = _turn(g_NMK, bases)
      square = jnp.where(first, square, b2 * square + (1 - b2) * jnp.square(turned))
      ahead = _turn(m_NMK, bases) / (1 - b1**number)
      step = ahead / (jnp.sqrt(square / (1 - b2**number)) + eps)
      new = tuple(
        c if c is None else b2 * c + (1 - b2) * covariance
        for c, covariance in zip(covariances, _covariances(g_NMK), strict=True)
      )
      square, bases_new = jax.lax.cond(
        state.count % every == 0, _refresh, lambda square, bases, *_: (square, bases),
        square, bases, new, first,
      )  # fmt: skip
      return jnp.where(first, 0.0, _turn(step, bases, back=True)), square, new, bases_new

    leaves, structure = jax.tree.flatten(updates)
    columns = [stacks(updates), stacks(mean), state.square, state.covariances, state.bases]
    columns = [structure.flatten_up_to(column) for column in columns]
    results = [one(*row) for row in zip(*columns, strict=True)]
    steps = [
      step.reshape(g.shape).astype(g.dtype) for g, (step, *_) in zip(leaves, results, strict=True)
    ]
    _, square, covariances, bases = (
      structure.unflatten(column) for column in zip(*results, strict=True)
    )
    new = SoapState(state.count + 1, mean, square, covariances, bases)
    return structure.unflatten(steps), new

  return optax.GradientTransformation(init, update)


def _covariances(g_NMK: jax.Array) -> tuple[jax.Array, jax.Array]:
  return jnp.einsum('nik,njk->nij', g_NMK, g_NMK), jnp.einsum('nmi,nmj->nij', g_NMK, g_NMK)


def _turn(x_NMK: jax.Array, bases: tuple[Any, Any], back: bool = False) -> jax.Array:
  """Expresses matrices in the bases, or takes them back."""
  left, right = bases
  if left is not None:
    x_NMK = jnp.einsum('nij,njk->nik' if back else 'nji,njk->nik', left, x_NMK)
  if right is not None:
    x_NMK = jnp.einsum('nmj,nkj->nmk' if back else 'nmj,njk->nmk', x_NMK, right)
  return x_NMK


def _refresh(
  square: jax.Array, bases: tuple[Any, Any], covariances: tuple[Any, Any], first: jax.Array
) -> tuple[jax.Array, tuple[Any, Any]]:
  """Moves the bases towards the eigenvectors, the largest first; moments follow their columns."""
  moved = list(bases)
  for side, (basis, covariance) in enumerate(zip(bases, covariances, strict=True)):
    if basis is None:
      continue
    values = jnp.einsum('nij,nik,nkj->nj', basis, covariance, basis)
    order = jnp.argsort(-values, axis=-1)
    axis = side + 1
    square = jnp.take_along_axis(square, order[:, None] if axis == 2 else order[..., None], axis)
    basis = jnp.take_along_axis(basis, order[:, None], 2)
    moved[side] = jax.lax.cond(
      first,
      lambda c, _: jnp.linalg.eigh(c)[1][..., ::-1],
      lambda c, b: jnp.linalg.qr(c @ b)[0],
      covariance,
      basis,
    )
  return square, (moved[0], moved[1])


def sophia(
  rate: Rate,
  *,
  decay: float = 0.1,
  clip: float | None = 1.0,
  b1: float = 0.965,
  b2: float = 0.99,
  gamma: float = 0.01,
  every: int = 10,
  dtype: Any = None,
  seed: int = 0,
) -> optax.GradientTransformation:
  """Divides by the diagonal of the Hessian, each number clipped to 1 (Liu et al. 2023, Sophia-H).

  The diagonal is Hutchinson's estimate, z * (H z) for random signs z: every `every` steps it costs
  about two gradients more.

  Args:
    rate: The learning rate.
    decay: Of matrices, relative to the rate.
    clip: The norm of the whole gradient at most.
    b1: Of the first moment.
    b2: Of the diagonal, from one estimate to the next.
    gamma: Scales the diagonal: smaller clips more.
    every: Steps between estimates.
    dtype: Of the first moment.
    seed: Of the signs.
  """
  step = contrib.sophia(
    rate, b1, b2, weight_decay=decay, weight_decay_mask=matrices, gamma=gamma,
    update_interval=every, hessian_diagonal_fn=_hessian_diagonal(seed), mu_dtype=dtype,
  )  # fmt: skip
  return clipped(step, clip)


def _hessian_diagonal(seed: int) -> optax.GradientTransformationExtraArgs:
  """Hutchinson's estimate, from the function of parameters that `train_step` hands to optimisers.

  Optax's own wants the loss as a function, which a step in microbatches doesn't have at once.
  """

  def init(params):
    del params
    return jnp.zeros((), jnp.int32)

  def update(updates, state, params=None, *, grad_fn=None, **_):
    del updates
    if grad_fn is None or params is None:
      raise ValueError('sophia needs the gradient as a function: call update(..., grad_fn=)')
    key = jax.random.fold_in(jax.random.key(seed), state)
    signs = optax.tree.random_like(key, params, jax.random.rademacher)
    product = jax.jvp(grad_fn, (params,), (signs,))[1]
    return jax.tree.map(jnp.multiply, product, signs), state + 1

  return optax.GradientTransformationExtraArgs(init, update)
