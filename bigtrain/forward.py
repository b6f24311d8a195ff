"""The forward pass of an experiment's model, from the entries of a batch that the model reads.

Which those are is not declared anywhere: the objective picks them. So it is run, on shapes alone,
up to the moment when it calls the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from bigtrain.state import shapes_of

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment

# What says where packed documents end: a model that is handed over reads one document a row.
_PACKING = ('segment_ids', 'positions')


@dataclasses.dataclass(frozen=True)
class Forward:
  """How a model is called outside of training.

  Attributes:
    inputs: What it reads, as entries of a batch by name: shapes and types.
    function: Maps variables and these entries, of any batch size, to the model's outputs.
  """

  inputs: Mapping[str, jax.ShapeDtypeStruct]
  function: Callable[[Any, Mapping[str, Any]], Any]


class _Called(Exception):
  """Ends the objective where it calls the model."""


def forward(experiment: Experiment) -> Forward:
  """Returns the forward pass of the model, as `model(..., train=False)`.

  Raises:
    ValueError: The objective does not call the model.
  """
  batch = shapes_of(experiment.data)

  def arguments(batch: Mapping[str, Any]) -> tuple[Any, Any]:
    found = []

    def apply(*args, mutable=(), method=None, **kwargs):
      del mutable, method  # The objective may call a part of the model: the whole is meant here.
      found.append((args, {k: x for k, x in kwargs.items() if k not in _PACKING}))
      raise _Called

    try:
      experiment.objective(apply, batch)
    except _Called:
      return found[0]
    raise ValueError('the objective does not call the model, so nothing tells what the model reads')

  names = sorted(batch)
  jaxpr = jax.make_jaxpr(lambda *x: jax.tree.leaves(arguments(dict(zip(names, x, strict=True)))))(
    *(batch[name] for name in names)
  ).jaxpr
  needed = {id(x) for x in jaxpr.outvars}
  for equation in reversed(jaxpr.eqns):
    if any(id(x) in needed for x in equation.outvars):
      needed |= {id(x) for x in equation.invars}
  inputs = {n: batch[n] for n, x in zip(names, jaxpr.invars, strict=True) if id(x) in needed}

  def function(variables: Any, given: Mapping[str, Any]) -> Any:
    size = next(iter(given.values())).shape[0]
    rest = {n: jnp.zeros((size, *x.shape[1:]), x.dtype) for n, x in batch.items()}
    args, kwargs = arguments({**rest, **given})
    return experiment.model.apply(variables, *args, train=False, **kwargs)

  return Forward(inputs, function)
