"""Properties of encoder-decoders."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import initialised

from bigtrain import architecture, iteration
from bigtrain.architecture import relative_positions

RNG = np.random.default_rng(0)
READ, WRITTEN = RNG.integers(1, 11, (2, 9)), RNG.integers(1, 11, (2, 7))


def model(**knobs):
  return architecture.EncoderDecoder(vocab=11, depth=2, width=16, heads=2, **knobs)


@functools.cache
def outputs(**knobs):
  """Returns the logits as a function of what is read and written, compiled."""
  variables = initialised(model(**knobs), READ, WRITTEN)
  return jax.jit(functools.partial(model(**knobs).apply, variables, train=False))


@pytest.mark.parametrize('knobs', [{}, {'tied': True, 'feed': 'relu', 'head_width': 6}])
def test_what_is_written_sees_no_future_and_all_that_was_read(knobs):
  apply = outputs(**knobs)
  before = apply(READ, WRITTEN)
  changed = WRITTEN.copy()
  changed[:, 4] = changed[:, 4] % 10 + 1
  away = np.abs(apply(READ, changed) - before).max(axis=-1)
  np.testing.assert_allclose(away[:, :4], 0, atol=1e-5)
  assert (away[:, 4:] > 1e-5).all()
  changed = READ.copy()
  changed[:, 8] = changed[:, 8] % 10 + 1
  assert (np.abs(apply(changed, WRITTEN) - before).max(axis=-1) > 1e-6).all()


def test_padding_of_what_is_read_changes_nothing():
  apply = outputs()
  padded = np.pad(READ, ((0, 0), (0, 3)))
  np.testing.assert_allclose(apply(padded, WRITTEN), apply(READ, WRITTEN), rtol=1e-4, atol=1e-5)


def test_packed_pairs_are_as_separate_ones():
  apply = outputs()
  packed = apply(
    READ,
    WRITTEN,
    segment_ids=np.array([[0] * 4 + [1] * 5] * 2),
    decoder_segment_ids=np.array([[0] * 5 + [1] * 2] * 2),
  )
  first, second = apply(READ[:, :4], WRITTEN[:, :5]), apply(READ[:, 4:], WRITTEN[:, 5:])
  np.testing.assert_allclose(packed, np.concatenate([first, second], 1), rtol=1e-4, atol=1e-5)
  with pytest.raises(ValueError, match='must be given together'):
    apply(READ, WRITTEN, segment_ids=np.zeros((2, 9), int))


def greedy(keys, logits):
  del keys
  return logits.argmax(-1)


@pytest.mark.parametrize('knobs', [{}, {'tied': True, 'feed': 'relu', 'pad': None}])
def test_writing_by_the_cache_equals_the_whole_forward_pass(knobs):
  variables = initialised(model(**knobs), READ, WRITTEN)
  read = READ.copy()
  read[0, 6:] = 0
  whole = outputs(**knobs)(read, WRITTEN)
  decode, begin = architecture.cached_decode(model(**knobs), read)
  decode = jax.jit(decode)
  cache, found = begin(2, 12), []
  for at in ((0, 3), (3, 4), (4, 5), (5, 6), (6, 7)):  # A prompt, then one after another.
    logits, cache = decode(variables, cache, WRITTEN[:, slice(*at)])
    found.append(logits)
  np.testing.assert_allclose(np.concatenate(found, 1), whole, rtol=1e-4, atol=1e-5)


def test_generation_takes_what_the_whole_forward_pass_would():
  variables = initialised(model(), READ, WRITTEN)
  decode, begin = architecture.cached_decode(model(), READ)
  start = np.zeros((2, 1), np.int32)
  chunks = iteration.generate(decode, variables, begin, start, draw=greedy, tokens=6, chunk=4)
  found = np.concatenate([start, *chunks], 1)
  want = outputs()(READ, found).argmax(-1)
  np.testing.assert_array_equal(found[:, 1:], want[:, :-1])
  with pytest.raises(ValueError, match='2 texts were read, and 3'):
    begin(3, 4)
  with pytest.raises(ValueError, match='nothing was read yet'):
    model().apply(variables, start, length=4, method='write', mutable=['cache'])
  with pytest.raises(ValueError, match='give read'):
    architecture.cached_decode(model())


def test_features_and_head_make_the_model():
  variables = initialised(model(), READ, WRITTEN)

  @jax.jit
  def both(variables):
    apply = functools.partial(model().apply, variables, train=False)
    features = apply(READ, WRITTEN, method='features')
    return apply(features, method='head'), apply(READ, WRITTEN)

  np.testing.assert_allclose(*both(variables), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('both_ways', [True, False])
def test_buckets_are_those_of_hugging_face(both_ways):
  torch = pytest.importorskip('torch', reason='compares with PyTorch')
  t5 = pytest.importorskip('transformers.models.t5.modeling_t5', reason='compares with it')
  distance = np.arange(-300, 301)
  for buckets, longest in ((32, 128), (16, 50), (32, 20)):
    bias = relative_positions.RelativeBias(1, buckets, longest, both_ways)
    table = {'params': {'table': jnp.arange(buckets, dtype=jnp.float32)[:, None]}}
    ours = np.asarray(bias.apply(table, jnp.zeros(1, int), jnp.asarray(distance)))[0, 0, 0]
    want = t5.T5Attention._relative_position_bucket(
      torch.tensor(distance), both_ways, buckets, longest
    )
    np.testing.assert_array_equal(ours, want)


def test_attention_starts_neither_flat_nor_sharp():
  # Without a scale the logits' spread comes from the initialisation alone.
  wide = architecture.EncoderDecoder(vocab=50, depth=1, width=256, heads=4)
  tokens = np.arange(1, 41)[None]
  init = jax.jit(lambda: wide.init(jax.random.key(0), tokens, tokens, train=False))
  variables = init()
  kernel = variables['params']['encoder_0']['attention']['qkv']
  x = jax.random.normal(jax.random.key(1), (200, 256))
  q, k = (x @ each for each in kernel[:2])
  spread = jnp.std(q[:, :64] @ k[:, :64].T)
  assert 0.7 < spread < 1.4


def test_t5_small_has_its_published_number_of_parameters():
  small = architecture.EncoderDecoder(
    32_128, 6, 512, 8, head_width=64, hidden=2048, feed='relu', tied=True
  )
  tokens = jnp.zeros((1, 4), int)
  shapes = jax.eval_shape(lambda: small.init(jax.random.key(0), tokens, tokens, train=False))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 60_506_624


@pytest.mark.parametrize(
  ('knobs', 'words'),
  [({'buckets': 2}, 'at least 2 a direction'), ({'longest': 8}, 'longest=8')],
)
def test_what_does_not_fit_is_named(knobs, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: model(**knobs).init(jax.random.key(0), READ, WRITTEN, train=False))
