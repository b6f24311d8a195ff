"""Edits against the textbook's table, corpora against sacrebleu, rows of a language model."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain import evaluation


@settings(max_examples=200, deadline=None)
@given(st.text('abc', max_size=12), st.text('abc', max_size=12))
def test_edits_are_those_of_the_table(a, b):
  row = list(range(len(b) + 1))
  for i, x in enumerate(a, 1):
    above, row[0] = row[0], i
    for j, y in enumerate(b, 1):
      above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
  assert evaluation.edit_distance(a, b) == row[-1]
  assert evaluation.edit_distance(a.split('a'), b.split('a')) <= max(len(a), len(b)) + 1


def test_error_rates_by_hand():
  said, true = ['the cat sat', 'hello'], ['the cat sat', 'hallo you']
  found = evaluation.text_scores(said, true, corpus=False)
  assert found['exact_match'] == 0.5
  assert found['cer'] == 5 / 20
  assert found['wer'] == 2 / 5
  with pytest.raises(ValueError, match='2 predictions for 1 references'):
    evaluation.text_scores(said, true[:1])
  assert math.isnan(evaluation.text_scores([], [], corpus=False)['cer'])


def test_corpus_scores_are_sacrebleus():
  sacrebleu = pytest.importorskip('sacrebleu', reason='BLEU and chrF need sacrebleu')
  said, true = ['the cat sat on the mat'] * 3, ['the cat is on the mat', 'a cat sat on a mat', 'x']
  found = evaluation.text_scores(said, true)
  assert found['bleu'] == sacrebleu.corpus_bleu(said, [true]).score
  assert found['chrf'] == sacrebleu.corpus_chrf(said, [true]).score
  for name in ('bleu', 'chrf'):
    assert found[f'{name}_low'] < found[name] < found[f'{name}_high']


def test_a_language_models_rows_add_up_to_its_objective():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(6, 5, 9)).astype(np.float32)
  batch = {'inputs': rng.integers(0, 9, (6, 5)), 'targets': rng.integers(0, 9, (6, 5))}
  batch |= {'bytes': rng.integers(0, 4, (6, 5)), 'token_weight': rng.integers(0, 2, (6, 5))}
  batch['document'] = np.array([0, 0, 1, 1, 2, 3])
  evaluator = evaluation.Language(cluster='document')
  table = evaluator.predict(lambda x: logits, batch)
  report = evaluator.report({key: np.asarray(column) for key, column in table.items()})
  means = evaluation.next_token(lambda x: logits, batch)
  for name, mean in means.items():
    assert report[name] == pytest.approx(float(mean.value), rel=1e-6)
    assert report[f'{name}_low'] <= report[name] <= report[f'{name}_high']
