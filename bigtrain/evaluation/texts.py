"""Texts against reference texts: exact match, error rates, BLEU and chrF, with intervals.

BLEU and chrF are sacrebleu's (`pip install sacrebleu`), whose numbers others report too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigtrain.evaluation.intervals import percentiles, resampled_sums, with_intervals


def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> int:
  """Returns the least number of insertions, deletions and substitutions from a to b.

  Levenshtein 1966, by Hyyrö's (2003) form of Myers' bit vectors: a row of the table is two integers
  of len(a) bits.
  """
  if not len(a):
    return len(b)
  places: dict[Any, int] = {}
  for i, item in enumerate(a):
    places[item] = places.get(item, 0) | 1 << i
  mask, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
  plus, minus, distance = mask, 0, len(a)
  for item in b:
    match = places.get(item, 0)
    zero = (((match & plus) + plus) ^ plus) | match | minus
    up, down = minus | ~(zero | plus), plus & zero
    distance += bool(up & last) - bool(down & last)
    up, down = up << 1 | 1, down << 1
    plus, minus = (down | ~(zero | up)) & mask, up & zero & mask
  return distance


def text_scores(
  predictions: Sequence[str],
  references: Sequence[str],
  *,
  corpus: bool = True,
  resamples: int = 2_000,
  seed: int = 0,
) -> dict[str, float]:
  """Returns 'exact_match', 'cer', 'wer', 'bleu' and 'chrf' with intervals over texts.

  Args:
    predictions: What the model wrote.
    references: What should stand there, one each. Compared as they are: normalise both before.
    corpus: Whether to give 'bleu' (Papineni et al. 2002) and 'chrf' (Popović 2015), 0 to 100, of
      all texts together; they need sacrebleu.
    resamples: Of the bootstrap.
    seed: Of its drawing.

  Returns:
    Error rates are edits over characters (or words between white space) of all references; they may
    be above 1, and are NaN where the references are empty.

  Raises:
    ValueError: Not as many predictions as references.
    ImportError: `corpus` without sacrebleu.
  """
  if len(predictions) != len(references):
    raise ValueError(
      f'text_scores: {len(predictions)} predictions for {len(references)} references: '
      'give one for each'
    )
  columns = np.zeros((len(references), 6))
  for i, (said, true) in enumerate(zip(predictions, references, strict=True)):
    words = said.split(), true.split()
    columns[i] = (
      1, said == true, edit_distance(said, true), len(true), edit_distance(*words), len(words[1])
    )  # fmt: skip

  def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {
      'exact_match': sums[1] / sums[0], 'cer': sums[2] / sums[3], 'wer': sums[4] / sums[5]
    }  # fmt: skip

  found = with_intervals(columns, metrics, resamples=resamples, seed=seed)
  if corpus:
    try:
      import sacrebleu  # pyright: ignore[reportMissingImports]
    except ImportError:
      raise ImportError(
        'text_scores: BLEU and chrF need sacrebleu: pip install sacrebleu, or corpus=False'
      ) from None
    for name, metric in (('bleu', sacrebleu.BLEU()), ('chrf', sacrebleu.CHRF())):
      if not len(references):
        found |= dict.fromkeys((name, f'{name}_low', f'{name}_high'), np.nan)
        continue
      # The counts of each text, whose sums give the score of all: what is drawn is texts.
      counts = metric._extract_corpus_statistics(list(predictions), [list(references)])
      of = metric._aggregate_and_compute
      found[name] = float(of(counts).score)
      sums_RK = resampled_sums(np.asarray(counts), resamples=resamples, seed=seed)
      drawn = np.array([of([sums.round().astype(int).tolist()]).score for sums in sums_RK])
      found[f'{name}_low'], found[f'{name}_high'] = percentiles(drawn)
  return found
