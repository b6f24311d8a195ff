"""The critical batch size, measured by branching, against what the gradient noise scale says.

  python -m benchmarks.noise_scale

The MLP of `digits` is trained to a first loss; from there branches of many batch sizes, each with
its best rate, go on to a second one. Steps that they take are fitted by S = fewest (1 + critical /
B) (McCandlish et al. 2018, equation 2.7). The noise scale is the mean over one branch. Examples are
drawn with replacement, losses taken over all training images.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from bigtrain import tuning
from bigtrain.state import bind, init
from bigtrain.train import train_step
from experiments import digits

_OPTIMIZER = flags.DEFINE_enum('optimizer', 'sgd', ['sgd', 'adam'], 'of all branches')
_FROM = flags.DEFINE_float('from', 1.0, 'loss at which branches begin')
_TO = flags.DEFINE_float('to', 0.5, 'loss at which they end')
_SEEDS = flags.DEFINE_integer('seeds', 4, 'runs of each batch size and rate', lower_bound=1)
_RATES = flags.DEFINE_integer('rates', 7, 'rates, a factor of 2 apart', lower_bound=3)
_WIDTH = flags.DEFINE_integer('width', 64, 'half of the hidden layers')
_BATCHES = (4, 8, 16, 32, 64, 128, 256, 512)
_HIGHEST = {'sgd': 2.0, 'adam': 0.03}
_MOST = 2_000  # Steps of a branch.


class Branches:
  """Runs of one experiment on draws from its training data, side by side."""

  def __init__(self, batch: int, noise_scale: int = 0):
    plain = digits.experiment(model='mlp', width=_WIDTH.value, dropout=0.0, augment=False, ema=0.0)
    source = plain.data.source
    records = source[np.arange(len(source))]
    self.data = jax.tree.map(jnp.asarray, {**records, 'weight': np.ones(len(source), np.float32)})
    # The experiment's data say how large a batch is.
    stream = digits.experiment(batch=batch, model='mlp', augment=False).data
    self.experiment = dataclasses.replace(plain, data=stream, noise_scale=noise_scale)
    self.batch = batch

  def of(self, rate: Any) -> Any:
    """Returns the experiment at a rate."""
    make = {'sgd': optax.sgd, 'adam': optax.adam}[_OPTIMIZER.value]
    return dataclasses.replace(self.experiment, optimizer=make(rate))

  def loss(self, state: Any) -> jax.Array:
    """Returns the loss over all training data."""
    apply, _ = bind(self.experiment, state.params, state.model_state)
    return self.experiment.objective(apply, self.data)['loss'].value

  @functools.partial(jax.jit, static_argnums=(0, 4))
  def go(self, states: Any, rates: jax.Array, keys: jax.Array, steps: int) -> Any:
    """Takes some steps of each member; returns states, losses after them, and the last Means."""

    def one(state, rate, key):
      experiment = self.of(rate)

      def body(state, key):
        index = jax.random.randint(key, (self.batch,), 0, len(self.data['label']))
        return train_step(experiment, state, jax.tree.map(lambda x: x[index], self.data))

      state, means = jax.lax.scan(body, state, jax.random.split(key, steps))
      return state, self.loss(state), means

    return jax.vmap(one)(states, rates, keys)


def beginning() -> Any:
  """Trains one run to the first loss."""
  runs = Branches(64)
  states = jax.vmap(lambda _: init(runs.of(0.1), runs.data))(jnp.arange(1))
  rate = jnp.array([_HIGHEST[_OPTIMIZER.value] / 16])
  for step in range(_MOST):
    states, losses, _ = runs.go(states, rate, jax.random.split(jax.random.key(step), 1), 1)
    if losses[0] <= _FROM.value:
      print(
        f'branches begin after {step + 1} steps of 64, at a loss of {losses[0]:.3f}', flush=True
      )
      return states
  raise ValueError(f'no loss of {_FROM.value} in {_MOST} steps: give a higher --from')


def steps_needed(start: Any, batch: int) -> tuple[float, float]:
  """Returns the fewest steps of a batch size to the second loss, mean of seeds, and its rate."""
  runs = Branches(batch)
  rates = np.float32(_HIGHEST[_OPTIMIZER.value]) * 2.0 ** -np.arange(_RATES.value)
  members = np.repeat(rates, _SEEDS.value)
  states = jax.tree.map(lambda x: jnp.repeat(x, len(members), axis=0), start)
  every = max(1, 32 // batch)
  before = np.full(len(members), _FROM.value)
  found = np.full(len(members), np.inf)
  keys = jax.random.split(jax.random.key(batch), _SEEDS.value)
  for step in range(0, _MOST, every):
    now = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
    states, losses, _ = runs.go(states, jnp.asarray(members), jnp.tile(now, _RATES.value), every)
    losses = np.asarray(losses, float)
    with np.errstate(invalid='ignore', divide='ignore'):
      part = np.log(before / _TO.value) / np.log(before / losses)  # Of the last few steps.
    hit = (losses <= _TO.value) & np.isinf(found)
    found[hit] = step + every * part[hit]
    before = losses
    means = found.reshape(_RATES.value, _SEEDS.value).mean(axis=1)
    if step > 3 * means.min() + 10 * every:
      break
  best = int(np.argmin(means))
  if best in (0, len(rates) - 1):
    print(f'  batch {batch}: the best rate, {rates[best]:.4g}, is at the edge of those tried')
  return float(means[best]), float(rates[best])


def noise_over(start: Any, batch: int, rate: float, steps: float) -> float:
  """Returns the noise scale over a branch, measured at each step of several seeds."""
  runs = Branches(batch, noise_scale=1)
  keys = jax.random.split(jax.random.key(1_000), 8)
  states = jax.tree.map(lambda x: jnp.repeat(x, len(keys), axis=0), start)
  _, _, means = runs.go(states, jnp.full(len(keys), rate), keys, round(steps))
  return tuning.critical_batch(means['noise_variance'].total, means['noise_square'].total)


def main(argv: list[str]) -> None:
  """Prints steps by batch size, the fit and the noise scale."""
  del argv
  begin = time.process_time()
  start = beginning()
  steps, rates = {}, {}
  for batch in _BATCHES:
    steps[batch], rates[batch] = steps_needed(start, batch)
    print(
      f'  batch {batch:4}: {steps[batch]:7.1f} steps, {batch * steps[batch]:8.0f} examples, '
      f'rate {rates[batch]:.4g}',
      flush=True,
    )
  sizes, taken = np.array(_BATCHES, float), np.array([steps[b] for b in _BATCHES])

  from scipy.optimize import least_squares

  def off(x):
    return x[0] + np.log1p(np.exp(x[1]) / sizes) - np.log(taken)

  fewest, critical = np.exp(least_squares(off, [np.log(taken.min()), np.log(64)]).x)
  print(f'critical batch by branching: {critical:.1f} examples ({fewest:.1f} steps at fewest)')
  for batch in (64, 128):
    scale = noise_over(start, batch, rates[batch], steps[batch])
    print(f'noise scale of the branch of {batch}: {scale:.1f}, {scale / critical:.2f} of it')
  print(f'{(time.process_time() - begin) / 60:.1f} minutes of processor time')


if __name__ == '__main__':
  app.run(main)
