"""Training: one step, and the loop around it. Read this file first.

One step: Grain yields this host's share of the batch; it is placed on the mesh while the device is
busy with the step before; the objective gives Means and their gradient; Optax updates; the old
state is donated. The loop then fetches the Means of an *earlier* step, so it never waits for the
device but there. When due it evaluates, then saves the state together with the position in the
data. What a step changes is `state.py`; what is compiled, and for which devices, `program.py`.

Randomness of step n comes from `fold_in(key(seed), n)` alone, and batch n from (seed, n) alone: a
resumed run repeats what an uninterrupted one would have done, to the bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import optax

from bigtrain import compute, lineage
from bigtrain.evaluation import Mean
from bigtrain.gradient_noise import noise_means
from bigtrain.health import Diverged
from bigtrain.history import History
from bigtrain.iteration import Checkpoints
from bigtrain.journal import Journal
from bigtrain.layer_norms import layer_norms
from bigtrain.progress import Progress
from bigtrain.refresh import refreshed
from bigtrain.state import TrainState, bind, merge, moving_average, split

if TYPE_CHECKING:
  from collections.abc import Sequence

  from bigtrain.experiment import Batch, Experiment
  from bigtrain.program import Program

_SAVE_SECONDS = 180.0  # Between checkpoints, about, if the caller does not count them in steps.
_RETURNS = 2  # To the last checkpoint, where many steps in a row are not finite.


def train_step(
  experiment: Experiment, state: TrainState, batch: Batch
) -> tuple[TrainState, dict[str, Mean]]:
  """One update by the gradient over the whole batch, exact under padding and accumulation.

  The gradient is that of the weighted *sum* of losses; microbatches add, and the sum is divided
  once by the weight of the whole batch. So `accumulate=4` gives what the whole batch gives, ragged
  or not.
  """
  key = jax.random.fold_in(jax.random.key(experiment.seed), state.step)

  trained, frozen = split(experiment, state.params)

  @functools.partial(jax.grad, has_aux=True)
  def gradient(trained, model_state, microbatch, key):
    apply, model_state = bind(experiment, merge(frozen, trained), model_state, key)
    means = experiment.objective(apply, microbatch)
    return means['loss'].total, (dict(means), model_state)

  def gradients(trained):
    if experiment.accumulate == 1:
      grads, (means, model_state) = gradient(trained, state.model_state, batch, key)
    else:
      # Example i goes to microbatch i % accumulate: each device keeps the rows that it has.
      shares = jax.tree.map(
        lambda x: x.reshape(-1, experiment.accumulate, *x.shape[1:]).swapaxes(0, 1), batch
      )

      def add(carry, share):
        index, model_state, total = carry
        grads, (means, model_state) = gradient(
          trained, model_state, share, jax.random.fold_in(key, index)
        )
        return (index + 1, model_state, jax.tree.map(jnp.add, total, (grads, means))), None

      first = jax.tree.map(lambda x: x[0], shares)
      shapes = jax.eval_shape(gradient, trained, state.model_state, first, key)
      zeros = jax.tree.map(jnp.zeros_like, (shapes[0], shapes[1][0]))
      carry = (0, state.model_state, zeros)
      (_, model_state, (grads, means)), _ = jax.lax.scan(add, carry, shares)

    weight = means['loss'].weight
    grads = jax.tree.map(lambda g: (g / jnp.where(weight == 0, 1, weight)).astype(g.dtype), grads)
    return grads, means, model_state

  grads, means, model_state = gradients(trained)
  if experiment.noise_scale:
    of_part = functools.partial(gradient, trained, state.model_state)
    means |= noise_means(experiment, of_part, batch, state.step, key)
  # SAM and Sophia look at the gradient elsewhere too: of the same batch, with the same noise.
  optimizer = optax.with_extra_args_support(experiment.optimizer)
  updates, opt_state = optimizer.update(
    grads, state.opt_state, trained, grad_fn=lambda params, *_: gradients(params)[0]
  )
  trained = optax.apply_updates(trained, updates)
  ema = moving_average(experiment, state, trained)
  norm = optax.tree.norm(grads)
  means['grad_norm'] = Mean(total=norm, weight=jnp.ones(()))
  if experiment.norms:
    for kind, tree in (('grad', grads), ('update', updates), ('param', trained)):
      means |= layer_norms(kind, tree)
  if experiment.schedule:
    rate = jnp.asarray(experiment.schedule(state.step), jnp.float32)
    means['learning_rate'] = Mean(total=rate, weight=jnp.ones(()))
  new = TrainState(state.step, merge(frozen, trained), model_state, opt_state, ema)
  # A step that is not finite changes nothing but the count; a NaN times 0 would still be one.
  good = jnp.isfinite(means['loss'].total) & jnp.isfinite(norm)
  kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, state)
  return kept.replace(step=state.step + 1), means


def train_steps(
  experiment: Experiment, state: TrainState, batches: Batch, count: jax.Array
) -> tuple[TrainState, dict[str, Mean]]:
  """Takes the first `count` of the stacked batches, in one call of the device.

  Returns:
    The state, and Means stacked by step; those after `count` are zero.
  """

  # Not compiled apart: jitted so that it is traced once for both calls below.
  step = jax.jit(functools.partial(train_step, experiment))

  def take(index):
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 0, False), batches)

  def body(index, carry):
    state, kept = carry
    state, means = step(state, take(index))
    return state, jax.tree.map(lambda all, one: all.at[index].set(one), kept, means)

  steps = jax.tree.leaves(batches)[0].shape[0]
  _, means = jax.eval_shape(step, state, take(0))
  kept = jax.tree.map(lambda x: jnp.zeros((steps, *x.shape), x.dtype), means)
  # `count` is an argument, not a constant: a short dispatch runs the same program to the same bits.
  return jax.lax.fori_loop(0, count, body, (state, kept))


@dataclasses.dataclass(frozen=True)
class Run:
  """What training leaves behind.

  Attributes:
    state: The last state.
    step: How many steps it has seen.
    results: Metrics by evaluation, as of the last step; and, of a run that began with another's
      parameters, as 'held_out_before', what they gave.
    stopped: None, or the signal's exit code when training was asked to stop early.
  """

  state: TrainState
  step: int
  results: dict[str, dict[str, float]]
  stopped: int | None = None


def fit(
  program: Program,
  workdir: str | None = None,
  *,
  log_every: int = 50,
  save_every: int = 0,
  hang_after: float = 0.0,
  progress: bool = True,
  trackers: Sequence[str] = ('tensorboard',),
  check_parameters: bool = False,
) -> Run:
  """Trains to the experiment's last step, from the newest checkpoint if the workdir has one.

  An evaluation that is out of patience (`Eval.patience`) makes its step the last one.

  Args:
    program: The compiled experiment.
    workdir: Where journal and checkpoints are kept; None keeps nothing.
    log_every: Steps between entries of the journal.
    save_every: Steps between checkpoints, 0 for some minutes; the end, and a stop, always save.
    hang_after: Seconds to wait for a batch or a device (`compute.Watchdog`); 0 waits for ever.
    progress: Whether to show the live line.
    trackers: Who else is told of metrics, by names of `trackers.KINDS`.
    check_parameters: Whether to compare the copies on all devices and hosts before each save.

  Raises:
    ValueError: `log_every` is below 1, every checkpoint is damaged, or copies differ.
    Diverged: Many steps in a row were not finite, also after going back and on with later data.
  """
  if log_every < 1:
    raise ValueError(f'log_every counts steps and must be at least 1, got {log_every}')
  experiment = program.experiment
  checkpoints = Checkpoints(workdir) if workdir else None
  iterator = experiment.data.iterator(jax.process_index(), jax.process_count())
  with program.goodput.spending('restart'):
    newest = checkpoints.newest(program.shapes) if checkpoints else None
  if newest is None:
    step, state = 0, program.start()
    if workdir:
      lineage.write(workdir, experiment.start)
  else:
    step, state, position = newest
    iterator.set_state(position)
    if step < experiment.steps:
      program.compile()
  position = iterator.get_state()
  journal = Journal(workdir if jax.process_index() == 0 else None, step, trackers)
  bar = Progress(experiment.steps, experiment.data.batch, shown=progress)
  patience = {n: e.patience for n, e in experiment.evals.items() if e.patience}

  def history_from(step: int) -> History:
    ahead = position['step'] - step
    fresh = step == 0 and experiment.start is None
    return History(journal, bar, program.meter(), log_every, ahead, patience, fresh)

  def due() -> list[str]:
    return [n for n, e in experiment.evals.items() if e.every and step % e.every == 0]

  history = history_from(step)
  periods = [log_every, *(e.every for e in experiment.evals.values() if e.every)]
  returns = 0  # To an older checkpoint.

  def save(to: Checkpoints) -> None:
    with program.goodput.spending('save'):
      compute.agree({'step': str(step), 'data position': str(position)})
      if check_parameters:
        compute.agree_on_arrays(state.params)
      to.save(step, state, position)

  with contextlib.ExitStack() as stack:
    for opened in (journal, bar, *([checkpoints] if checkpoints else [])):
      stack.callback(opened.close)
    stack.enter_context(compute.together())  # Innermost: closing may wait for the other hosts.
    stop = stack.enter_context(compute.StopRequest())
    watchdog = stack.enter_context(compute.Watchdog(hang_after))
    if checkpoints:  # Importing Orbax takes half a second: while the device has work.
      checkpoints.preload()
    # What fine-tuning is to be measured against; and an evaluation that a signal cut short.
    before = '' if step else '_before'
    for name in due() if step or experiment.start is not None else []:
      if compute.agreed(journal.results(name + before, step) is None):
        with contextlib.suppress(compute.Stopped), stop.at_once():
          history.evaluated(step, name, program.evaluate, state, before and name + before)
    done = step >= experiment.steps or history.out_of_patience()
    while not done and not stop.reached():
      save_every = save_every or history.steps_in(_SAVE_SECONDS)
      left = min(period - step % period for period in [*periods, save_every or log_every])
      count = min(program.per_dispatch, left, experiment.steps - step)
      try:
        with stop.at_once(), watchdog.watching('The data'), history.loading():
          batches = program.place([next(iterator) for _ in range(count)])
        state, means = program.run(state, batches, count)
        step, position = step + count, iterator.get_state()
        with watchdog.watching('A device or another host'):
          history.add(step, count, means)
        if step == experiment.steps and experiment.swa_start is not None:
          state = refreshed(program, state)
        for name in due():
          with stop.at_once():
            history.evaluated(step, name, program.evaluate, state)
        if checkpoints and save_every and step % save_every == 0:
          history.flush()
          if not history.health.in_a_row:  # What came before trouble stays to go back to.
            save(checkpoints)
        done = step >= experiment.steps or (bool(due()) and history.out_of_patience())
      except compute.Stopped:
        continue  # To the test of `stop`.
      except Diverged as error:
        returns += 1
        if not checkpoints or returns > _RETURNS or not checkpoints.steps():
          raise
        # The iterator stays where it is: the stretch of data that did this is left out.
        step, state, _ = checkpoints.newest(program.shapes) or (step, state, None)
        journal.rewind(step)
        history = history_from(step)
        bar.say(f'{error}. Going back to step {step}, and on with the data after those steps.')

    history.flush()
    program.goodput.ended()
    if checkpoints and step:
      save(checkpoints)
      with program.goodput.spending('save'):
        checkpoints.wait()
    if not done:
      return Run(state, step, {}, stop.exit_code)
    try:  # What is touched once: skipped where an earlier run has the figures of this very step.
      for name in [n for n in experiment.evals if not journal.results(n, step)]:
        with stop.at_once():
          history.evaluated(step, name, program.evaluate, state)
    except compute.Stopped:
      return Run(state, step, {}, stop.exit_code)
    results = {n: journal.results(n, step) or {} for n in experiment.evals}
    before = {f'{n}_before': journal.results(f'{n}_before', 0) for n in experiment.evals}
    return Run(state, step, {**{n: r for n, r in before.items() if r}, **results})
