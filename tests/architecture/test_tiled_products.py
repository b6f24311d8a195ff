"""Matrices as tiles compute what the matrices do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import initialised

from bigtrain import architecture
from bigtrain.architecture import tiled_products
from bigtrain.architecture.tiled_products import Tiles

TOKENS = np.random.default_rng(0).integers(0, 128, (1, 5))
MODELS = {
  'plain': {},
  'grouped': dict(heads=4, kv_heads=2, head_width=32, bias=True, feed='swiglu', conv=2),
}


@pytest.mark.parametrize('name', MODELS)
def test_a_decoder_goes_on_from_tiles_as_from_matrices(name, monkeypatch):
  monkeypatch.setattr(tiled_products, '_SMALL', 1)
  model = architecture.DecoderLM(128, 1, 64, **MODELS[name])
  variables = initialised(model, TOKENS)
  decode, begin = architecture.cached_decode(model)

  def written(variables):
    prompt, cache = decode(variables, begin(1, 5), TOKENS[:, :4])
    return np.concatenate([prompt, decode(variables, cache, TOKENS[:, 4:])[0]], axis=1)

  tiled = architecture.tiled(model, variables)
  kinds = jax.tree.leaves(tiled['params'], is_leaf=lambda x: isinstance(x, Tiles))
  products = {'plain': 5, 'grouped': 7}[name]  # Of attention, the feed-forward layer, the head.
  assert sum(isinstance(x, Tiles) for x in kinds) == products
  np.testing.assert_allclose(written(tiled), written(variables), atol=1e-5)


def test_numbers_in_bfloat16_are_multiplied_in_float32():
  matrix = jnp.asarray(np.random.default_rng(0).normal(size=(3, 256, 64)), jnp.bfloat16)
  x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 256)), jnp.bfloat16)
  want = np.concatenate(list(np.float32(x) @ np.float32(matrix)), axis=-1)
  got = Tiles.of(matrix).astype(jnp.float32).multiplied(x)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


def test_a_model_without_large_matrices_or_of_another_kind_stays_as_it_is():
  for model in (
    architecture.DecoderLM(128, 1, 64),
    architecture.RecurrentLM(vocab=128, depth=1, width=64),
  ):
    shapes = jax.eval_shape(lambda m=model: m.init(jax.random.key(0), TOKENS, train=False))
    assert architecture.tiled(model, shapes) == shapes
