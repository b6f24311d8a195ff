"""Rates and beginnings by depth."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import architecture, tuning

UNROLLED = {
  'embed': {'embedding': jnp.ones((4, 2))},
  **{f'block_{i}': {'up': {'kernel': jnp.ones((2, 3))}, 'gain': jnp.ones(2)} for i in range(4)},
  'out_norm': {'scale': jnp.ones(2)},
}


def scanned(tree):
  return architecture.stack_layers(tree, 2)


def test_a_layer_learns_at_its_share_of_the_rate_scanned_or_not():
  decay = tuning.layer_decay(0.5)
  updates, _ = decay.update(UNROLLED, decay.init(UNROLLED))
  shares = {name: float(jax.tree.leaves(part)[0].ravel()[0]) for name, part in updates.items()}
  assert shares == {
    'embed': 1 / 32,
    **{f'block_{i}': 1 / 2 ** (4 - i) for i in range(4)},
    'out_norm': 1,
  }
  stacked, _ = decay.update(scanned(UNROLLED), decay.init(scanned(UNROLLED)))
  jax.tree.map(np.testing.assert_array_equal, stacked, scanned(updates))
  adapters = {'lora': {'block_1': {'a': jnp.ones(1)}, 'block_0': {'a': jnp.ones(1)}}}
  below, _ = decay.update(adapters, decay.init(adapters))
  assert below['lora']['block_0']['a'] == 0.25


@pytest.mark.parametrize('shape', [lambda tree: tree, scanned], ids=['unrolled', 'scanned'])
def test_layers_begin_to_learn_from_the_head_down_also_after_a_break(shape):
  params = shape(UNROLLED)
  optimizer = optax.chain(optax.sgd(1.0), tuning.unfreeze_gradually(every=2))
  state, begun = optimizer.init(params), jax.tree.map(lambda x: jnp.full(x.shape, -1), params)
  update = jax.jit(lambda g, s: optimizer.update(g, s))
  for step in range(12):
    updates, state = update(params, state)
    begun = jax.tree.map(
      lambda b, u, step=step: jnp.where((b < 0) & (u != 0), step, b), begun, updates
    )
    state = jax.tree.map(jnp.asarray, jax.device_get(state))  # As through a checkpoint.
  expected = {f'block_{i}': 2 * (4 - i) for i in range(4)} | {'embed': 10, 'out_norm': 0}
  expected = {name: jax.tree.map(lambda x, n=name: jnp.full(x.shape, expected[n]), part)
              for name, part in UNROLLED.items()}  # fmt: skip
  jax.tree.map(np.testing.assert_array_equal, begun, shape(expected))


def test_what_makes_no_sense_is_named():
  with pytest.raises(ValueError, match=r'decay in \(0, 1\], got 1.2'):
    tuning.layer_decay(1.2)
  with pytest.raises(ValueError, match='got every=0'):
    tuning.unfreeze_gradually(0)
  with pytest.raises(ValueError, match=r'no path is in a block.*Dense_0/kernel'):
    tuning.layer_decay(0.8).init({'Dense_0': {'kernel': jnp.ones(2)}})
