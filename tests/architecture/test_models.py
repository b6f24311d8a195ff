"""Properties of the model families."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import initialised

from bigtrain import architecture
from bigtrain.architecture import convnets, products


def count(variables):
  return sum(x.size for x in jax.tree.leaves(variables['params']))


NANOGPT = dict(
  position='learned', norm='layer', feed='gelu', qk_norm=False, tied=True, init_scale=0.02
)
DECODERS = [
  {},
  dict(conv=3),
  dict(feed='swiglu', tied=True, qk_norm=False),
  dict(NANOGPT, length=16),
]


@pytest.mark.parametrize('knobs', DECODERS)
def test_a_decoder_sees_no_future(knobs):
  model = architecture.DecoderLM(vocab=11, depth=2, width=32, heads=4, **knobs)
  tokens = np.random.default_rng(0).integers(0, 11, (2, 16))
  changed = tokens.copy()
  changed[:, 9] = (changed[:, 9] + 1) % 11
  variables = initialised(model, tokens)
  a = model.apply(variables, tokens, train=False)
  b = model.apply(variables, changed, train=False)
  np.testing.assert_allclose(a[:, :9], b[:, :9], atol=1e-5)
  assert (np.abs(a - b).max(axis=-1)[:, 9:] > 1e-6).all()


def test_nanogpts_shape_has_its_number_of_parameters():
  model = architecture.DecoderLM(vocab=65, depth=4, width=128, heads=4, length=64, **NANOGPT)
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), jnp.zeros((1, 64), int), train=False)
  )
  assert count(shapes) == 804_096


def test_a_decoder_starts_with_even_probabilities():
  model = architecture.DecoderLM(vocab=11, depth=2, width=32)
  tokens = np.arange(8)[None]
  logits = model.apply(model.init(jax.random.key(0), tokens, train=False), tokens, train=False)
  np.testing.assert_array_equal(logits, 0)


def test_features_and_head_make_the_model():
  model = architecture.DecoderLM(vocab=11, depth=1, width=32)
  tokens = np.arange(8)[None]
  variables = initialised(model, tokens)
  features = model.apply(variables, tokens, train=False, method='features')
  logits = model.apply(variables, features, train=False, method='head')
  np.testing.assert_allclose(logits, model.apply(variables, tokens, train=False), atol=1e-6)


def qkv(seed=0):
  return np.random.default_rng(seed).normal(size=(3, 2, 6, 2, 8)).astype(np.float32)


def test_attention_without_positions_follows_a_permutation():
  q, k, v = qkv()
  order = np.array([3, 1, 5, 0, 2, 4])
  a = architecture.attention(q, k, v)[:, order]
  b = architecture.attention(q[:, order], k[:, order], v[:, order])
  np.testing.assert_allclose(a, b, atol=1e-6)


def test_attention_equals_jax():
  q, k, v = qkv()
  for causal in (False, True):
    expected = jax.nn.dot_product_attention(q, k, v, is_causal=causal)
    np.testing.assert_allclose(architecture.attention(q, k, v, causal=causal), expected, atol=1e-5)


def test_packed_segments_attend_as_separate_documents():
  q, k, v = qkv()
  segments = np.array([[0, 0, 0, 0, 1, 1]] * 2)
  packed = architecture.attention(q, k, v, causal=True, segments=(segments, segments))
  for part in (slice(0, 4), slice(4, 6)):
    alone = architecture.attention(q[:, part], k[:, part], v[:, part], causal=True)
    np.testing.assert_allclose(packed[:, part], alone, atol=1e-6)


def test_rotary_products_depend_on_distance_alone():
  x = np.tile(np.random.default_rng(0).normal(size=(1, 1, 1, 8)), (1, 10, 1, 1))
  turned = architecture.rotary(jnp.asarray(x, jnp.float32))[0, :, 0]
  products = turned @ turned.T
  for distance in range(3):
    diagonal = np.diagonal(products, distance)
    np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-4)


def test_gelu_is_exact():
  x = jnp.linspace(-6, 6, 101)
  np.testing.assert_allclose(architecture.gelu(x), jax.nn.gelu(x, approximate=False), atol=1e-6)


IMAGE_MODELS = [
  architecture.MLP(classes=3, widths=(16,), dropout=0.5),
  architecture.Convnet(classes=3, widths=(4, 8), dropout=0.5),
  architecture.ViT(classes=3, patch=4, depth=2, width=16, dropout=0.5),
  architecture.ViT(classes=3, patch=4, depth=2, width=16, pool='cls', stochastic_depth=0.5),
]


@pytest.mark.parametrize('model', IMAGE_MODELS, ids=lambda m: type(m).__name__)
def test_image_models(model):
  image = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
  variables = initialised(model, image)
  logits = model.apply(variables, image, train=False)
  assert logits.shape == (4, 3)
  as_floats = model.apply(variables, image.astype(np.float32) / 255, train=False)
  np.testing.assert_allclose(logits, as_floats, atol=1e-6)
  # Examples do not see each other in evaluation, and randomness is on in training alone.
  alone = model.apply(variables, image[:1], train=False)
  np.testing.assert_allclose(logits[:1], alone, atol=1e-5)

  def trained(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return model.apply(variables, image, train=True, rngs=rngs, mutable=['batch_stats'])[0]

  assert not np.allclose(trained(0), trained(1))


def test_what_does_not_divide_is_named():
  with pytest.raises(ValueError, match='must divide by patches of 3'):
    architecture.ViT(classes=3, patch=3).init(
      jax.random.key(0), np.zeros((1, 8, 8, 1)), train=False
    )
  with pytest.raises(ValueError, match='width must divide by 5 heads, got 32'):
    architecture.DecoderLM(vocab=3, depth=1, width=32, heads=5).init(
      jax.random.key(0), np.zeros((1, 4), int), train=False
    )


@pytest.mark.parametrize('knobs', DECODERS[:3])
def test_a_decoder_keeps_packed_documents_apart(knobs):
  model = architecture.DecoderLM(vocab=11, depth=2, width=32, heads=4, **knobs)
  tokens = np.random.default_rng(0).integers(0, 11, (1, 12))
  variables = initialised(model, tokens)
  segments = np.array([[0] * 5 + [1] * 7])
  packed = model.apply(variables, tokens, train=False, segment_ids=segments)
  for part in (slice(0, 5), slice(5, 12)):
    alone = model.apply(variables, tokens[:, part], train=False)
    np.testing.assert_allclose(packed[:, part], alone, atol=2e-5)
  together = model.apply(variables, tokens, train=False)
  assert not np.allclose(packed, together, atol=1e-3)


def test_more_tokens_than_learned_positions_are_refused():
  model = architecture.DecoderLM(vocab=11, depth=1, width=32, length=8, **NANOGPT)
  with pytest.raises(ValueError, match='no longer than the 8 learned positions, got 9'):
    model.init(jax.random.key(0), np.zeros((1, 9), int), train=False)


def test_halving_is_max_pooling():
  for height, width in ((8, 8), (7, 5), (1, 3)):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, height, width, 3)), jnp.float32)

    for fast, slow in ((convnets.maxima, pooled), (grad_of(convnets.maxima), grad_of(pooled))):
      np.testing.assert_array_equal(fast(x), slow(x))


def pooled(x):
  return nn.max_pool(x, (2, 2), (2, 2), padding='SAME')


def grad_of(f):
  return jax.grad(lambda x: jnp.square(f(x)).sum())


@pytest.mark.parametrize('lead', [(5,), (2, 5)])
def test_a_product_and_its_derivatives_are_those_of_matmul(lead):
  x, kernel, y = (
    jax.random.normal(jax.random.key(i), shape)
    for i, shape in enumerate([(*lead, 3), (3, 4), (*lead, 4)])
  )

  def loss(multiply, x, kernel):
    return (jnp.tanh(multiply(x, kernel)) * y).sum()

  def slope(multiply, x, kernel):  # Curvature: a derivative of the derivative.
    return sum(jnp.sin(g).sum() for g in jax.grad(loss, (1, 2))(multiply, x, kernel))

  for of in (loss, slope):
    both = jax.value_and_grad(of, (1, 2))
    got, want = (both(multiply, x, kernel) for multiply in (products.product, jnp.matmul))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)


def test_a_products_gradient_is_computed_as_the_kernel_lies():
  gradient = jax.make_jaxpr(jax.grad(lambda k, x: products.product(x, k).sum()))
  shapes = [
    each.outvars[0].aval.shape
    for each in gradient(jnp.ones((3, 4)), jnp.ones((5, 3))).jaxpr.eqns
    if each.primitive.name in ('dot_general', 'transpose')
  ]
  assert shapes[-1] == (3, 4)
  assert (4, 3) not in shapes[-2:]


@pytest.mark.parametrize('size', [1, 3, 5])
def test_a_convolution_by_products_is_the_convolution(size):
  image = jax.random.normal(jax.random.key(0), (2, 6, 7, 3))
  own, xla = (convnets.Conv(4, size, products=products) for products in (True, False))
  variables = own.init(jax.random.key(1), image)

  def loss(model, variables, image):
    return jnp.sin(model.apply(variables, image)).sum()

  got, want = (jax.value_and_grad(loss, (1, 2))(model, variables, image) for model in (own, xla))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)
  want = nn.Conv(4, (size, size), use_bias=False).apply(variables, image)
  np.testing.assert_allclose(own.apply(variables, image), want, rtol=1e-4, atol=1e-5)


def test_a_kernel_of_even_side_is_refused():
  with pytest.raises(ValueError, match='odd, got 2'):
    convnets.Conv(4, 2).init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))


def test_a_mirrored_model_takes_an_image_for_its_mirror_image_in_evaluation_alone():
  net = architecture.MLP(widths=(8,), classes=3)
  model = architecture.Mirrored(net)
  image = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
  variables = initialised(model, image)
  own = {'params': variables['params']['model']}
  mean = sum(net.apply(own, x, train=False) for x in (image, image[:, :, ::-1])) / 2
  np.testing.assert_allclose(model.apply(variables, image, train=False), mean, rtol=1e-5)
  np.testing.assert_allclose(
    model.apply(variables, image, train=True), net.apply(own, image, train=True), rtol=1e-5
  )
  assert not np.allclose(mean, net.apply(own, image, train=False))
