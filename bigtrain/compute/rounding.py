"""Parameters in bfloat16, rounded up or down by chance.

Rounded to the nearest, an update smaller than half a step of bfloat16 (1/256 of the number) is
lost, each time. Rounded up with the probability of what is left over it counts on average (Gupta et
al. 2015, section 3).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class RoundingState(NamedTuple):
  """The steps taken, which give the randomness, and the state of the optimiser, in float32."""

  count: jax.Array
  inner: Any


def round_stochastically(x: jax.Array, key: jax.Array) -> jax.Array:
  """Rounds float32 numbers to one of the two bfloat16 neighbours; the mean is the number."""
  # bfloat16 is the upper half of float32: noise below it carries into it as often as it should.
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
  kept = (bits + noise) & jnp.uint32(0xFFFF0000)
  rounded = jax.lax.bitcast_convert_type(kept, jnp.float32)
  return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def stochastic_rounding(
  optimizer: optax.GradientTransformation, seed: int = 0
) -> optax.GradientTransformation:
  """Lets an optimiser train bfloat16 parameters; its own state and arithmetic are float32.

  Args:
    optimizer: Sees gradients and parameters as float32.
    seed: Of the rounding.

  Returns:
    A transformation whose updates lead to rounded parameters by `optax.apply_updates`. Parameters
    of other types are updated as they would be without it.
  """

  def wide(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), tree)

  def init(params: Any) -> RoundingState:
    return RoundingState(jnp.zeros((), jnp.int32), optimizer.init(wide(params)))

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    if params is None:
      raise ValueError('stochastic_rounding needs the parameters: call update(..., params)')
    updates, inner = optimizer.update(wide(updates), state.inner, wide(params))
    key = jax.random.fold_in(jax.random.key(seed), state.count)
    leaves, structure = jax.tree.flatten(params)
    keys = structure.unflatten(jax.random.split(key, max(1, len(leaves)))[: len(leaves)])

    def rounded(p: jax.Array, u: jax.Array, key: jax.Array) -> jax.Array:
      if p.dtype != jnp.bfloat16:
        return u
      p = p.astype(jnp.float32)
      return round_stochastically(p + u, key).astype(jnp.float32) - p

    return jax.tree.map(rounded, params, updates, keys), RoundingState(state.count + 1, inner)

  return optax.GradientTransformation(init, update)
