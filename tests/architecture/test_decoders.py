"""Decoders by their knobs: cached equals whole, scanned equals unrolled, flat in depth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import architecture, tuning

TOKENS = np.random.default_rng(0).integers(0, 11, (2, 12))
KINDS = {
  'plain': dict(conv=3),
  'gemma': dict(
    kv_heads=2, window=(4, None), attention_cap=5.0, logit_cap=3.0, norms='both', tied=True,
    norm='rms_shifted', feed='geglu_tanh', embed_scale=5.0, head_width=12, qk_norm=False,
  ),
  'gpt': dict(position='learned', length=20, bias=True, norm='layer_bias', feed='gelu_tanh'),
  'vaswani': dict(position='sinusoidal', norms='post', norm='layer_bias', feed='relu'),
  'experts': dict(experts=4, feed='swiglu', kv_heads=1,
                  rotary_scaling=architecture.Llama3Scaling(length=16)),
}  # fmt: skip


@functools.cache
def made(kind):
  """Returns a model, parameters that are not 0, and the logits of TOKENS."""
  model = architecture.DecoderLM(vocab=11, depth=4, width=32, heads=4, **KINDS[kind])
  params = jax.jit(lambda: model.init(jax.random.key(0), TOKENS, train=False)['params'])()
  leaves, structure = jax.tree.flatten(params)
  rng = np.random.default_rng(1)
  params = structure.unflatten(
    [p + 0.1 * rng.normal(size=p.shape).astype(np.float32) for p in leaves]
  )
  return model, params, model.apply({'params': params}, TOKENS, train=False)


def decoded(model, params, tokens, first, positions=None):
  """Logits of a prompt of `first` tokens and then one token after another."""
  step = jax.jit(
    lambda cache, tokens, positions: model.apply(
      {'params': params, 'cache': cache}, tokens, positions=positions,
      method='decode', mutable=['cache'],
    )
  )  # fmt: skip
  positions = np.arange(tokens.shape[1])[None].repeat(2, 0) if positions is None else positions
  cache, logits = architecture.init_cache(model, len(tokens), 16), []
  for start, end in [(0, first), *((i, i + 1) for i in range(first, tokens.shape[1]))]:
    out, changed = step(cache, tokens[:, start:end], positions[:, start:end])
    cache = changed['cache']
    logits.append(out)
  return np.concatenate(logits, axis=1)


@pytest.mark.parametrize('kind', KINDS)
def test_a_prompt_and_one_token_at_a_time_equal_the_whole(kind):
  model, params, want = made(kind)
  # Float32 rounding in sums of another order: logits of size 1, some 30 additions deep.
  np.testing.assert_allclose(decoded(model, params, TOKENS, 5), want, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_prompts_of_several_lengths_are_padded_in_front(kind):
  model, params, want = made(kind)
  tokens = np.pad(TOKENS[1:, :9], ((0, 0), (3, 0)))
  positions = np.arange(12) - np.array([[0], [3]])
  got = decoded(model, params, np.concatenate([TOKENS[:1], tokens]), 5, positions)
  np.testing.assert_allclose(got[0], want[0], atol=1e-5)
  np.testing.assert_allclose(got[1, 3:], want[1, :9], atol=1e-5)


def test_a_cache_is_asked_for_and_large_enough():
  model, params, _ = made('plain')
  call = functools.partial(model.apply, {'params': params}, method='decode', mutable=['cache'])
  with pytest.raises(ValueError, match='there is no cache yet: give length'):
    call(TOKENS)
  with pytest.raises(ValueError, match='has 8 slots, got 12 tokens'):
    call(TOKENS, length=8)


@pytest.mark.parametrize('kind', KINDS)
def test_scanned_equals_unrolled_whatever_is_computed_again(kind):
  model, params, want = made(kind)
  scanned = model.clone(scan=True)
  period = len(model.windows)
  stacked = architecture.stack_layers(params, period)
  shapes = jax.eval_shape(lambda: scanned.init(jax.random.key(0), TOKENS, train=False)['params'])
  assert jax.tree.map(jnp.shape, stacked) == jax.tree.map(jnp.shape, shapes)
  got = jax.jit(lambda p: scanned.apply({'params': p}, TOKENS, train=False))(stacked)
  np.testing.assert_allclose(got, want, atol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, architecture.unstack_layers(stacked), params)
  np.testing.assert_allclose(decoded(scanned, stacked, TOKENS, 11), want, atol=1e-5)

  def gradient(model, params):
    return jax.jit(jax.grad(lambda p: jnp.var(model.apply({'params': p}, TOKENS, train=True))))(
      params
    )

  for again in ('full', 'dots', 'weight_dots') if kind == 'gemma' else ('dots',):
    slow = architecture.unstack_layers(gradient(scanned.clone(remat=again), stacked))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), slow, gradient(model, params)
    )


def test_knobs_that_do_not_fit_are_refused():
  for knobs, words in [
    (dict(remat='some'), "remat must be one of .*, got 'some'"),
    (dict(norms='none'), "norms must be 'pre', 'both' or 'post', got 'none'"),
    (dict(norm='batch'), "norm must be one of .*, got 'batch'"),
    (dict(position='left'), "position must be one of .*, got 'left'"),
    (dict(feed='tanh'), "nonlinearity must be one of .*, got 'tanh'"),
    (dict(kv_heads=3), 'heads must divide by the 3 heads of keys and values, got 4'),
    (dict(window=(2, None), scan=True), 'depth must divide by 2 windows'),
    (dict(window=0), 'window must hold at least the position itself'),
    (dict(experts=2, active=3), 'active must be 1 to 2 experts, got 3'),
  ]:
    model = architecture.DecoderLM(vocab=11, depth=1, width=32, heads=4, **knobs)
    with pytest.raises(ValueError, match=words):
      jax.eval_shape(lambda model=model: model.init(jax.random.key(0), TOKENS, train=False))
  with pytest.raises(ValueError, match='period of 3 and not be 0, got 4'):
    architecture.stack_layers(made('plain')[1], 3)


def test_training_leaves_layers_and_attention_out_at_random():
  model, params, _ = made('plain')

  def logits(seed, **knobs):
    rngs = {'dropout': jax.random.key(seed)}
    return model.clone(**knobs).apply({'params': params}, TOKENS, train=True, rngs=rngs)

  for knobs in (dict(stochastic_depth=0.5), dict(attention_dropout=0.5)):
    assert not np.allclose(logits(0, **knobs), logits(1, **knobs))


@pytest.mark.parametrize('kind', ['gpt', 'vaswani'])
def test_counted_positions_start_anew_in_packed_documents(kind):
  model, params, _ = made(kind)
  segments = np.array([[3] * 5 + [7] * 7] * 2)
  packed = model.apply({'params': params}, TOKENS, train=False, segment_ids=segments)
  for part in (slice(0, 5), slice(5, 12)):
    alone = model.apply({'params': params}, TOKENS[:, part], train=False)
    np.testing.assert_allclose(packed[:, part], alone, atol=2e-5)


LOOKS = [{}, dict(init_scale=0.02, norm='layer', feed='gelu', tied=True)]


def growth(**look):
  """Sizes of the stream and of the gradient in 6 steps of 8 and 32 layers, relative to 2."""
  found = []
  for depth in (2, 8, 32):
    model = architecture.DecoderLM(vocab=11, depth=depth, width=32, scan=True, **look)
    params = model.init(jax.random.key(0), TOKENS, train=False)['params']
    step = optax.adam(1e-2)

    def loss(params, model=model):
      _, made = model.apply(
        {'params': params}, TOKENS, train=True, method='features',
        mutable='intermediates', capture_intermediates=lambda m, _: m.name == 'blocks',
      )  # fmt: skip
      logits = model.apply({'params': params}, TOKENS, train=True)[:, :-1]
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, TOKENS[:, 1:])
      return losses.mean(), jnp.sqrt(jnp.mean(jnp.square(jax.tree.leaves(made)[0][-1])))

    @jax.jit
    def update(params, state, loss=loss, step=step):
      (value, size), grads = jax.value_and_grad(loss, has_aux=True)(params)
      updates, state = step.update(grads, state)
      return optax.apply_updates(params, updates), state, (value, size, optax.tree.norm(grads))

    state, rows = step.init(params), []
    for _ in range(6):
      params, state, row = update(params, state)
      rows.append([float(x) for x in row])
    assert rows[-1][0] < rows[0][0]
    found.append(rows)
  found = np.array(found)  # By depth, step and quantity.
  return found[1:, :, 1:] / found[:1, :, 1:]


@pytest.mark.parametrize('look', LOOKS)
def test_activations_and_gradients_are_flat_in_depth_at_first_and_never_explode(look):
  ratios = growth(**look)
  assert (ratios[:, 0] < 3).all(), ratios
  assert (ratios[:, 0] > 1 / 3).all(), ratios
  # Adam moves all layers alike: their sum then grows with their number, and not faster.
  assert (ratios < 1.5 * np.array([8 / 2, 32 / 2])[:, None, None]).all(), ratios


@pytest.mark.parametrize('look', LOOKS)
def test_activations_stay_flat_in_depth_where_layers_are_scaled_by_it(look):
  sizes = growth(**look, depth_scaling=1)[..., 0]
  assert (sizes < 2).all(), sizes
  assert (sizes > 1 / 2).all(), sizes


@pytest.mark.parametrize('optimizer', [tuning.adamw(0.01, decay=1.0), tuning.muon(0.01)])
def test_a_scanned_model_is_updated_as_the_unrolled_one(optimizer):
  _, params, _ = made('plain')
  grads = jax.tree.map(lambda x: 0.1 * x**2, params)

  def updates(params, grads):
    return optimizer.update(grads, optimizer.init(params), params)[0]

  want = architecture.stack_layers(updates(params, grads))
  got = updates(architecture.stack_layers(params), architecture.stack_layers(grads))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, want)
