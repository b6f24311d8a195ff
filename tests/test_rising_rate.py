"""A range test finds the rate that a problem bears, and scales any schedule to the rising one."""

import dataclasses
import pathlib

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

from bigtrain import data, tuning
from bigtrain.build import Build
from bigtrain.evaluation import Mean
from bigtrain.rising_rate import peak_of, range_said, range_test
from bigtrain.verbs.tune import tune

_CURVATURE = 4.0


class Bowl(nn.Module):
  """The point where the loss is taken, in 10 dimensions, the same for each example."""

  @nn.compact
  def __call__(self, x, *, train: bool):
    point = self.param('point', nn.initializers.ones, (10,))
    return jnp.broadcast_to(point, (len(x), 10)) + 0.1 * x


def squared(apply, batch):
  return {'loss': Mean.of(_CURVATURE / 2 * jnp.square(apply(batch['x'])).mean(axis=1) * 10)}


def experiment(*, lr: float = 0.1, steps: int = 300, optimizer: str = 'sgd') -> toys.Experiment:
  """Returns the descent into a bowl, which no rate above 2 / curvature survives."""
  schedule = tuning.warmup_cosine(lr, steps)
  noise = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)
  made = {
    'sgd': lambda: optax.sgd(schedule),
    'schedule_free': lambda: tuning.schedule_free(lr),
  }
  return dataclasses.replace(
    toys.experiment(steps=steps, ema=0.0), model=Bowl(), objective=squared, schedule=schedule,
    data=data.forever(data.arrays(x=noise), 8), optimizer=made[optimizer](),
  )  # fmt: skip


def test_a_bowl_explodes_past_its_highest_rate_and_the_suggestion_is_below(tmp_path, capsys):
  found = tune(Build.of(experiment), workdir=str(tmp_path), range_test=True)
  assert (tmp_path / 'range.png').stat().st_size > 5_000
  said = capsys.readouterr().out
  assert 'exploded' in said
  assert f'--lr={found.knobs["lr"]:g}' in said
  most = 2 / _CURVATURE
  assert most / 30 < found.knobs['lr'] < most


def test_the_rate_is_the_rising_one_whatever_the_schedule_says():
  made = experiment()
  test = range_test(made)
  assert peak_of(made) == pytest.approx(0.1, rel=0.01)
  ratios = test.rates[1:] / test.rates[:-1]
  np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)
  # The same, by hand: gradient descent whose rate is that of each step.
  point, losses = np.ones(10), []
  batches = made.data.iterator(0, 1)
  for rate in test.rates:
    x = point + 0.1 * next(batches)['x']
    losses.append(_CURVATURE / 2 * np.square(x).sum(axis=1).mean())
    point = point - rate * _CURVATURE * x.mean(axis=0)
  np.testing.assert_allclose(test.losses, losses, rtol=1e-3)


@pytest.mark.parametrize(
  ('knobs', 'words'),
  [
    ({'steps': 10}, '20 steps at least'),
    ({'lr': 0.0}, 'must be above 0'),
    ({'optimizer': 'schedule_free'}, 'no range test'),
  ],
)
def test_what_has_no_range_is_refused_and_leaves_nothing(knobs, words, tmp_path):
  with pytest.raises(ValueError, match=words):
    tune(Build.of(experiment, **knobs), workdir=str(tmp_path), range_test=True)
  assert list(pathlib.Path(tmp_path).iterdir()) == []
  with pytest.raises(ValueError, match='states its schedule'):
    range_test(dataclasses.replace(experiment(), schedule=None))


def test_noise_suggests_nothing_and_what_still_falls_says_so():
  rates = np.geomspace(1e-5, 1, 200)
  noise = 2.3 + 0.1 * np.random.default_rng(0).normal(size=200)
  test = tuning.read_range(rates, noise)
  assert test.suggestion is None
  assert 'nothing to suggest' in range_said(test, 0.1)
  falling = tuning.read_range(rates, np.linspace(2, 1, 200))
  assert 'still falling' in range_said(falling, 0.1)
  assert tuning.has_exploded([1.0, np.nan])
  assert not tuning.has_exploded([1.0, 1.2, 0.9])
  with pytest.raises(ValueError, match='not finite after 1 steps'):
    tuning.read_range(rates[:2], [1.0, np.inf])
