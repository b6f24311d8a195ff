"""A mean kept as its numerator and denominator, so that parts add up to the whole.

The mean of batch means is wrong as soon as two batches hold different numbers of real examples.
A `Mean` keeps the weighted sum and the weight apart and divides only when it is read: padding
(weight 0), microbatches, devices, hosts and evaluation batches all add, in any grouping, up to
float32 rounding of the two sums.

Convention: a weight is 0 for padding, 1 for a real example, or any other finite number >= 0. A
value whose weight is 0 is never looked at, so it may be NaN or infinite.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct


@struct.dataclass
class Mean:
  """A weighted mean that adds: `total / weight`.

  A pytree with two leaves: it passes through jit, scan, vmap and grad. Where a scan or vmap has
  stacked the leaves, `+` and `value` work elementwise.

  Attributes:
    total: Weighted sum of values, float32, scalar.
    weight: Sum of weights, float32, scalar.

  >>> first, last = Mean.of(np.array([1.0, 2.0])), Mean.of(np.array([6.0, 9.0]), np.array([1, 0]))
  >>> float((first + last).value)
  3.0
  """

  total: Any
  weight: Any

  @classmethod
  def of(cls, values: Any, weight: Any = None) -> Mean:
    """Returns the mean of values over all their axes.

    Args:
      values: Numbers or booleans of any shape, such as [B] or [B, L].
      weight: None counts every value once. Otherwise an array whose shape opens that of values
        ([B] for values [B, L]: each of the L values of an example gets its example's weight), or
        a scalar.

    Raises:
      ValueError: The shape of weight doesn't open the shape of values.
    """
    return cls.ratio(values, 1.0, weight)

  @classmethod
  def ratio(cls, totals: Any, counts: Any, weight: Any = None) -> Mean:
    """Returns `sum(weight * totals) / sum(weight * counts)`, for values that are themselves sums.

    Args:
      totals: What each entry adds above the line, any shape: the bits of a token, say.
      counts: What each entry adds below the line: the bytes of a token, say. Its shape opens that
        of totals.
      weight: As in `of`; where it is 0, neither totals nor counts are looked at.

    Raises:
      ValueError: The shape of counts or weight doesn't open the shape of totals.
    """
    totals = jnp.asarray(totals, jnp.float32)
    counts = _spread('counts', counts, totals.shape)
    if weight is None:
      return cls(total=jnp.sum(totals), weight=jnp.sum(counts))
    weight = _spread('weight', weight, totals.shape)
    # Selected before multiplied: 0 * NaN would be NaN, forwards and in the gradient.
    seen = weight != 0
    return cls(
      total=jnp.sum(jnp.where(seen, totals, 0) * weight),
      weight=jnp.sum(jnp.where(seen, counts, 0) * weight),
    )

  def __add__(self, other: Mean) -> Mean:
    return type(self)(total=self.total + other.total, weight=self.weight + other.weight)

  @property
  def value(self) -> Any:
    """The mean; NaN where nothing was weighed (its gradient is 0 there, not NaN)."""
    return self.mean

  @property
  def mean(self) -> Any:
    """`total / weight`, whatever `value` makes of it."""
    np_or_jnp = jnp if isinstance(self.total, jax.Array) else np
    empty = self.weight == 0
    return np_or_jnp.where(
      empty, np_or_jnp.nan, self.total / np_or_jnp.where(empty, 1, self.weight)
    )

  def host(self) -> Mean:
    """Returns the same mean fetched to the host in float64.

    Float32 counts stop at 2**24: add the means of a long evaluation here, not on the device.
    """
    total, weight = jax.device_get((self.total, self.weight))
    return type(self)(total=np.asarray(total, np.float64), weight=np.asarray(weight, np.float64))


@struct.dataclass
class RootMean(Mean):
  """The root of a mean, taken when it is read: root mean squared error, of squared errors."""

  @property
  def value(self) -> Any:
    """The root; NaN where nothing was weighed."""
    return self.mean**0.5


@struct.dataclass
class JointMean(Mean):
  """A mean over examples that see each other in their batch, as in a contrastive loss.

  It adds like any other, and has no interval: what an example adds depends on its neighbours.
  """


@struct.dataclass
class ExpMean(Mean):
  """e to the power of a mean, taken when it is read: perplexity, of the nats of tokens."""

  @property
  def value(self) -> Any:
    """The power; NaN where nothing was weighed, infinite beyond what a float holds."""
    with np.errstate(over='ignore'):
      return (jnp if isinstance(self.total, jax.Array) else np).exp(self.mean)


def _spread(name: str, array: Any, shape: tuple[int, ...]) -> jax.Array:
  """Broadcasts from the left, [B] to [B, L]; NumPy's rule from the right would pair B with L."""
  array = jnp.asarray(array, jnp.float32)
  if array.shape != shape[: array.ndim]:
    raise ValueError(
      f'{name} must have a shape that opens the shape of the values, {shape}, got {array.shape}: '
      f'give one per example, {shape[:1]}, or one per value'
    )
  return jnp.broadcast_to(array.reshape(array.shape + (1,) * (len(shape) - array.ndim)), shape)
