"""Properties of encoders of tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import initialised

from bigtrain import architecture

TOKENS = np.random.default_rng(0).integers(1, 11, (2, 9))
TODAY = dict(position='rotary', norm_first=True, norm='rms', feed='swiglu', use_bias=False)
MODELS = [{}, dict(TODAY, qk_norm=True), dict(position='sinusoidal', types=2, tied=False)]


def encoder(**knobs):
  settings = {'vocab': 11, 'depth': 2, 'width': 16, 'heads': 2, 'length': 16}
  return architecture.Encoder(**{**settings, **knobs})


@functools.cache
def outputs(**knobs):
  """Returns the model's outputs as a function, compiled."""
  model = encoder(**knobs)
  variables = initialised(model, TOKENS)
  return jax.jit(lambda tokens, **known: model.apply(variables, tokens, train=False, **known))


@pytest.mark.parametrize('knobs', MODELS, ids=['bert', 'today', 'sinusoidal'])
def test_packed_documents_are_as_separate_ones(knobs):
  apply = outputs(**knobs)
  packed = apply(TOKENS, segment_ids=np.array([[3] * 4 + [7] * 5] * 2))
  for part in (slice(0, 4), slice(4, 9)):
    np.testing.assert_allclose(packed[:, part], apply(TOKENS[:, part]), rtol=1e-4, atol=1e-5)
  assert np.abs(packed - apply(TOKENS)).max() > 1e-3


@pytest.mark.parametrize('pool', ['none', 'cls', 'mean', 'last', 'map'])
def test_padding_changes_nothing(pool):
  apply = outputs(pool=pool, pad=0, **TODAY)
  alone = apply(TOKENS)
  padded = np.pad(TOKENS, ((0, 0), (0, 3)))
  for out in (apply(padded), outputs(pool=pool, **TODAY)(padded, mask=padded > 0)):
    out = out[:, :9] if pool == 'none' else out
    np.testing.assert_allclose(out, alone, rtol=1e-4, atol=1e-5)
  # Padding between packed documents belongs to none of them.
  if pool == 'none':
    segments = np.array([[0] * 9 + [1] * 3] * 2)
    out = apply(padded, segment_ids=segments)[:, :9]
    np.testing.assert_allclose(out, alone, rtol=1e-4, atol=1e-5)


def test_without_positions_tokens_may_change_places():
  order = np.random.default_rng(1).permutation(9)
  apply = outputs(position='none')
  np.testing.assert_allclose(apply(TOKENS[:, order]), apply(TOKENS)[:, order], rtol=1e-4, atol=1e-5)
  for knobs in MODELS:
    apply = outputs(**knobs)
    assert np.abs(apply(TOKENS[:, order]) - apply(TOKENS)[:, order]).max() > 1e-3


def test_a_token_sees_both_ways():
  changed = TOKENS.copy()
  changed[:, 4] = changed[:, 4] % 10 + 1
  away = np.abs(outputs()(changed) - outputs()(TOKENS)).max(axis=-1)
  assert (away > 1e-5).all()


@pytest.mark.parametrize(
  ('knobs', 'shape'),
  [
    ({}, (2, 9, 11)),
    ({'classes': 5}, (2, 9, 5)),
    ({'classes': 5, 'pool': 'cls'}, (2, 5)),
    ({'pool': 'mean'}, (2, 16)),
    ({'pool': 'map'}, (2, 16)),
  ],
)
def test_what_comes_out(knobs, shape):
  model = encoder(dropout=0.1, attention_dropout=0.1, stochastic_depth=0.1, **knobs)
  rngs = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
  out, _ = jax.eval_shape(lambda: model.init_with_output(rngs, TOKENS, train=True))
  assert out.shape == shape


def test_bert_base_has_its_published_number_of_parameters():
  model = architecture.Encoder(30_522, 12, 768, length=512, types=2, pool='cls')
  tokens = jnp.zeros((1, 4), int)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), tokens, train=False))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 109_482_240


@pytest.mark.parametrize(
  ('knobs', 'known', 'words'),
  [
    ({'pool': 'max'}, {}, "pool must be 'none', 'cls', 'mean', 'last' or 'map', got 'max'"),
    ({'position': 'relative'}, {}, "or 'none', got 'relative'"),
    ({'length': None}, {}, 'needs length'),
    ({'length': 8}, {}, 'no longer than the 8 learned positions, got 9: raise length'),
    ({}, {'types': TOKENS}, 'the model has none: set types'),
  ],
)
def test_what_does_not_fit_is_named(knobs, known, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: encoder(**knobs).init(jax.random.key(0), TOKENS, train=False, **known))
