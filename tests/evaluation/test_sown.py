"""What layers sow is added to the loss, in training and in evaluation, and is no state."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

from bigtrain import data, evaluation, train
from bigtrain.experiment import Experiment
from bigtrain.state import init


class Sower(nn.Module):
  """Sows the mean square of its input twice, next to BatchNorm's statistics."""

  @nn.compact
  def __call__(self, x, *, train: bool):
    x = nn.BatchNorm(use_running_average=not train)(x.reshape(len(x), -1))
    for name in 'ab':
      x = nn.Dense(10, name=name)(x)
      self.sow('losses', 'square', jnp.square(x).mean())
    return x


def experiment(objective, accumulate=1):
  return Experiment(
    data=data.forever(toys.source(), 8, seed=0), model=Sower(), objective=objective,
    optimizer=optax.sgd(0.1), steps=2, accumulate=accumulate,
  )  # fmt: skip


plain = evaluation.softmax_cross_entropy


def stepped(objective, accumulate=1):
  made = experiment(objective, accumulate)
  batch = next(made.data.iterator(0, 1))
  state = init(made, batch)
  assert set(state.model_state) == {'batch_stats'}
  return jax.jit(lambda state: train.train_step(made, state, batch))(state)


def test_a_model_that_sows_trains_without_being_listened_to():
  state, _ = stepped(plain)
  assert set(state.model_state) == {'batch_stats'}


@pytest.mark.parametrize('accumulate', [1, 2])
def test_sown_losses_are_added_by_their_coefficient(accumulate):
  state, means = stepped(evaluation.with_sown(plain, square=0.5), accumulate)
  value = {name: float(mean.value) for name, mean in means.items()}
  np.testing.assert_allclose(value['loss'], value['own_loss'] + 0.5 * value['square'], rtol=1e-5)
  assert value['square'] > 0.1
  assert set(state.model_state) == {'batch_stats'}
  without, _ = stepped(plain, accumulate)
  kernel = state.params['b']['kernel']
  assert not np.allclose(kernel, without.params['b']['kernel'])


def test_a_coefficient_of_nothing_is_refused():
  with pytest.raises(ValueError, match=r"sows \['square'\] into 'losses', not 'cube'"):
    stepped(evaluation.with_sown(plain, cube=1.0))
