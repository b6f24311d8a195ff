"""Sampling by its definition, and generation by the model's own forward pass."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import check_sentence, initialised

from bigtrain import architecture, iteration

VOCAB = 11
MODEL = architecture.DecoderLM(vocab=VOCAB, depth=1, width=8, heads=2, conv=2)
PROMPT = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
LOGITS = np.random.default_rng(0).normal(size=(5, VOCAB)).astype(np.float32) * 2


@pytest.fixture(scope='module')
def variables():
  return initialised(MODEL, PROMPT)


def written(variables, draw, prompt=PROMPT, model=MODEL, **options):
  decode, start = architecture.cached_decode(model)
  return np.concatenate(
    list(iteration.generate(decode, variables, start, prompt, draw=draw, **options)), 1
  )


def kept(logits):
  return np.isfinite(np.asarray(logits))


def softmax(x):
  e = np.exp(x - x.max())
  return e / e.sum()


def test_what_is_kept_is_as_defined():
  for row, k, p, m in zip(
    LOGITS,
    kept(iteration.keep_top_k(LOGITS, 3)),
    kept(iteration.keep_top_p(LOGITS, 0.7)),
    kept(iteration.keep_min_p(LOGITS, 0.2)),
    strict=True,
  ):
    assert set(np.flatnonzero(k)) == set(np.argsort(row)[-3:])
    probability = softmax(row)
    order = np.argsort(-probability)
    fewest = next(n for n in range(1, VOCAB + 1) if probability[order[:n]].sum() >= 0.7)
    assert set(np.flatnonzero(p)) == set(order[:fewest])
    np.testing.assert_array_equal(m, probability >= 0.2 * probability.max())
  for same in (
    iteration.keep_top_k(LOGITS, 0),
    iteration.keep_top_p(LOGITS, 1.0),
    iteration.keep_min_p(LOGITS, 0.0),
  ):
    np.testing.assert_array_equal(same, LOGITS)


def test_draws_have_the_probabilities_of_the_temperature():
  keys = jax.random.split(jax.random.key(0), 20_000)
  logits = jnp.broadcast_to(LOGITS[0], (len(keys), VOCAB))
  drawn = iteration.sample(keys, logits, temperature=0.5)
  share = np.bincount(drawn, minlength=VOCAB) / len(keys)
  # Four standard deviations of a share of 20,000 draws.
  np.testing.assert_allclose(share, softmax(LOGITS[0] / 0.5), atol=4 * 0.5 / len(keys) ** 0.5)
  likeliest = iteration.sample(keys[:1], logits[:1], temperature=0.0)
  np.testing.assert_array_equal(likeliest, [LOGITS[0].argmax()])
  check_sentence(
    lambda: iteration.sample(keys, logits, top_p=0.0), ['top_p in (0, 1]', '0.0'], 'sampling takes'
  )


def test_greedy_with_a_cache_equals_greedy_by_full_passes(variables):
  got = written(variables, functools.partial(iteration.sample, temperature=0.0), tokens=7, chunk=3)
  text, forward = PROMPT, jax.jit(lambda x: MODEL.apply(variables, x, train=False))
  for _ in range(7):
    padded = np.pad(text, ((0, 0), (0, 10 - text.shape[1])))  # Causal: what follows is not seen.
    text = np.c_[text, np.asarray(forward(padded)[:, text.shape[1] - 1].argmax(-1))]
  np.testing.assert_array_equal(got, text[:, 3:])


def test_a_text_depends_on_its_seed_and_row_alone(variables):
  whole = written(variables, iteration.sample, tokens=7, chunk=3)
  np.testing.assert_array_equal(whole, written(variables, iteration.sample, tokens=7, chunk=7))
  alone = written(variables, iteration.sample, PROMPT[:1], tokens=7, chunk=3)
  np.testing.assert_array_equal(whole[:1], alone)
  assert (whole != written(variables, iteration.sample, tokens=7, chunk=3, seed=1)).any()


def test_a_prompt_is_needed():
  with pytest.raises(ValueError, match='at least one text'):
    written(None, None, PROMPT[:, :0], tokens=1)


def test_a_recurrent_model_goes_on_as_it_would_read_the_whole():
  model = architecture.RecurrentLM(vocab=VOCAB, depth=1, width=8, kind='gru')
  variables = initialised(model, PROMPT)
  got = written(variables, functools.partial(iteration.sample, temperature=0.0), model=model,
                tokens=4, chunk=3)  # fmt: skip
  text = np.c_[PROMPT, got]
  logits = model.apply(variables, text, train=False)
  np.testing.assert_array_equal(got, logits[:, 2:-1].argmax(-1))


@pytest.mark.parametrize('end', [None, 3])
def test_enough_beams_find_the_likeliest_of_all_texts(variables, end):
  decode, start = architecture.cached_decode(MODEL)
  best, scores = iteration.beam_search(
    decode, variables, start, PROMPT, tokens=3, beams=VOCAB**2, end=end, length_power=0.5
  )
  every = np.array(list(itertools.product(range(VOCAB), repeat=3)))
  for row, prompt in enumerate(PROMPT):
    text = np.c_[np.tile(prompt, (len(every), 1)), every]
    logs = jax.nn.log_softmax(MODEL.apply(variables, text, train=False))[:, 2:-1]
    logs = np.take_along_axis(np.asarray(logs), every[..., None], -1)[..., 0]
    counts = np.ones_like(every)
    if end is not None:
      counts = np.cumsum(every == end, -1) - (every == end) == 0  # Up to the first end.
    total = (logs * counts).sum(-1) / counts.sum(-1) ** 0.5
    place = total.argmax()
    np.testing.assert_allclose(scores[row, 0], total[place], rtol=1e-5)
    kept = counts[place].astype(bool)
    np.testing.assert_array_equal(best[row, 0][kept], every[place][kept])
    assert (np.diff(scores[row]) <= 0).all()
