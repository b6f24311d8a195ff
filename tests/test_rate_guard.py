"""A rate that is too high is named before the loss is no number, and noise is not."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

from bigtrain import data, train
from bigtrain.evaluation import Mean
from bigtrain.program import Program
from bigtrain.rate_guard import RateGuard


def said(losses, fresh=True, size=10, rate=0.3):
  guard = RateGuard(fresh)
  lines = [
    guard.see(min(at + size, len(losses)), losses[at : at + size], rate)
    for at in range(0, len(losses), size)
  ]
  return [line for line in lines if line]


def course(seed, steps=4_000, noise=0.2):
  """Losses of a run that goes well: a fall with noise of several sizes, and rare spikes."""
  rng = np.random.default_rng(seed)
  level = 0.05 + 2.3 * (1 + np.arange(steps) / 30) ** -0.7
  losses = level * np.exp(noise * rng.normal(size=steps))
  losses[rng.choice(steps, 20)] *= 10
  return losses


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('noise', [0.02, 0.2, 0.5])
def test_a_run_that_goes_well_hears_nothing(seed, noise):
  assert said(course(seed, noise=noise)) == []
  assert said(course(seed, noise=noise)[500:], fresh=False) == []


def test_what_was_learned_and_lost_is_named_once_and_soon():
  losses = course(0)
  losses[1_000:] += np.minimum(np.arange(3_000) / 100, 3)
  [line] = said(losses)
  assert 1_000 < int(line.split(':')[0].split()[1]) < 1_200
  assert 'the learning rate, 0.3, is too high' in line


def test_a_loss_that_never_falls_but_rises_is_named():
  rng = np.random.default_rng(0)
  assert len(said(2.3 + 0.05 * rng.normal(size=400) + np.arange(400) / 100)) == 1
  assert said(2.3 + 0.05 * rng.normal(size=400)) == []


def test_it_speaks_again_after_things_went_well():
  losses = np.concatenate(
    [course(0)[:500], np.full(50, 9.0), course(1)[300:] / 3, np.full(50, 9.0)]
  )
  assert len(said(losses)) == 2


def test_training_names_the_rate_before_the_loss_is_not_finite(monkeypatch):
  lines = []
  monkeypatch.setattr('bigtrain.progress.Progress.say', lambda self, line: lines.append(line))

  def steep(apply, batch):
    # At a rate above 2 / curvature a parabola's loss grows at every step.
    return {'loss': Mean.of(5e-4 * jnp.square(apply(batch['x']).sum(axis=1)) + 1.0)}

  class Slope(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      return x * self.param('slope', nn.initializers.ones, (1,))

  plain = toys.experiment(every=None, steps=200, ema=0.0)
  high = dataclasses.replace(
    plain, model=Slope(), objective=steep, optimizer=optax.sgd(0.8), schedule=lambda step: 0.8,
    data=data.forever(data.arrays(x=np.full((50, 1), 60.0, np.float32)), 8), evals={},
  )  # fmt: skip
  with pytest.raises(FloatingPointError):
    train.fit(Program(high), progress=False)
  guard = [i for i, line in enumerate(lines) if 'the learning rate, 0.8, is too high' in line]
  broken = [i for i, line in enumerate(lines) if 'not finite' in line]
  assert len(guard) == 1
  assert guard[0] < broken[0]
