"""Both sides of benchmarks/models.py are the same model."""

import importlib
from typing import Any

import jax
import numpy as np
import pytest
from flax import traverse_util

from benchmarks import models
from bigtrain.state import bind, init

torch = pytest.importorskip('torch', reason='PyTorch is compared with: pip install torch')


QUICK = ('mlp', 'gru', 'encoder')  # The others take seconds each.
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in models.FAMILIES if name not in QUICK]


@pytest.mark.parametrize('name', [*QUICK, *SLOW])
def test_both_sides_have_the_same_parameters_and_the_same_loss(name):
  theirs = importlib.import_module('benchmarks.models_torch')
  made = models.experiment(name)
  batch: Any = models.records(name, 2)
  state = init(made, batch)
  leaves, structure = jax.tree.flatten(state.params)
  rng = np.random.default_rng(0)
  params = jax.tree.unflatten(
    structure, [np.float32(p + 0.05 * rng.normal(size=p.shape)) for p in leaves]
  )
  apply, _ = bind(made, params, state.model_state, jax.random.key(0))
  ours = made.objective(apply, batch)['loss'].value
  net = models.FAMILIES[name].theirs(theirs)
  theirs.carry(traverse_util.flatten_dict(params, sep='/'), net)
  given, label = (torch.from_numpy(np.array(x)) for x in batch.values())
  loss = torch.nn.functional.cross_entropy(net(given), label.long().view(-1))
  np.testing.assert_allclose(loss.item(), ours, rtol=2e-4)
