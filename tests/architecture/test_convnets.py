"""Convolutions, pooling, and the families built from them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain.architecture import convnets, convnexts, mixers, resnets

SMALL = dict(blocks=(1, 1), width=8, small=True)
FAMILIES = {
  'resnet': resnets.ResNet(3, **SMALL),
  'basic': resnets.ResNet(3, bottleneck=False, norm='group', groups=4, **SMALL),
  'stem': resnets.ResNet(3, blocks=(1, 1), width=8),
  'convnext': convnexts.ConvNeXt(3, blocks=(1, 1), widths=(8, 16), patch=2, layer_scale=0.5),
  'mixer': mixers.Mixer(3, patch=4, depth=2, width=16),
}


def initialised(model, x, seed=0):
  """Variables of which no output layer and no gain is 0."""
  variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(seed), x)
  leaves, structure = jax.tree.flatten(variables)
  keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
  # Variances must stay positive.
  noise = [0.1 * jnp.abs(jax.random.normal(k, p.shape)) for p, k in zip(leaves, keys, strict=True)]
  return jax.tree.unflatten(structure, [p + n for p, n in zip(leaves, noise, strict=True)])


def parameters(model, side):
  image = jnp.zeros((1, side, side, 3))
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
  return sum(x.size for x in jax.tree.leaves(shapes['params']))


def test_published_models_have_their_numbers_of_parameters():
  resnet = {size: parameters(resnets.ResNet(1000, **k), 224) for size, k in resnets.RESNETS.items()}
  assert resnet == {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}
  convnext = {
    size: parameters(convnexts.ConvNeXt(1000, **k), 224) for size, k in convnexts.CONVNEXTS.items()
  }
  assert (convnext['tiny'], convnext['base']) == (28_589_128, 88_591_464)
  mixer = mixers.Mixer(1000, patch=16, depth=12, width=768, across=384)
  assert parameters(mixer, 224) == 59_880_472  # Mixer-B/16.


@pytest.mark.parametrize(('size', 'stride'), [(1, 1), (3, 2), (7, 2), (2, 2), (3, 3)])
def test_a_strided_convolution_by_products_is_the_convolution(size, stride):
  side = 6 if size == stride else 9
  image = jax.random.normal(jax.random.key(0), (2, side, side, 3))
  own, xla = (
    convnets.Conv(4, size, stride, use_bias=True, products=products) for products in (True, False)
  )
  variables = initialised_conv(own, image)

  def loss(model, variables, image):
    return jnp.sin(model.apply(variables, image)).sum()

  got, want = (jax.value_and_grad(loss, (1, 2))(model, variables, image) for model in (own, xla))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)
  around = 0 if size == stride else size // 2
  want = nn.Conv(4, (size, size), (stride, stride), padding=around).apply(variables, image)
  np.testing.assert_allclose(own.apply(variables, image), want, rtol=1e-4, atol=1e-5)


def initialised_conv(model, image):
  variables = model.init(jax.random.key(1), image)
  return jax.tree.map(lambda p: p + 0.1, variables)


def test_a_depthwise_convolution_by_products_is_the_convolution():
  image = jax.random.normal(jax.random.key(0), (2, 4, 9, 3))
  own, xla = (convnexts.DepthwiseConv(5, products=products) for products in (True, False))
  variables = initialised_conv(own, image)

  def loss(model, variables, image):
    return jnp.sin(model.apply(variables, image)).sum()

  got, want = (jax.value_and_grad(loss, (1, 2))(model, variables, image) for model in (own, xla))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)


@pytest.mark.parametrize('shape', [(2, 8, 8, 3), (2, 7, 6, 3), (1, 1, 2, 1)])
def test_overlapping_maxima_are_pytorchs_pooling(shape):
  x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)

  def pooled(x):
    return nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))

  def gradient(f):
    return jax.grad(lambda x: jnp.sin(f(x)).sum())(x)

  np.testing.assert_array_equal(convnets.overlapping_maxima(x), pooled(x))
  np.testing.assert_allclose(gradient(convnets.overlapping_maxima), gradient(pooled), atol=1e-6)


@pytest.mark.parametrize('name', FAMILIES)
def test_families_take_bytes_and_examples_one_by_one(name):
  model = FAMILIES[name]
  image = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1)).astype(np.uint8)
  variables = initialised(model, image)
  apply = jax.jit(lambda image: model.apply(variables, image, train=False))
  logits = apply(image)
  assert logits.shape == (3, 3)
  np.testing.assert_allclose(apply(image.astype(np.float32) / 255), logits, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(apply(image[:1]), logits[:1], rtol=1e-4, atol=1e-5)
  assert np.abs(logits[0] - logits[1]).max() > 1e-4


@pytest.mark.parametrize(
  ('name', 'stride', 'reach', 'edge'), [('resnet', 2, 8, 2), ('convnext', 4, 24, 6)]
)
def test_what_lies_inside_moves_with_the_image(name, stride, reach, edge):
  model = FAMILIES[name]
  rng = np.random.default_rng(0)
  # A patch on black, more than the reach of the kernels away from the edges before and after.
  side = 2 * reach + 16
  image = np.zeros((1, side, side, 1), np.float32)
  image[:, reach : reach + 8, reach : reach + 8] = rng.normal(size=(1, 8, 8, 1))
  variables = initialised(model, image)
  last = 'stage_1_block_0'

  @jax.jit
  def features(image):
    _, kept = model.apply(
      variables, image, train=False, capture_intermediates=lambda m, _: m.name == last
    )
    return kept['intermediates'][last]['__call__'][0]

  before = features(image)
  after = features(np.roll(image, (stride, stride), axis=(1, 2)))
  inside = slice(edge, -edge)
  moved = np.roll(before, (1, 1), axis=(1, 2))[:, inside, inside]
  np.testing.assert_allclose(after[:, inside, inside], moved, atol=1e-4)
  assert np.abs(before - after)[:, inside, inside].max() > 1e-2


def test_batch_statistics_are_kept_in_training_and_used_in_evaluation():
  model = FAMILIES['resnet']
  image = jax.random.normal(jax.random.key(0), (8, 8, 8, 1))
  variables = model.init(jax.random.key(1), image, train=False)

  @jax.jit
  def train(state):
    return model.apply({**variables, **state}, image, train=True, mutable=['batch_stats'])

  state = {'batch_stats': variables['batch_stats']}
  for _ in range(200):  # 0.9 ** 200: the first statistics are forgotten.
    trained, state = train(state)
  evaluated = model.apply({**variables, **state}, image, train=False)
  np.testing.assert_allclose(trained, evaluated, rtol=1e-3, atol=1e-4)
  first = model.apply(variables, image, train=False)
  assert np.abs(first - evaluated).max() > 1e-3


def test_a_group_normed_net_has_no_batch_statistics():
  variables = FAMILIES['basic'].init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)
  assert set(variables) == {'params'}


def test_blocks_of_a_new_resnet_are_the_identity():
  block = resnets.ResNetBlock(4, 1, True, 'batch', 1, jnp.float32)
  image = jnp.abs(jax.random.normal(jax.random.key(0), (2, 6, 6, 16)))
  variables = block.init(jax.random.key(1), image, train=False)
  np.testing.assert_array_equal(block.apply(variables, image, train=False), image)


def test_stochastic_depth_leaves_out_whole_blocks_of_an_example():
  block = convnexts.ConvNeXtBlock(3, 1.0, 0.5, jnp.float32)
  image = jnp.tile(jax.random.normal(jax.random.key(0), (1, 4, 4, 8)), (32, 1, 1, 1))
  variables = initialised(block, image)
  kept = block.apply(variables, image, train=False) - image
  y = block.apply(variables, image, train=True, rngs={'dropout': jax.random.key(2)}) - image
  skipped = np.asarray(jnp.abs(y).max(axis=(1, 2, 3)) == 0)
  assert 4 < skipped.sum() < 28
  np.testing.assert_allclose(y[~skipped], 2 * kept[~skipped], rtol=1e-3, atol=1e-5)


def test_what_does_not_fit_is_named():
  def make(model, side=9):
    model.init(jax.random.key(0), jnp.zeros((1, side, side, 1)), train=False)

  with pytest.raises(ValueError, match="'batch' or 'group', got 'layer'"):
    make(resnets.ResNet(3, norm='layer', **SMALL))  # pyright: ignore[reportArgumentType]
  with pytest.raises(ValueError, match='squares of 4 must divide by it: got 9x9'):
    make(mixers.Mixer(3, patch=4))
  with pytest.raises(ValueError, match='each stage has blocks and a width'):
    make(convnexts.ConvNeXt(3, blocks=(1,)), 8)
