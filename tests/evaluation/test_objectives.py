"""Objectives equal optax and what a hand computes, and never look at padding."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import evaluation

B, L, C = 5, 7, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, 3)).astype(np.float32)
LOGITS = RNG.normal(size=(B, C)).astype(np.float32)
LABEL = RNG.integers(0, C, B)
LINE = RNG.normal(size=(B,)).astype(np.float32)
LOGITS_BLC = RNG.normal(size=(B, L, C)).astype(np.float32)
TARGETS = RNG.integers(0, C, (B, L))
PADDED = np.array([1, 1, 1, 0, 0], np.float32)


def answering(outputs):
  """An `apply` whose outputs are known."""
  return lambda *args, **kwargs: jnp.asarray(outputs)


def values(means):
  return {name: float(mean.value) for name, mean in means.items()}


def test_softmax_equals_optax():
  means = values(evaluation.softmax_cross_entropy(answering(LOGITS), {'image': X, 'label': LABEL}))
  expected = optax.losses.softmax_cross_entropy_with_integer_labels(LOGITS, LABEL).mean()
  assert means['loss'] == pytest.approx(float(expected), rel=1e-6)
  assert means['accuracy'] == pytest.approx(np.mean(LOGITS.argmax(-1) == LABEL))


def test_smoothing_equals_smoothed_labels_and_leaves_accuracy_alone():
  batch = {'features': X, 'label': LABEL}
  plain = values(evaluation.softmax_cross_entropy(answering(LOGITS), batch))
  smooth = functools.partial(evaluation.softmax_cross_entropy, smoothing=0.2)
  means = values(smooth(answering(LOGITS), batch))
  soft = optax.losses.smooth_labels(np.eye(C)[LABEL], 0.2)
  expected = optax.losses.softmax_cross_entropy(LOGITS, soft).mean()
  assert means['loss'] == pytest.approx(float(expected), rel=1e-6)
  assert means['accuracy'] == plain['accuracy']
  # Labels that are probabilities already.
  again = values(evaluation.softmax_cross_entropy(answering(LOGITS), {**batch, 'label': soft}))
  assert again['loss'] == pytest.approx(means['loss'], rel=1e-6)
  assert again['accuracy'] == plain['accuracy']


def test_sigmoid_equals_optax_and_does_not_overflow():
  label = (LABEL > 1).astype(np.float32)
  means = values(evaluation.sigmoid_cross_entropy(answering(LINE), {'image': X, 'label': label}))
  expected = optax.losses.sigmoid_binary_cross_entropy(LINE, label).mean()
  assert means['loss'] == pytest.approx(float(expected), rel=1e-6)
  assert means['accuracy'] == pytest.approx(np.mean((LINE > 0) == (label > 0.5)))
  column = evaluation.sigmoid_cross_entropy(answering(LINE[:, None]), {'image': X, 'label': label})
  assert values(column) == means
  far = answering(np.array([1000.0, -1000.0]))
  wrong = values(evaluation.sigmoid_cross_entropy(far, {'image': X[:2], 'label': np.array([0, 1])}))
  assert wrong == {'loss': 1000, 'accuracy': 0}


def test_squared_error_by_hand():
  outputs, label = np.array([[1.0], [4.0]]), np.array([2.0, 2.0])
  batch = {'features': X[:2], 'label': label}
  means = values(evaluation.mean_squared_error(answering(outputs), batch))
  assert means == pytest.approx({'loss': 2.5, 'absolute_error': 1.5, 'rmse': math.sqrt(2.5)})


def test_next_token_equals_optax_and_counts_bytes():
  batch = {'inputs': TARGETS, 'targets': TARGETS}
  means = values(evaluation.next_token(answering(LOGITS_BLC), batch))
  nats = optax.losses.softmax_cross_entropy_with_integer_labels(LOGITS_BLC, TARGETS)
  assert means['loss'] == pytest.approx(float(nats.mean()), rel=1e-6)
  assert means['accuracy'] == pytest.approx(np.mean(LOGITS_BLC.argmax(-1) == TARGETS))
  assert means['bits_per_byte'] == pytest.approx(float(nats.mean()) / math.log(2), rel=1e-6)
  # Tokens of several bytes, and of none.
  sizes = RNG.integers(0, 4, (B, L)).astype(np.float32)
  means = values(evaluation.next_token(answering(LOGITS_BLC), {**batch, 'bytes': sizes}))
  expected = float(nats.sum()) / math.log(2) / sizes.sum()
  assert means['bits_per_byte'] == pytest.approx(expected, rel=1e-6)


def test_token_weights_multiply_example_weights():
  tokens = RNG.integers(0, 2, (B, L)).astype(np.float32)
  sizes = RNG.integers(1, 4, (B, L)).astype(np.float32)
  batch = {'inputs': TARGETS, 'targets': TARGETS, 'bytes': sizes}
  batch = {**batch, 'weight': PADDED, 'token_weight': tokens}
  means = evaluation.next_token(answering(LOGITS_BLC), batch)
  weight = PADDED[:, None] * tokens
  nats = optax.losses.softmax_cross_entropy_with_integer_labels(LOGITS_BLC, TARGETS)
  assert float(means['loss'].weight) == weight.sum()
  loss = float((nats * weight).sum() / weight.sum())
  assert float(means['loss'].value) == pytest.approx(loss, rel=1e-6)
  bits = float((nats * weight).sum()) / math.log(2) / (sizes * weight).sum()
  assert float(means['bits_per_byte'].value) == pytest.approx(bits, rel=1e-6)
  alone = evaluation.next_token(
    answering(LOGITS_BLC), {k: x for k, x in batch.items() if k != 'weight'}
  )
  assert float(alone['loss'].weight) == tokens.sum()


CASES = {
  'softmax': (evaluation.softmax_cross_entropy, LOGITS, {'image': X, 'label': LABEL}),
  'sigmoid': (evaluation.sigmoid_cross_entropy, LINE, {'image': X, 'label': LABEL > 1}),
  'squared': (evaluation.mean_squared_error, LINE, {'features': X, 'label': LINE * 2}),
  'next': (evaluation.next_token, LOGITS_BLC, {'inputs': TARGETS, 'targets': TARGETS}),
}


@pytest.mark.parametrize('name', CASES)
def test_padding_is_as_if_it_were_not_there(name):
  objective, outputs, batch = CASES[name]
  real = int(PADDED.sum())
  spoilt = np.array(outputs)
  spoilt[real:] = np.nan  # A model may well say so of padding.
  padded = objective(answering(spoilt), {**batch, 'weight': PADDED})
  alone = objective(answering(outputs[:real]), {k: x[:real] for k, x in batch.items()})
  assert 'loss' in alone
  assert values(padded) == pytest.approx(values(alone), rel=1e-6)
  assert {k: float(m.weight) for k, m in padded.items()} == {
    k: float(m.weight) for k, m in alone.items()
  }

  def loss(outputs):
    return objective(answering(outputs), {**batch, 'weight': PADDED})['loss'].value

  gradient = np.asarray(jax.grad(loss)(jnp.asarray(outputs)))
  assert np.abs(gradient[:real]).max() > 0
  np.testing.assert_array_equal(gradient[real:], 0)


@pytest.mark.parametrize('name', CASES)
def test_half_precision_outputs_are_judged_in_float32(name):
  objective, outputs, batch = CASES[name]
  half = jnp.asarray(outputs, jnp.bfloat16)
  a, b = objective(answering(half), batch), objective(answering(half.astype(jnp.float32)), batch)
  assert values(a) == values(b)
  assert a['loss'].total.dtype == jnp.float32


@pytest.mark.parametrize(
  ('objective', 'outputs', 'batch', 'says'),
  [
    (evaluation.softmax_cross_entropy, LOGITS, {'label': LABEL}, "'image' or 'features'"),
    (evaluation.softmax_cross_entropy, LOGITS, {'image': X}, "'label'"),
    (evaluation.softmax_cross_entropy, LOGITS, {'image': X, 'label': LABEL[:, None]}, r'\(5, 1\)'),
    (evaluation.sigmoid_cross_entropy, LOGITS, {'image': X, 'label': LABEL}, r'got \(5,\)'),
    (evaluation.mean_squared_error, LINE, {'image': X, 'label': LINE[:, None]}, r'got \(5, 1\)'),
    (evaluation.next_token, LOGITS_BLC, {'inputs': TARGETS}, "add 'targets'"),
    (
      evaluation.next_token,
      LOGITS_BLC,
      {'inputs': TARGETS, 'targets': TARGETS[:, :-1]},
      r'got \(5, 6\)',
    ),
  ],
)
def test_what_does_not_fit_is_named(objective, outputs, batch, says):
  with pytest.raises(ValueError, match=says):
    objective(answering(outputs), batch)
