"""Functions of one member, made into functions of many that are stacked."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def over_one(function: Any) -> Any:
  """Returns a function of arrays that have one axis more in front, of length 1."""

  def result(*arguments):
    inner = jax.tree.map(lambda x: x[0], arguments)
    return jax.tree.map(lambda x: x[None], function(*inner))

  return result


def spread(function: Any) -> Any:
  """Returns a function that takes its arguments after the constants as one tuple."""
  return lambda constants, arguments: function(constants, *arguments)


def several(function: Any) -> Any:
  """Returns a function that takes the first `count` of several steps.

  Its batches are stacked behind the members; with the states it returns the sum of the losses.
  """

  def take(constants, arguments, count):
    seeds, states, batches = arguments
    length = jax.tree.leaves(batches)[0].shape[1]

    def one(index, states):
      batch = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 1, False), batches)
      states, means = function(constants, seeds, states, batch)
      return states, means['loss'].value

    if length == 1:
      return one(0, states)

    def body(index, carry):
      states, loss = one(index, carry[0])
      return states, carry[1] + loss

    return jax.lax.fori_loop(0, count, body, (states, jnp.zeros(seeds.shape, jnp.float32)))

  return take
