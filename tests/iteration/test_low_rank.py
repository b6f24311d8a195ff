"""Low-rank adapters: the same as merged matrices, and cheap."""

import dataclasses

import flax.linen as nn
import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

from bigtrain import architecture, compute, iteration
from bigtrain.iteration.low_rank import Int8
from bigtrain.program import Program
from bigtrain.train import fit, train_step

TOKENS = np.arange(12).reshape(2, 6)


def noisy(model, inputs):
  """Returns a model's variables with noise added: adapters begin as 0."""
  init = jax.jit(lambda key: model.init_with_output(key, inputs, train=False))
  _, variables = init(jax.random.key(0))
  rng = np.random.default_rng(0)
  flat = traverse.flatten_dict(variables)
  for path, x in flat.items():
    if x.dtype != jnp.int8 and path[-1] != 'scale':
      flat[path] = x + 0.05 * rng.normal(size=x.shape).astype(x.dtype)
  return traverse.unflatten_dict(flat)


class Odd(nn.Module):
  """Layers that multiply otherwise: a convolution, several axes, a tied embedding."""

  @nn.compact
  def __call__(self, tokens_BL, *, train: bool):
    embed = nn.Embed(20, 8)
    x_BLD = nn.Conv(8, (3,))(embed(tokens_BL))
    x_BLD = x_BLD + nn.MultiHeadDotProductAttention(2)(x_BLD)
    return embed.attend(nn.Dense(8, use_bias=False)(x_BLD))


@pytest.mark.parametrize(
  ('base', 'int8'),
  [
    (architecture.DecoderLM(vocab=20, depth=1, width=16), '.*feed.*'),
    (
      architecture.DecoderLM(vocab=20, depth=2, width=16, scan=True, kv_heads=1, heads=2),
      '.*(kv|feed).*',
    ),
    (Odd(), '.*(Conv|query).*'),
  ],
  ids=['unrolled', 'scanned', 'odd'],
)
def test_merged_matrices_give_the_same_logits(base, int8):
  model = iteration.LoRA(base, targets='.*', rank=2, int8=int8)
  variables = noisy(model, TOKENS)
  merged = model.merge(variables['params'])
  shapes = jax.eval_shape(lambda: base.init(jax.random.key(0), TOKENS, train=False))['params']
  assert jax.tree.map(jnp.shape, merged) == jax.tree.map(jnp.shape, shapes)
  apart = jax.jit(lambda v: model.apply(v, TOKENS, train=False))
  together = jax.jit(lambda p: base.apply({'params': p}, TOKENS, train=False))(merged)
  np.testing.assert_allclose(apart(variables), together, atol=1e-5)
  nothing = jax.tree.map(jnp.zeros_like, variables['params']['lora'])
  without = apart({'params': {**variables['params'], 'lora': nothing}})
  assert np.abs(without - together).max() > 1e-3


def test_int8_is_within_half_a_step():
  matrix = np.random.default_rng(0).normal(size=(3, 40, 5)).astype(np.float32)
  rounded = Int8.of(matrix)
  assert rounded.int8.dtype == jnp.int8
  step = np.abs(matrix).max(axis=1, keepdims=True) / 127
  assert (np.abs(rounded.merged() - matrix) <= 0.501 * step).all()
  assert np.abs(Int8.of(jnp.zeros((4, 2))).merged()).max() == 0


def lora(**options):
  """Returns the toy experiment with adapters in place of training everything."""
  plain = toys.experiment(steps=3, every=None, ema=0, dropout=0, batch_norm=False)
  model = iteration.LoRA(plain.model, targets='Dense_.*', rank=2, **options)
  return plain, dataclasses.replace(plain, model=model, trainable='lora/.*')


def test_the_frozen_matrices_cost_neither_gradient_nor_optimiser_state():
  plain, low = lora()
  after = fit(Program(low), progress=False).state
  begun = Program(low).init()
  for name in ('Dense_0', 'Dense_1'):
    jax.tree.map(np.testing.assert_array_equal, begun.params[name], after.params[name])
  assert set(optax.tree.get(after.opt_state, 'mu')) == {'lora'}
  assert np.abs(after.params['lora']['Dense_1']['kernel']['b']).max() > 0

  def flops(experiment):
    shapes, batch = Program(experiment).shapes, experiment.data[0]
    step = lambda s, b: train_step(experiment, s, b)  # noqa: E731
    return compute.count_flops(jax.make_jaxpr(step)(shapes, batch).jaxpr)

  first, second = (16 * 2, 2 * 16), (16 * 2, 2 * 10)  # Of A and B.
  forward = 16 * 16 + 16 * 10 + sum(first) + sum(second)
  # Of the second layer to its input; of both to A and B, by way of x A.
  backward = 16 * 10 + sum(second) + sum(second) + sum(first) + first[1]
  assert flops(low) == 8 * 2 * (forward + backward)
  assert flops(plain) == 8 * 2 * (2 * 16 * 16 + 3 * 16 * 10)


def test_the_compiled_step_holds_no_second_copy_of_the_frozen_matrices():
  width = 256
  plain = toys.experiment(ema=0)
  model = nn.Sequential([nn.Dense(width) for _ in range(3)])

  class Deep(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
      return model.copy()(x.reshape(x.shape[0], -1))

  def memory(experiment):
    program = Program(experiment, devices=jax.devices()[:1])
    step = jax.jit(lambda s, b: train_step(experiment, s, b), donate_argnums=0)
    return step.lower(program.shapes, program.batch_shapes()).compile().memory_analysis()

  full = dataclasses.replace(plain, model=Deep())
  low = dataclasses.replace(
    full, model=iteration.LoRA(full.model, targets='.*', rank=1), trainable='lora/.*'
  )
  bytes_of = sum(x.size * 4 for x in jax.tree.leaves(Program(full).shapes.params))
  full, low = memory(full), memory(low)
  assert full.argument_size_in_bytes > 3 * bytes_of > 2 * low.argument_size_in_bytes
  assert full.temp_size_in_bytes > bytes_of > 5 * low.temp_size_in_bytes


def test_a_warm_start_rounds_what_is_kept_as_int8(tmp_path):
  plain, low = lora(int8='Dense_0/kernel')
  workdir = str(tmp_path)
  state = fit(Program(plain), workdir, progress=False).state
  begun = Program(dataclasses.replace(low, start=iteration.warm_start(workdir))).init()
  kernel = state.params['Dense_0']['kernel']
  np.testing.assert_array_equal(begun.params['Dense_0']['kernel']['int8'], Int8.of(kernel).int8)
  np.testing.assert_array_equal(
    begun.params['Dense_1']['kernel'], state.params['Dense_1']['kernel']
  )
  merged = low.model.merge(begun.params)
  np.testing.assert_allclose(merged['Dense_0']['kernel'], kernel, atol=0.01)
  assert set(traverse.flatten_dict(merged)) == set(traverse.flatten_dict(state.params))


def test_a_target_that_matches_nothing_is_answered_with_near_ones():
  _, low = lora()
  for options, words in (
    ({'targets': 'Dence_0/kernel'}, ['targets', 'Dence_0/kernel', 'Dense_0/kernel']),
    ({'int8': 'Dense_0/bias'}, ['int8', 'matches no matrix', 'Dense_1/kernel']),
  ):
    model = dataclasses.replace(low.model, **options)
    experiment = dataclasses.replace(low, model=model)
    toys.check_sentence(lambda e=experiment: Program(e), words, 'LoRA: ')
  with pytest.raises(ValueError, match='rank must be at least 1, got 0'):
    iteration.LoRA(low.model.model, targets='.*', rank=0)
