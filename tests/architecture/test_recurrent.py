"""Recurrent layers, and the models built from them, of every kind."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from bigtrain.architecture import linear_recurrence, recurrent, sequence_models, state_spaces

KINDS = ('lstm', 'gru', 'rglru', 'mamba')


def noisy(model, *inputs, seed=0, **options):
  """Variables of which no layer is 0."""
  made = functools.partial(model.init, **options)
  variables = jax.jit(made)(jax.random.key(seed), *inputs)
  leaves, structure = jax.tree.flatten(variables)
  keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
  changed = [p + 0.2 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
  return jax.tree.unflatten(structure, changed)


def layers(kind, **options):
  return recurrent.RecurrentLayers(kind, depth=2, width=8, **options)


@functools.cache
def case(kind):
  """A stack, its variables and inputs [3, 9, 8]."""
  x = jax.random.normal(jax.random.key(2), (3, 9, 8))
  return layers(kind), noisy(layers(kind), x, train=False), x


@pytest.mark.parametrize('kind', KINDS)
def test_padding_changes_neither_outputs_nor_states(kind):
  model, variables, x = case(kind)
  apply = jax.jit(functools.partial(model.apply, train=False))
  lengths = jnp.array([9, 5, 1])
  y, state = apply(variables, x, lengths=lengths)
  other, other_state = apply(variables, x.at[1, 5:].set(7.0).at[2, 1:].set(-3.0), lengths=lengths)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), state, other_state)
  for row, length in enumerate(lengths):
    np.testing.assert_array_equal(y[row, :length], other[row, :length])
    alone, alone_state = model.apply(variables, x[row : row + 1, :length], train=False)
    np.testing.assert_allclose(y[row, :length], alone[0], atol=1e-5)
    jax.tree.map(
      lambda a, b, row=row: np.testing.assert_allclose(a[row], b[0], atol=1e-5), state, alone_state
    )


@pytest.mark.parametrize('kind', KINDS)
def test_packed_documents_are_read_apart(kind):
  model, variables, x = case(kind)
  segments = jnp.array([[1] * 4 + [2] * 5] * 3)
  apply = jax.jit(functools.partial(model.apply, train=False))
  packed, _ = apply(variables, x, segment_ids=segments)
  for part in (slice(0, 4), slice(4, 9)):
    alone, _ = model.apply(variables, x[:, part], train=False)
    np.testing.assert_allclose(packed[:, part], alone, atol=1e-5)
  together, _ = apply(variables, x)
  assert np.abs(packed - together).max() > 1e-3
  with pytest.raises(ValueError, match='neither state nor lengths'):
    model.apply(variables, x, train=False, segment_ids=segments, lengths=jnp.array([9, 9, 9]))


@pytest.mark.parametrize('kind', KINDS)
def test_a_text_cut_anywhere_gives_the_logits_of_the_whole(kind):
  model = sequence_models.RecurrentLM(vocab=11, depth=2, width=8, kind=kind)
  tokens = jnp.asarray(np.random.default_rng(0).integers(0, 11, (2, 9)))
  variables = noisy(model, tokens, train=False)
  whole = jax.jit(functools.partial(model.apply, train=False))(variables, tokens)
  advance = jax.jit(functools.partial(model.apply, method='advance'))
  # A prompt of ragged rows, then one token after another.
  lengths = jnp.array([4, 2])
  got, state = advance(variables, tokens[:, :4], lengths=lengths)
  np.testing.assert_allclose(got[0], whole[0, :4], atol=1e-5)
  np.testing.assert_allclose(got[1, :2], whole[1, :2], atol=1e-5)
  for i in range(5):
    one = jnp.take_along_axis(tokens, (lengths + i)[:, None], axis=1)
    got, state = advance(variables, one, state)
    want = whole[jnp.arange(2), lengths + i]
    np.testing.assert_allclose(got[:, 0], want, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_a_language_model_sees_no_future_and_is_features_and_head(kind):
  model = sequence_models.RecurrentLM(vocab=11, depth=2, width=8, kind=kind)
  tokens = jnp.asarray(np.random.default_rng(0).integers(0, 11, (2, 9)))
  variables = noisy(model, tokens, train=False)
  apply = jax.jit(functools.partial(model.apply, train=False))
  a, b = apply(variables, tokens), apply(variables, tokens.at[:, 5].set((tokens[:, 5] + 1) % 11))
  np.testing.assert_allclose(a[:, :5], b[:, :5], atol=1e-5)
  assert (np.abs(a - b).max(axis=-1)[:, 5:] > 1e-6).all()
  features = model.apply(variables, tokens, train=False, method='features')
  np.testing.assert_allclose(model.apply(variables, features, method='head'), a, atol=1e-5)


@pytest.mark.parametrize('kind', ['lstm', 'gru'])
def test_a_layer_read_backwards_is_the_layer_of_the_reversed_sequence(kind):
  x = jax.random.normal(jax.random.key(0), (2, 6, 4))
  ahead, back = (recurrent.Recurrence(kind, 5, reverse) for reverse in (False, True))
  variables = noisy(ahead, x)
  lengths = jnp.array([6, 3])
  y, state = back.apply(variables, x, lengths=lengths)
  for row, length in enumerate(lengths):
    turned, last = ahead.apply(variables, x[row : row + 1, :length][:, ::-1])
    np.testing.assert_allclose(y[row, :length], turned[0, ::-1], atol=1e-5)
    np.testing.assert_array_equal(y[row, length:], 0)
    jax.tree.map(
      lambda a, b, row=row: np.testing.assert_allclose(a[row], b[0], atol=1e-5), state, last
    )
  segments = jnp.array([[0, 0, 1, 1, 1, 1]] * 2)
  packed, _ = back.apply(variables, x, segment_ids=segments)
  alone, _ = back.apply(variables, x[:, :2])
  np.testing.assert_allclose(packed[:, :2], alone, atol=1e-5)


@pytest.mark.parametrize('kind', ['lstm', 'gru'])
@pytest.mark.parametrize('bidirectional', [False, True])
def test_pytorchs_weights_give_pytorchs_outputs(kind, bidirectional):
  torch = pytest.importorskip('torch', reason='compared with PyTorch where it is installed')
  theirs = (torch.nn.LSTM if kind == 'lstm' else torch.nn.GRU)(
    8, 8, num_layers=2, batch_first=True, bidirectional=bidirectional
  )
  weights = {name: np.asarray(p.detach()) for name, p in theirs.named_parameters()}
  params = {}
  for layer in range(2):
    for end in ('', '_reverse') if bidirectional else ('',):
      own = {key: weights[f'{key}_l{layer}{end}'] for key in ('weight_ih', 'weight_hh')}
      bias = {key: weights[f'{key}_l{layer}{end}'] for key in ('bias_ih', 'bias_hh')}
      params[f'layer_{layer}{end}'] = {
        'in': {'kernel': own['weight_ih'].T, 'bias': bias['bias_ih']},
        'recurrent_kernel': own['weight_hh'].T,
        'recurrent_bias': bias['bias_hh'],
      }
  x = np.random.default_rng(0).normal(size=(3, 7, 8)).astype(np.float32)
  lengths = np.array([7, 4, 1])
  packed = torch.nn.utils.rnn.pack_padded_sequence(
    torch.tensor(x), torch.tensor(lengths), batch_first=True
  )
  want, last = theirs(packed)
  want = torch.nn.utils.rnn.pad_packed_sequence(want, batch_first=True)[0].detach()
  model = layers(kind, bidirectional=bidirectional)
  got, state = model.apply({'params': params}, x, train=False, lengths=jnp.asarray(lengths))
  np.testing.assert_allclose(got, want, atol=1e-5)
  last = last[0] if kind == 'lstm' else last
  ends = [end for layer in state for end in (layer if bidirectional else [layer])]
  ends = [end[0] if kind == 'lstm' else end for end in ends]
  np.testing.assert_allclose(np.stack(ends), last.detach(), atol=1e-5)


def test_a_linear_scan_is_the_loop():
  a, b = jax.random.uniform(jax.random.key(0), (2, 3, 10, 4))
  first = jax.random.normal(jax.random.key(1), (3, 4))
  h, want = first, []
  for t in range(10):
    h = a[:, t] * h + b[:, t]
    want.append(h)
  np.testing.assert_allclose(
    linear_recurrence.linear_scan(a, b, first), jnp.stack(want, axis=1), rtol=1e-5
  )
  check_grads(linear_recurrence.linear_scan, (a, b, first), order=1, modes=['rev'], rtol=1e-2)


@functools.cache
def selective():
  draw = functools.partial(jax.random.normal, shape=(2, 7, 3))
  x, step, write, read = (draw(jax.random.key(i)) for i in range(4))
  decay = jnp.exp(jax.random.normal(jax.random.key(4), (3, 3)))
  first = jax.random.normal(jax.random.key(5), (2, 3, 3))
  return x, jnp.exp(step), decay, write, read, first


@pytest.mark.parametrize('chunk', [1, 3, 7, 64])
def test_a_selective_scan_in_chunks_is_the_loop(chunk):
  x, step, decay, write, read, first = selective()
  h, want = first, []
  for t in range(7):
    h = jnp.exp(-step[:, t, :, None] * decay) * h
    h = h + (step * x)[:, t, :, None] * write[:, t, None]
    want.append((h * read[:, t, None]).sum(axis=-1))
  got, last = state_spaces.selective_scan(x, step, decay, write, read, first_BEN=first, chunk=chunk)
  np.testing.assert_allclose(got, jnp.stack(want, axis=1), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last, h, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_selective_scan():
  *inputs, first = selective()

  def scan(*inputs):
    return state_spaces.selective_scan(*inputs[:-1], first_BEN=inputs[-1], chunk=3)

  check_grads(scan, (*inputs, first), order=1, modes=['rev'], rtol=1e-2)


def test_rglru_is_the_loop_of_the_paper_and_has_its_gradient():
  x = jax.random.normal(jax.random.key(0), (2, 6, 4))
  unit = linear_recurrence.RGLRU(heads=2)
  variables = noisy(unit, x)
  p = variables['params']

  def gate(name, x_t):
    y = [x_t[:, 2 * i : 2 * i + 2] @ p[f'{name}_kernel'][i] for i in range(2)]
    return jax.nn.sigmoid(jnp.concatenate(y, axis=-1) + p[f'{name}_bias'])

  h, want = jnp.zeros((2, 4)), []
  for t in range(6):
    a = jax.nn.sigmoid(p['decay']) ** (8 * gate('recurrence', x[:, t]))
    h = a * h + jnp.sqrt(1 - a**2) * gate('input', x[:, t]) * x[:, t]
    want.append(h)
  y, last = unit.apply(variables, x)
  np.testing.assert_allclose(y, jnp.stack(want, axis=1), rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(last, h, rtol=1e-3, atol=1e-5)
  check_grads(
    lambda v, x: unit.apply(v, x)[0], (variables, x), order=1, modes=['rev'], atol=2e-2, rtol=2e-2
  )


def test_a_new_rglru_remembers_from_ten_to_a_thousand_positions():
  x = jnp.zeros((1, 1, 1000))
  decay = linear_recurrence.RGLRU().init(jax.random.key(0), x)['params']['decay']
  kept = jax.nn.sigmoid(decay) ** 8
  assert 0.9 < kept.min() < 0.91
  assert 0.99 < kept.max() < 0.999


def test_a_new_state_space_has_the_steps_and_rates_of_the_paper():
  x = jnp.zeros((1, 1, 64))
  params = state_spaces.SelectiveStateSpace().init(jax.random.key(0), x, train=False)['params']
  steps = jax.nn.softplus(params['step_bias'])
  assert 1e-3 < steps.min() < 2e-3
  assert 5e-2 < steps.max() < 1e-1
  np.testing.assert_allclose(jnp.exp(params['log_decay'][5]), np.arange(1, 17), rtol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('pool', ['mean', 'last'])
def test_a_classifier_reads_real_positions_alone(kind, pool):
  model = sequence_models.RecurrentClassifier(
    3, kind, depth=1, width=8, pool=pool, bidirectional=kind == 'gru'
  )
  x = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 6, 4, 1)), jnp.uint8)
  variables = noisy(model, x, train=False)
  apply = jax.jit(functools.partial(model.apply, train=False))
  lengths = jnp.array([6, 3])
  got = apply(variables, x, lengths=lengths)
  np.testing.assert_array_equal(got, apply(variables, x.at[1, 3:].set(9), lengths=lengths))
  alone = model.apply(variables, x[1:, :3], train=False)
  np.testing.assert_allclose(got[1:], alone, atol=1e-5)
  assert np.abs(got - apply(variables, x[::-1], lengths=lengths)).max() > 1e-3


def test_dropout_lies_between_layers_in_training_alone():
  model, variables, x = case('lstm')
  dropped = layers('lstm', dropout=0.5)
  rngs = {'dropout': jax.random.key(0)}
  plain, _ = model.apply(variables, x, train=True)
  np.testing.assert_array_equal(dropped.apply(variables, x, train=False)[0], plain)
  assert not np.allclose(dropped.apply(variables, x, train=True, rngs=rngs)[0], plain)
  # One layer has nothing between.
  one = recurrent.RecurrentLayers('lstm', 1, 8, dropout=0.5)
  one_variables = noisy(one, x, train=False)
  np.testing.assert_array_equal(
    one.apply(one_variables, x, train=True, rngs=rngs)[0],
    one.apply(one_variables, x, train=False)[0],
  )


def test_what_cannot_be_is_named():
  x = jnp.zeros((1, 2, 6))

  def make(model):
    model.init(jax.random.key(0), x, train=False)

  with pytest.raises(ValueError, match="'rglru' or 'mamba', got 'rnn'"):
    make(layers('rnn'))
  with pytest.raises(ValueError, match='bidirectional is for lstm and gru'):
    make(layers('mamba', bidirectional=True))
  with pytest.raises(ValueError, match="'mean' or 'last', got 'max'"):
    make(sequence_models.RecurrentClassifier(3, pool='max'))  # pyright: ignore[reportArgumentType]
  with pytest.raises(ValueError, match='divide by 4 heads, got 6'):
    linear_recurrence.RGLRU(4).init(jax.random.key(0), x)
