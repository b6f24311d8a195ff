"""The objectives beyond the plain ones: equal to optax, PyTorch's formulas and hands; padding is
as if it were not there; loss in chunks is the plain loss."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import architecture, evaluation
from bigtrain.train import bind

B, L, C, D = 5, 6, 4, 3
RNG = np.random.default_rng(1)
X = RNG.normal(size=(B, D)).astype(np.float32)
LOGITS = RNG.normal(size=(B, C)).astype(np.float32) * 2
LABEL = RNG.integers(0, C, B)
LINE = RNG.normal(size=B).astype(np.float32) * 3
NUMBER = RNG.normal(size=B).astype(np.float32)
TEACHER = RNG.normal(size=(B, C)).astype(np.float32)
ATTENTION = np.asarray(jax.nn.softmax(RNG.normal(size=(2, B, 2, L, L)).astype(np.float32)))
IMAGE, TEXT = RNG.normal(size=(2, B, D)).astype(np.float32)
TOKENS = RNG.integers(0, 9, (B, L))
PADDED = np.array([1, 1, 1, 0, 0], np.float32)
SCALE, BIAS = np.float32(3.0), np.float32(-2.0)


def answering(outputs):
  return lambda *args, **kwargs: jax.tree.map(jnp.asarray, outputs)


def values(means):
  return {name: float(mean.value) for name, mean in means.items()}


def towers(image, text, pick=None):
  """Two towers of known embeddings that follow their inputs, so that rows can be left out."""

  def apply(first, second):
    out = (jnp.asarray(image)[first], jnp.asarray(text)[second], SCALE, BIAS)
    return out[:pick] if pick else out

  return apply


PAIRS = {'image': np.arange(B), 'tokens': np.arange(B)}


def test_errors_equal_optax():
  batch = {'features': X, 'label': NUMBER}
  huber = values(evaluation.huber(answering(LINE), batch, delta=0.7))
  expected = optax.losses.huber_loss(LINE, NUMBER, delta=0.7).mean()
  assert huber['loss'] == pytest.approx(float(expected), rel=1e-6)
  absolute = values(evaluation.mean_absolute_error(answering(LINE), batch))
  assert absolute['loss'] == pytest.approx(np.abs(LINE - NUMBER).mean(), rel=1e-6)
  assert absolute['loss'] == absolute['absolute_error'] == huber['absolute_error']
  with pytest.raises(ValueError, match='delta must be above 0'):
    evaluation.huber(answering(LINE), batch, delta=0)


def test_quantiles_equal_scikit_learn():
  from sklearn.metrics import mean_pinball_loss

  levels = (0.1, 0.5, 0.9)
  outputs = RNG.normal(size=(B, 3)).astype(np.float32)
  batch = {'features': X, 'label': NUMBER}
  means = values(evaluation.quantile(answering(outputs), batch, levels=levels))
  each = [mean_pinball_loss(NUMBER, outputs[:, i], alpha=q) for i, q in enumerate(levels)]
  assert means['loss'] == pytest.approx(np.mean(each), rel=1e-6)
  assert means['below_0.9'] == pytest.approx(np.mean(outputs[:, 2] >= NUMBER))
  with pytest.raises(ValueError, match=r'must have shape \[B, 2\]'):
    evaluation.quantile(answering(outputs), batch, levels=(0.1, 0.9))
  with pytest.raises(ValueError, match='between 0 and 1'):
    evaluation.quantile(answering(outputs), batch, levels=(1.0,))


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_focal_equals_optax(gamma):
  yes = (LABEL > 1).astype(np.float32)
  batch = {'features': X, 'label': yes}
  for alpha in (None, 0.25):
    means = values(evaluation.focal(answering(LINE), batch, gamma=gamma, alpha=alpha))
    expected = optax.losses.sigmoid_focal_loss(LINE, yes, alpha=alpha, gamma=gamma).mean()
    assert means['loss'] == pytest.approx(float(expected), rel=1e-5)
  several = values(
    evaluation.focal(answering(LOGITS), {'features': X, 'label': LABEL}, gamma=gamma)
  )
  p = np.asarray(jax.nn.softmax(LOGITS.astype(np.float64)))[np.arange(B), LABEL]
  assert several['loss'] == pytest.approx(np.mean(-((1 - p) ** gamma) * np.log(p)), rel=1e-5)
  certain = jax.grad(
    lambda z: (
      evaluation.focal(answering(z), {'features': X[:1], 'label': LABEL[:1]}, gamma=gamma)[
        'loss'
      ].value
    )
  )(jnp.eye(C)[LABEL[:1]] * 200.0)
  assert np.isfinite(certain).all()
  with pytest.raises(ValueError, match='alpha'):
    evaluation.focal(answering(LOGITS), {'features': X, 'label': LABEL}, alpha=0.5)


def test_z_loss_adds_the_squared_normaliser():
  batch = {'features': X, 'label': LABEL}
  plain = values(evaluation.softmax_cross_entropy(answering(LOGITS), batch))
  means = values(evaluation.softmax_cross_entropy(answering(LOGITS), batch, z_loss=0.1))
  z = np.log(np.exp(LOGITS.astype(np.float64)).sum(-1))
  assert means['loss'] - plain['loss'] == pytest.approx(0.1 * np.mean(z**2), rel=1e-4)
  assert means['accuracy'] == plain['accuracy']


def test_ordinal_by_hand():
  logits = np.array([[2.0, -1.0, -3.0], [1.0, 1.0, 1.0]], np.float32)
  batch = {'features': X[:2], 'label': np.array([1, 0])}
  means = values(evaluation.ordinal_cross_entropy(answering(logits), batch))
  nats = [math.log1p(math.exp(-z)) for z in (2.0, 1.0, 3.0)] + 3 * [math.log1p(math.e)]
  assert means['loss'] == pytest.approx(sum(nats) / 2, rel=1e-6)
  assert means['accuracy'] == 0.5
  assert means['absolute_error'] == 1.5


def test_triplet_by_hand():
  table = jnp.array([[1.0, 0.0], [2.0, 2.0], [0.0, 5.0], [-1.0, 0.0]])
  batch = {'anchor': np.array([0, 0]), 'positive': np.array([1, 2]), 'negative': np.array([2, 1])}
  means = values(evaluation.triplet(lambda i: table[i], batch, margin=0.5))
  near, far = 2 - math.sqrt(2), 2.0  # Squared distances of unit vectors: 2 - 2 cos.
  assert means['loss'] == pytest.approx((max(0, near - far + 0.5) + far - near + 0.5) / 2, rel=1e-6)
  assert means['accuracy'] == 0.5


def test_contrastive_losses_equal_the_papers_pseudocode():
  x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (IMAGE, TEXT))
  logits = SCALE * x @ y.T
  both = (logits, logits.T)
  clip = np.mean([optax.losses.softmax_cross_entropy(z, np.eye(B)).mean() for z in both])
  means = values(evaluation.softmax_contrastive(towers(IMAGE, TEXT, 3), PAIRS))
  assert means['loss'] == pytest.approx(clip, rel=1e-5)
  assert means['image_to_text'] == pytest.approx(np.mean(logits.argmax(1) == np.arange(B)))
  assert means['text_to_image'] == pytest.approx(np.mean(logits.argmax(0) == np.arange(B)))
  signs = 2 * np.eye(B) - 1
  siglip = np.logaddexp(0, -signs * (logits + BIAS)).sum() / B
  means = values(evaluation.sigmoid_contrastive(towers(IMAGE, TEXT), PAIRS))
  assert means['loss'] == pytest.approx(siglip, rel=1e-5)
  named = {'image': IMAGE, 'text': TEXT, 'scale': SCALE, 'bias': BIAS}
  assert values(evaluation.sigmoid_contrastive(answering(named), PAIRS)) == means


def test_pairs_of_one_group_are_not_held_against_each_other():
  same = {**PAIRS, 'group': np.array([0, 0, 1, 2, 3])}
  twice = np.array([0, 0, 2, 3, 4])
  means = values(
    evaluation.softmax_contrastive(towers(1e3 * np.eye(B)[twice], np.eye(B)[twice]), same)
  )
  assert means['image_to_text'] == means['text_to_image'] == 1
  alone = values(evaluation.sigmoid_contrastive(towers(IMAGE, TEXT), {**PAIRS, 'group': LABEL * 0}))
  x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (IMAGE, TEXT))
  expected = np.logaddexp(0, -(SCALE * x @ y.T + BIAS)).sum() / B
  assert alone['loss'] == pytest.approx(expected, rel=1e-5)


def test_distillation_by_hand():
  batch = {'features': X, 'label': LABEL, 'teacher_logits': TEACHER}
  p, q = (np.asarray(jax.nn.softmax(z.astype(np.float64) / 3)) for z in (TEACHER, LOGITS))
  divergence = 9 * np.mean(np.sum(p * np.log(p / q), axis=1))
  means = values(evaluation.distillation(answering(LOGITS), batch, temperature=3, hard=0.25))
  nats = float(optax.losses.softmax_cross_entropy_with_integer_labels(LOGITS, LABEL).mean())
  assert means['divergence'] == pytest.approx(divergence, rel=1e-5)
  assert means['loss'] == pytest.approx(0.75 * divergence + 0.25 * nats, rel=1e-5)
  assert means['agreement'] == pytest.approx(np.mean(LOGITS.argmax(1) == TEACHER.argmax(1)))
  own = {**batch, 'teacher_logits': LOGITS}
  assert values(evaluation.distillation(answering(LOGITS), own))['loss'] == pytest.approx(0)
  features = {'features': X, 'teacher_features': TEACHER}
  means = values(evaluation.feature_distillation(answering(LOGITS), features))
  assert means['loss'] == pytest.approx(np.mean((LOGITS - TEACHER) ** 2), rel=1e-6)
  cosine = values(evaluation.feature_distillation(answering(LOGITS), features, cosine=True))
  expected = optax.losses.cosine_distance(LOGITS, TEACHER).mean()
  assert cosine['loss'] == pytest.approx(float(expected), rel=1e-5)
  attention = {'features': X, 'teacher_attention': ATTENTION[0]}
  means = values(evaluation.attention_distillation(answering(ATTENTION[1]), attention))
  a, b = ATTENTION.astype(np.float64)
  assert means['loss'] == pytest.approx(np.mean((a * np.log(a / b)).sum(-1)), rel=1e-4)


def test_masks_and_spans_are_judged_where_the_weights_say():
  logits = RNG.normal(size=(B, L, 9)).astype(np.float32)
  chosen = RNG.integers(0, 2, (B, L)).astype(np.float32)
  batch = {'inputs': TOKENS, 'targets': TOKENS, 'token_weight': chosen}
  nats = optax.losses.softmax_cross_entropy_with_integer_labels(logits, TOKENS)
  expected = float((nats * chosen).sum() / chosen.sum())
  means = values(evaluation.masked_token(answering(logits), batch))
  assert means['loss'] == pytest.approx(expected, rel=1e-6)
  assert means['perplexity'] == pytest.approx(math.exp(expected), rel=1e-6)
  with pytest.raises(ValueError, match="'token_weight'"):
    evaluation.masked_token(answering(logits), {'inputs': TOKENS, 'targets': TOKENS})
  given = []
  spans = {**batch, 'inputs': TOKENS[:, :3], 'decoder_inputs': TOKENS}
  assert values(
    evaluation.span_corruption(lambda *x: given.append(x) or jnp.asarray(logits), spans)
  ) == values(evaluation.masked_token(answering(logits), batch))
  assert [x.shape for x in given[0]] == [(B, 3), (B, L)]


@pytest.fixture(scope='module')
def decoder():
  model = architecture.DecoderLM(vocab=11, depth=1, width=16, init_scale=0.3)
  return model, model.init(jax.random.key(0), TOKENS, train=False)['params']


@pytest.mark.parametrize('chunks', [2, 3, 6])
def test_the_loss_in_chunks_is_the_plain_loss(decoder, chunks):
  model, params = decoder
  batch = {'inputs': TOKENS, 'targets': TOKENS[:, ::-1], 'weight': PADDED}
  batch |= {'token_weight': RNG.integers(0, 2, (B, L)), 'bytes': RNG.integers(1, 4, (B, L))}

  @functools.partial(jax.jit, static_argnums=1)
  def run(params, chunks):
    def loss(params):
      apply = functools.partial(model.apply, {'params': params}, train=True)
      means = evaluation.next_token(apply, batch, chunks=chunks, z_loss=1e-2)
      return means['loss'].value, means

    return jax.value_and_grad(loss, has_aux=True)(params)

  (_, plain), gradient = run(params, 1)
  (_, means), other = run(params, chunks)
  assert values(means) == pytest.approx(values(plain), rel=1e-6)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), gradient, other)


def test_no_whole_array_of_logits_is_alive_in_chunks(decoder):
  model, params = decoder
  batch = {'inputs': np.zeros((4, 64), int), 'targets': np.zeros((4, 64), int)}

  def memory(chunks):
    def loss(params):
      apply = functools.partial(model.apply, {'params': params}, train=True)
      return evaluation.next_token(apply, batch, chunks=chunks)['loss'].value

    return jax.make_jaxpr(jax.grad(loss))(params).pretty_print(use_color=False)

  assert 'f32[4,64,11]' in memory(1)
  assert 'f32[4,64,11]' not in memory(8)
  assert 'f32[8,4,8,11]' not in memory(8)  # Nor kept by the scan, a chunk at a time.


def test_chunks_make_the_same_parameters_and_must_divide():
  from toys import experiment

  from bigtrain.state import init

  model = architecture.DecoderLM(vocab=11, depth=1, width=16)
  batch = {'inputs': TOKENS, 'targets': TOKENS, 'weight': PADDED}
  made = []
  for chunks in (1, 3):
    objective = functools.partial(evaluation.next_token, chunks=chunks)

    toy = dataclasses.replace(experiment(ema=0.0), model=model, objective=objective)
    made.append(jax.jit(lambda toy=toy: init(toy, batch).params)())
  jax.tree.map(np.testing.assert_array_equal, *made)
  apply, _ = bind(toy, made[0], {})
  with pytest.raises(ValueError, match=r'divide the 6 positions of a row, got 4: .*such as 3'):
    evaluation.next_token(apply, batch, chunks=4)


PLAIN = {'features': X, 'label': NUMBER}
CASES = {
  'absolute': (evaluation.mean_absolute_error, LINE, PLAIN),
  'huber': (evaluation.huber, LINE, PLAIN),
  'quantile': (evaluation.quantile, LOGITS[:, :3], PLAIN),
  'focal': (evaluation.focal, LOGITS, {'features': X, 'label': LABEL}),
  'focal yes': (evaluation.focal, LINE, {'features': X, 'label': LABEL > 1}),
  'ordinal': (evaluation.ordinal_cross_entropy, LOGITS, {'features': X, 'label': LABEL}),
  'distillation': (evaluation.distillation, LOGITS, {'features': X, 'teacher_logits': TEACHER}),
  'features': (
    evaluation.feature_distillation, LOGITS, {'features': X, 'teacher_features': TEACHER}
  ),
  'attention': (
    evaluation.attention_distillation, ATTENTION[0],
    {'features': X, 'teacher_attention': ATTENTION[1]},
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_padding_is_as_if_it_were_not_there(name):
  objective, outputs, batch = CASES[name]
  real = int(PADDED.sum())
  spoilt = np.array(outputs)
  spoilt[real:] = np.nan
  alone = objective(answering(outputs[:real]), {k: x[:real] for k, x in batch.items()})
  padded = objective(answering(spoilt), {**batch, 'weight': PADDED})
  assert values(padded) == pytest.approx(values(alone), rel=1e-6)
  gradient = jax.grad(lambda z: objective(answering(z), {**batch, 'weight': PADDED})['loss'].value)(
    jnp.asarray(outputs)
  )
  assert np.abs(np.asarray(gradient)[:real]).max() > 0
  np.testing.assert_array_equal(np.asarray(gradient)[real:], 0)


@pytest.mark.parametrize('name', ['softmax_contrastive', 'sigmoid_contrastive'])
@pytest.mark.parametrize('group', [False, True])
def test_padding_is_neither_question_nor_answer(name, group):
  objective = getattr(evaluation, name)
  real = int(PADDED.sum())
  pairs = {**PAIRS, 'group': np.array([0, 1, 0, 0, 1])} if group else PAIRS
  alone = objective(towers(IMAGE, TEXT), {k: x[:real] for k, x in pairs.items()})
  spoilt = [np.where(PADDED[:, None] > 0, x, np.nan) for x in (IMAGE, TEXT)]
  padded = objective(towers(*spoilt), {**pairs, 'weight': PADDED})
  assert values(padded) == pytest.approx(values(alone), rel=1e-6)

  def loss(image, weight):
    return objective(towers(image, spoilt[1]), {**pairs, 'weight': weight})['loss'].total

  gradient = np.asarray(jax.grad(loss)(jnp.asarray(spoilt[0]), PADDED))
  assert np.isfinite(gradient).all()
  assert np.abs(gradient[:real]).max() > 0
  nothing = jax.grad(loss)(jnp.asarray(spoilt[0]), 0 * PADDED)
  np.testing.assert_array_equal(nothing, 0)


def test_what_towers_return_is_checked():
  with pytest.raises(ValueError, match=r'two towers must return .* got Array'):
    evaluation.softmax_contrastive(answering(IMAGE), PAIRS)
  with pytest.raises(ValueError, match='needs a bias'):
    evaluation.sigmoid_contrastive(towers(IMAGE, TEXT, 3), PAIRS)
  with pytest.raises(ValueError, match="add 'tokens'"):
    evaluation.softmax_contrastive(towers(IMAGE, TEXT), {'image': IMAGE})


def test_means_that_are_read_through_a_function_still_add():
  values = np.array([1.0, 2.0, 5.0])
  for kind, read in ((evaluation.RootMean, math.sqrt), (evaluation.ExpMean, math.exp)):
    total = kind.of(values[:1]).host() + kind.of(values[1:]).host()
    assert float(total.value) == pytest.approx(read(values.mean()), rel=1e-6)
    assert float(jax.jit(lambda m: m + m)(kind.of(values)).value) == pytest.approx(
      read(values.mean()), rel=1e-6
    )
    assert math.isnan(kind.of(np.ones(0)).host().value)
