"""A small experiment for tests, with dropout, statistics, shuffling and augmentation on; and a
person's own source."""

import json

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from bigtrain import data, evaluation
from bigtrain.experiment import Eval, Experiment

# What a TPU's compiler says of a program that does not fit.
TOO_MUCH = """RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.
  1. Size: 2.00G
     Operator: op_name="jit(step)/big" stack_frame_id=1
     Shape: bf16[64,512]{1,0}
  2. Size: 512.0M
     Shape: f32[8]{0}"""


class Net(nn.Module):
  """Dense layers with dropout, and BatchNorm by a knob."""

  dropout: float = 0.1
  batch_norm: bool = True

  @nn.compact
  def __call__(self, x, *, train: bool):
    x = nn.Dense(16)(x.reshape(x.shape[0], -1))
    if self.batch_norm:
      x = nn.BatchNorm(use_running_average=not train)(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
    return nn.Dense(10)(x)


class Records:
  """Records as a person's own source gives them."""

  def __init__(self, *records):
    self.records = records

  def __len__(self):
    return len(self.records)

  def __getitem__(self, index):
    return self.records[index]


def check_sentence(do, words, start, kinds=ValueError):
  """Checks that `do()` raises one of `kinds`, whose message matches `start` and holds all words."""
  with pytest.raises(kinds, match=start) as caught:
    do()
  assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def initialised(model, *inputs, seed=0):
  """Returns a model's variables with noise added: outputs that start at 0 would make every property
  hold."""
  init = jax.jit(lambda key: model.init(key, *inputs, train=False))
  leaves, structure = jax.tree.flatten(init(jax.random.key(seed)))
  keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
  noisy = [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
  return jax.tree.unflatten(structure, noisy)


def plant_run(folder, knobs, losses, accuracy=0.9, source='x = 1\n'):
  """Writes a workdir as a run leaves it, killed in mid-line, and returns it."""
  folder.mkdir(parents=True)
  record = {'experiment': 'toy', 'file': 'toy.py', 'knobs': knobs, 'starts': []}
  (folder / 'record.json').write_text(json.dumps(record))
  (folder / 'toy.py').write_text(source)
  rows = [
    {'step': i + 1, 'seconds': i / 10, 'train/loss': loss, 'train/learning_rate': 0.1}
    for i, loss in enumerate(losses)
  ]
  test = {'test/accuracy': accuracy, 'test/accuracy_low': accuracy - 0.01}
  rows.append({'step': len(losses), 'seconds': 9.0, **test, 'test/accuracy_high': accuracy + 0.01})
  (folder / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows) + '{"st')
  return str(folder)


def source(size: int = 50) -> data.Arrays:
  """Images [4, 4, 1] of noise with labels."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(size, 4, 4, 1)).astype(np.float32)
  return data.arrays(image=image, label=rng.integers(0, 10, size))


def jitter(batch, draws):
  """An augmentation: noise of each row's own."""
  return {**batch, 'image': batch['image'] + np.float32(0.1) * draws.normal(4, 4, 1)}


def experiment(
  *,
  batch: int = 8,
  steps: int = 30,
  dropout: float = 0.1,
  batch_norm: bool = True,
  accumulate: int = 1,
  ema: float = 0.9,
  every: int | None = 10,
  lr: float = 0.01,
  seed: int = 0,
) -> Experiment:
  """Returns an experiment whose record count (50) divides neither by batch nor by steps."""
  objective = evaluation.softmax_cross_entropy
  held_out = data.once(source(13), batch)
  return Experiment(
    data=data.forever(source(), batch, seed=seed, map=jitter),
    model=Net(dropout, batch_norm),
    objective=objective,
    optimizer=optax.adam(lr),
    steps=steps,
    evals={'held_out': Eval(held_out, objective, every=every), 'test': Eval(held_out, objective)},
    accumulate=accumulate,
    ema=ema,
    seed=seed,
  )
