"""However the devices are laid out, training gives the losses of one device."""

import functools

import flax.linen as nn
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from bigtrain import architecture, compute, data, evaluation
from bigtrain.experiment import Experiment
from bigtrain.program import Program

STEPS, BATCH = 20, 8
ALL = functools.partial(compute.fsdp, min_size=0)  # Toys are small, and are sharded all the same.
CONV = ((r'Conv_\d+/kernel', P(None, None, None, 'tensor')),)
CELL = ((r'cell/\w+/kernel', P('fsdp', 'tensor')),)


class Recurrent(nn.Module):
  """An LSTM over tokens."""

  @nn.compact
  def __call__(self, tokens, *, train):
    cell = nn.OptimizedLSTMCell(32, name='cell')
    return nn.Dense(64)(nn.RNN(cell)(nn.Embed(64, 32)(tokens)))


def run(experiment, mesh):
  """Returns the loss of each step."""
  program = Program(experiment, mesh)
  state, iterator, losses = program.start(), experiment.data.iterator(0, 1), []
  while len(losses) < STEPS:
    batches = [next(iterator) for _ in range(program.per_dispatch)]
    state, means = program.run(state, program.place(batches), len(batches))
    losses += np.ravel(means['loss'].value).tolist()
  return losses


@functools.cache
def experiment(kind):
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, 64, (40, 17))
  image = rng.normal(size=(40, 8, 8, 1)).astype(np.float32)
  texts = data.arrays(inputs=tokens[:, :-1], targets=tokens[:, 1:])
  images = data.arrays(image=image, label=rng.integers(0, 4, 40))
  model = {
    'transformer': architecture.DecoderLM(vocab=64, depth=2, width=32, heads=4, init_scale=0.1),
    'scanned': architecture.DecoderLM(
      vocab=64, depth=4, width=32, heads=4, init_scale=0.1, scan=True, remat='full'
    ),
    'experts': architecture.DecoderLM(
      vocab=64, depth=1, width=32, heads=4, init_scale=0.1, experts=4, active=2, hidden=32
    ),
    'convnet': architecture.Convnet(4, widths=(8, 16)),
    'recurrent': Recurrent(),
  }[kind]
  convnet = kind == 'convnet'
  return Experiment(
    data=data.forever(images if convnet else texts, BATCH),
    model=model,
    objective=evaluation.softmax_cross_entropy if convnet else evaluation.next_token,
    optimizer=optax.adam(1e-3),
    steps=STEPS,
    partition=compute.rules([*CONV, *CELL, *compute.TRANSFORMER], ALL),
  )


@functools.cache
def alone(kind):
  """The losses of one device, which fall."""
  losses = run(experiment(kind), '')
  assert losses[-1] < losses[0] - 0.01
  return losses


@pytest.mark.parametrize('mesh', ['data:8', 'data:4,fsdp:2', 'data:2,fsdp:2,tensor:2'])
@pytest.mark.parametrize('kind', ['transformer', 'convnet', 'recurrent'])
def test_losses_are_those_of_one_device(kind, mesh):
  np.testing.assert_allclose(run(experiment(kind), mesh), alone(kind), atol=1e-5)


@pytest.mark.parametrize(
  ('kind', 'mesh'),
  [
    ('transformer', 'fsdp:2,sequence:4'),
    ('experts', 'data:2,expert:2,tensor:2'),
    ('scanned', 'data:2,stage:4'),
    ('scanned', 'fsdp:2,tensor:2,stage:2'),
  ],
)
def test_losses_over_positions_experts_and_stages_are_those_of_one_device(kind, mesh):
  np.testing.assert_allclose(run(experiment(kind), mesh), alone(kind), atol=1e-5)
