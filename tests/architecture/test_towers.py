"""Properties of two towers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from toys import initialised

from bigtrain import architecture

IMAGE = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype(np.float32)
TOKENS = np.random.default_rng(1).integers(1, 11, (8, 5))
MODEL = architecture.TwoTowers(
  image=architecture.ViT(classes=None, patch=4, depth=1, width=16, pool='map'),
  text=architecture.Encoder(11, 1, 24, heads=2, pool='mean', pad=0, position='rotary'),
  width=12,
)


@pytest.fixture(scope='module')
def variables():
  return initialised(MODEL, IMAGE, TOKENS)


def test_both_towers_give_directions_in_one_space(variables):

  @jax.jit
  def embedded(variables):
    found = MODEL.apply(variables, IMAGE, TOKENS, train=False)
    image = MODEL.apply(variables, IMAGE, method='embed_image')
    text = MODEL.apply(variables, TOKENS, method='embed_text')
    return (found.image, image), (found.text, text)

  for each, other in embedded(variables):
    assert each.shape == (8, 12)
    np.testing.assert_allclose(np.linalg.norm(each, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(each, other, atol=1e-6)


def test_scale_and_bias_start_as_said_and_the_scale_is_bounded(variables):
  def scale_and_bias(model, **params):
    # Without the towers' own parameters, of which neither depends.
    init = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, TOKENS, train=False))
    own = {**variables['params'], **params}
    return init['params'].keys(), jax.jit(
      lambda: model.apply({'params': own}, IMAGE, TOKENS, train=False)[2:]
    )()

  names, found = scale_and_bias(MODEL, log_scale=jnp.log(10.0), bias=jnp.asarray(-10.0))
  assert {'log_scale', 'bias'} <= names
  np.testing.assert_allclose(found, [10, -10], rtol=1e-6)
  names, found = scale_and_bias(MODEL.clone(bias=None), log_scale=jnp.log(1000.0))
  assert 'bias' not in names
  np.testing.assert_allclose(found[0], 100, rtol=1e-5)
  assert found[1] is None
  with pytest.raises(ValueError, match='above 0, got 0'):
    scale_and_bias(MODEL.clone(scale=0.0))


def test_negatives_come_from_all_devices(variables):
  # The loss and its gradient over a batch that two devices share are those of one device.
  if jax.device_count() < 2:
    pytest.skip('needs two devices')
  mesh = jax.make_mesh((2,), ('data',), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

  @jax.jit
  def loss(variables, image, tokens):
    def nats(variables):
      found = MODEL.apply(variables, image, tokens, train=True)
      logits = found.scale * found.image @ found.text.T + found.bias
      return -jax.nn.log_softmax(logits).diagonal().mean()

    return jax.value_and_grad(nats)(variables)

  split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (['data'], []))
  shared = loss(
    jax.device_put(variables, whole), jax.device_put(IMAGE, split), jax.device_put(TOKENS, split)
  )
  alone = loss(variables, IMAGE, TOKENS)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), shared, alone)


def test_each_part_can_be_made_by_itself():
  # A field named like a method of `flax.linen.Module` would hide it.
  x, memory = jnp.ones((2, 3, 8)), jnp.ones((2, 5, 12))
  for part, args, known in (
    (architecture.CrossAttention(2), (x, memory), {'train': False}),
    (architecture.AttentionPool(2), (x,), {}),
  ):
    shapes = jax.eval_shape(
      lambda part=part, args=args, known=known: part.init(jax.random.key(0), *args, **known)
    )
    assert shapes['params']
