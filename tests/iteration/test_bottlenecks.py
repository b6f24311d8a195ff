"""Adapters after layers, scanned or not."""

import dataclasses

import flax.traverse_util as traverse
import jax
import numpy as np
import pytest
import toys

from bigtrain import architecture, iteration
from bigtrain.program import Program
from bigtrain.train import fit

TOKENS = np.arange(12).reshape(2, 6)


def test_an_adapter_without_its_second_matrix_is_nothing_and_each_scanned_layer_has_one():
  base = architecture.DecoderLM(vocab=20, depth=2, width=16)
  unrolled = toys.initialised(base, TOKENS)['params']
  outputs = []
  for scan, params in ((False, unrolled), (True, architecture.stack_layers(unrolled))):
    model = iteration.Bottleneck(base.clone(scan=scan), 'block.*/(attention|feed)', width=3)
    init = lambda m=model: m.init_with_output(jax.random.key(0), TOKENS, train=False)  # noqa: E731
    flat = traverse.flatten_dict(jax.eval_shape(init)[1]['params'], sep='/')
    own = {path: x.shape for path, x in flat.items() if 'adapter_' in path}
    assert len(own) == (4 if scan else 8)
    layer = 'blocks/block_0' if scan else 'block_0'
    assert own[f'{layer}/feed/adapter_down'] == ((2,) if scan else ()) + (16, 3)
    apply = jax.jit(lambda p, m=model: m.apply({'params': p}, TOKENS, train=False))
    theirs = traverse.flatten_dict(params, sep='/')
    for up in (0.0, 0.1):
      values = {p: np.full(x, up if 'up' in p else 0.1, np.float32) for p, x in own.items()}
      outputs.append(apply(traverse.unflatten_dict({**theirs, **values}, sep='/')))
  plain = jax.jit(lambda p: base.apply({'params': p}, TOKENS, train=False))(unrolled)
  np.testing.assert_allclose(outputs[0], plain, atol=1e-5)
  np.testing.assert_allclose(outputs[2], plain, atol=1e-5)
  assert np.abs(outputs[1] - plain).max() > 1e-2
  np.testing.assert_allclose(outputs[1], outputs[3], atol=1e-5)


def test_only_the_adapters_are_trained_and_a_target_without_a_layer_is_named():
  plain = toys.experiment(steps=3, every=None, ema=0)
  model = iteration.Bottleneck(plain.model, 'Dense_0', width=2)
  experiment = dataclasses.replace(plain, model=model, trainable='.*/adapter_.*')
  begun, after = Program(experiment).init(), fit(Program(experiment), progress=False).state
  np.testing.assert_array_equal(
    begun.params['Dense_0']['kernel'], after.params['Dense_0']['kernel']
  )
  assert np.abs(after.params['Dense_0']['adapter_up']).max() > 0
  wrong = dataclasses.replace(experiment, model=dataclasses.replace(model, targets='Dence_0'))
  toys.check_sentence(
    lambda: Program(wrong), ['Dence_0', 'the nearest are Dense_0'], 'Bottleneck: '
  )
  with pytest.raises(ValueError, match='width must be at least 1'):
    iteration.Bottleneck(plain.model, '.*', width=0)
