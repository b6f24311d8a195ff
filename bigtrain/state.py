"""What training changes, what it begins with, and how a model is called with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import optax
from flax import struct
from optax import contrib

if TYPE_CHECKING:
  from bigtrain.data import Batches
  from bigtrain.experiment import Apply, Batch, Experiment

SOWN = ('losses', 'intermediates')  # Collections that a model hands out, and no state of it.


@struct.dataclass
class TrainState:
  """All that a step changes: arrays only.

  Attributes:
    step: Updates taken so far, int32.
    params: The model's parameters.
    model_state: Its mutable collections (BatchNorm's running statistics and the like).
    opt_state: The optimiser's state, of the parameters that are trained.
    ema: The averages of those parameters; None when `Experiment` asks for none.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any
  ema: Any

  @property
  def averaged(self) -> Any:
    """The parameters to evaluate: averages where they, or the optimiser, are kept."""
    if self.ema is not None:
      return merge(self.params, self.ema)
    free = [x for x in jax.tree.leaves(self.opt_state, is_leaf=_is_free) if _is_free(x)]
    if not free:
      return self.params
    z, params = (traverse.flatten_dict(tree) for tree in (free[0].z, self.params))
    trained = traverse.unflatten_dict({path: params[path] for path in z})
    return merge(self.params, contrib.schedule_free_eval_params(free[0], trained))


def _is_free(x: Any) -> bool:
  return isinstance(x, contrib.ScheduleFreeState)


def shapes_of(batches: Batches) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns a batch as shapes and types; nothing is read but what those take."""
  return {key: jax.ShapeDtypeStruct(*kind) for key, kind in batches.spec.items()}


def init(experiment: Experiment, batch: Batch) -> TrainState:
  """Returns the state before the first step. The objective says how the model is called."""
  key = jax.random.fold_in(jax.random.key(experiment.seed), jnp.uint32(2**32 - 1))  # No step's key.
  made = {}

  def apply(*args, mutable=(), **kwargs):
    # What is sown shows where it is asked for, as in training; Flax leaves some of it out here.
    options = {'mutable': True} if mutable else {}
    output, variables = experiment.model.init_with_output(
      key, *args, train=False, **options, **kwargs
    )
    sown = {name: variables.get(name, {}) for name in mutable}
    kept = {name: variables[name] for name in variables if name not in SOWN}
    made.update(traverse.flatten_dict(kept))
    return (output, sown) if mutable else output

  means = experiment.objective(apply, batch)
  if 'loss' not in means:
    raise ValueError(f"the objective returned {sorted(means)}, without a 'loss' to minimise")
  model_state = traverse.unflatten_dict(made)
  params = model_state.pop('params', {})
  return begin(
    experiment, experiment.initial(params) if experiment.initial else params, model_state
  )


def begin(experiment: Experiment, params: Any, model_state: Any) -> TrainState:
  """Returns the state before the first step, with these parameters and collections."""
  if experiment.param_dtype:
    params = optax.tree.cast(params, jnp.dtype(experiment.param_dtype))
  trained, _ = split(experiment, params)
  averages = experiment.ema or experiment.swa_start is not None
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    model_state=model_state,
    opt_state=experiment.optimizer.init(trained),
    # In float32: an average moves by less than bfloat16 can tell.
    ema=jax.tree.map(lambda x: jnp.array(x, jnp.float32), trained) if averages else None,
  )


def started(experiment: Experiment, state: TrainState) -> TrainState:
  """Returns the state of `init` as `Experiment.start` changes it; on one device."""
  if experiment.start is None:
    return state
  return begin(experiment, *experiment.start(state.params, state.model_state))


def moving_average(experiment: Experiment, state: TrainState, trained: Any) -> Any:
  """Returns the average of the trained parameters after a step, None where none is kept.

  Args:
    experiment: Says which: `ema`, or `swa_start`.
    state: Before the step.
    trained: The parameters after it.
  """
  if state.ema is None:
    return None
  if experiment.swa_start is not None:  # The mean of all since; before, the parameters.
    decay = 1 - 1 / jnp.maximum(state.step + 2 - experiment.swa_start, 1)
  else:  # Less at first, so that the average isn't that of what was initialised.
    decay = jnp.minimum(experiment.ema, (1 + state.step) / (10 + state.step))
  return jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema, trained)


def split(experiment: Experiment, params: Any) -> tuple[Any, Any]:
  """Returns the parameters that are trained, and those that are not: trees without the others.

  Raises:
    ValueError: `Experiment.trainable` matches no parameter.
  """
  if experiment.trainable is None:
    return params, {}
  flat = traverse.flatten_dict(params, sep='/')
  trained = {path: x for path, x in flat.items() if re.fullmatch(experiment.trainable, path)}
  if not trained:
    raise ValueError(
      f'trainable={experiment.trainable!r} matches no parameter: the paths are such as '
      f'{", ".join(list(flat)[:5])}'
    )
  frozen = {path: x for path, x in flat.items() if path not in trained}
  return traverse.unflatten_dict(trained, sep='/'), traverse.unflatten_dict(frozen, sep='/')


def merge(params: Any, others: Any) -> Any:
  """Returns a tree of both, where a path that is in both is that of `others`."""
  if not params:
    return others
  flat = {**traverse.flatten_dict(params), **traverse.flatten_dict(others)}
  return traverse.unflatten_dict(flat)


def bind(
  experiment: Experiment, params: Any, model_state: Any, key: jax.Array | None = None
) -> tuple[Apply, dict[str, Any]]:
  """Returns `apply` with parameters, mode and randomness bound, and the state that it keeps up.

  With a key the model is trained (dropout on, statistics updated); without, evaluated. As in Flax,
  `apply(x, mutable=['losses'])` returns (output, what the model sowed there).
  """
  kept = dict(model_state)

  def apply(*args, mutable=(), **kwargs):
    variables = {'params': params, **kept}
    if key is None:
      options = {'mutable': list(mutable)} if mutable else {}
      return experiment.model.apply(variables, *args, train=False, **options, **kwargs)
    output, changed = experiment.model.apply(
      variables, *args, train=True, rngs={'dropout': key}, mutable=[*kept, *mutable], **kwargs
    )
    kept.update({name: changed[name] for name in kept if name in changed})
    return (output, {name: changed.get(name, {}) for name in mutable}) if mutable else output

  return apply, kept
