"""Preferences between pairs of answers, against a computation by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import toys

from bigtrain import architecture, data, evaluation, iteration
from bigtrain.experiment import Experiment
from bigtrain.program import Program
from bigtrain.train import fit

PAIRS = toys.Records(
  *({'prompt': f'{i}?', 'chosen': 'yes', 'rejected': 'no'} for i in range(8)),
)
BATCH = data.preference_pairs(PAIRS, 32, data.Bytes(), template='plain').columns


def test_the_loss_is_that_of_a_hand_computation():
  rng = np.random.default_rng(0)
  table = rng.normal(size=(256, 256)).astype(np.float32)

  def apply(tokens, shift=0.0):
    return jnp.asarray(table)[tokens] * (1 - shift)

  def by_hand(scale):
    log = scale * table - np.log(np.exp(scale * table).sum(-1, keepdims=True))
    return [
      [
        sum(log[x, y] for x, y, w in zip(*row, strict=True) if w)
        for row in zip(*(BATCH[f'{side}_{k}'] for k in ('inputs', 'targets', 'token_weight')))  # noqa: B905
      ]
      for side in ('chosen', 'rejected')
    ]

  policy, reference = by_hand(1.0), by_hand(0.5)
  beta, wrong = 0.3, 0.1
  margins = [beta * ((a - c) - (b - d)) for a, b, c, d in zip(*policy, *reference, strict=True)]
  sigmoid = [1 / (1 + math.exp(-m)) for m in margins]
  expected = np.mean([-(1 - wrong) * math.log(s) - wrong * math.log(1 - s) for s in sigmoid])
  online = evaluation.dpo(apply, BATCH, beta=beta, smoothing=wrong, reference={'shift': 0.5})
  np.testing.assert_allclose(online['loss'].value, expected, rtol=1e-5)
  np.testing.assert_allclose(online['margin'].value, np.mean(margins), rtol=1e-4)
  kept = evaluation.pair_log_probabilities(lambda tokens: apply(tokens, 0.5), BATCH)
  np.testing.assert_allclose(kept['reference_chosen'], reference[0], rtol=1e-5)
  recorded = evaluation.dpo(apply, {**BATCH, **kept}, beta=beta, smoothing=wrong)
  assert {k: float(m.value) for k, m in recorded.items()} == {
    k: float(m.value) for k, m in online.items()
  }


def test_the_adapters_learn_the_preference_against_the_frozen_model():
  import optax

  base = architecture.DecoderLM(vocab=256, depth=1, width=16)
  model = iteration.LoRA(base, targets='.*(feed|head).*', rank=2)
  objective = lambda apply, batch: evaluation.dpo(apply, batch, reference={'lora': False})  # noqa: E731
  source = data.arrays(**BATCH)
  experiment = Experiment(
    data=data.forever(source, 8),
    model=model,
    objective=objective,
    optimizer=optax.adam(0.01),
    steps=20,
    trainable='lora/.*',
    evals={'pairs': toys.Eval(data.once(source, 8), objective)},
  )
  program = Program(experiment)
  before = program.evaluate('pairs', program.init())
  np.testing.assert_allclose(before['loss'], math.log(2), rtol=1e-5)
  after = fit(program, progress=False).results['pairs']
  assert after['accuracy'] == 1
  assert after['margin'] > 0.1


def test_what_makes_no_sense_is_named():
  apply = lambda tokens: jnp.zeros((*tokens.shape, 256))  # noqa: E731
  with pytest.raises(ValueError, match='reference_chosen'):
    evaluation.dpo(apply, BATCH)
  with pytest.raises(ValueError, match='beta above 0'):
    evaluation.dpo(apply, BATCH, beta=0, reference={})
