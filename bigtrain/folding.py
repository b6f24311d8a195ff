"""Folds of a whole experiment: what it trains on and holds out, dealt anew so that all is judged.

Records of training and of the held-out evaluation are put together, and each fold holds out its
share of them; the test split stays where it is. An experiment that learns from its training part
before it trains (scales, vocabularies), or whose records are windows of one text, must deal the
folds itself: it does so where it has the knobs `fold` and `folds`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bigtrain import data
from bigtrain.data import sources, views
from bigtrain.evaluation import is_test

if TYPE_CHECKING:
  from bigtrain.build import Build
  from bigtrain.experiment import Experiment

_CURE = 'give the experiment a knob fold, () or (fold, folds), and let it split by data.folds'


def own_folds(build: Build) -> bool:
  """Whether the experiment deals the folds itself."""
  return 'fold' in build.knobs


def deal(
  build: Build, folds: int, *, evaluation: str = 'held_out', stratify: str = '', group: str = ''
) -> list[Experiment]:
  """Returns the experiment of each fold, with the held-out evaluation alone, made at the end.

  Args:
    build: Makes the experiment.
    folds: How many, at least 2.
    evaluation: The one whose data is dealt.
    stratify: A key of which each fold has its share; '' is 'label' where it is an integer, and
      'none' none.
    group: A key of what must not be on both sides; '' is none.

  Raises:
    ValueError: The evaluation is not there or a test split, or the records can't be dealt.
  """
  if is_test(evaluation):
    raise ValueError(
      f'--evaluation={evaluation} is a test split, which is not trained on: name another'
    )
  if own_folds(build):
    if stratify or group:
      raise ValueError('the experiment deals its folds itself: leave --stratify and --group out')
    made = [build(fold=(fold, folds)) for fold in range(folds)]
    return [_judged_by(each, evaluation) for each in made]
  base = _judged_by(build(), evaluation)
  judged = base.evals[evaluation].data
  for source in (base.data.source, judged.source):
    if views.behind(source, 'tokenizer') is not None:
      raise ValueError(f'windows of one text would be on both sides of a fold: {_CURE}')
    if hasattr(source, 'stream_order'):
      raise ValueError(f'a mixture would lose its shares in folds: {_CURE}')
  pool = data.mix({'train': base.data.source, 'held_out': judged.source})
  if not stratify:
    label = np.asarray(pool[0].get('label', 0.5))
    stratify = 'label' if label.ndim == 0 and label.dtype.kind in 'iu' else 'none'
  parts = data.folds(
    pool, folds, stratify=None if stratify == 'none' else stratify, group=group or None
  )
  about = getattr(base.data.source, 'about', {})
  experiments = []
  for train, held in parts:
    own, other = (sources.Subset(pool, part.indices, about) for part in (train, held))
    made = dataclasses.replace(base.evals[evaluation], data=_over(judged, other))
    experiments.append(
      dataclasses.replace(base, data=_over(base.data, own), evals={evaluation: made})
    )
  return experiments


def _judged_by(experiment: Experiment, evaluation: str) -> Experiment:
  if evaluation not in experiment.evals:
    known = ', '.join(name for name in experiment.evals if not is_test(name))
    raise ValueError(
      f'--evaluation={evaluation} is no evaluation of this experiment: it has {known}'
    )
  made = dataclasses.replace(experiment.evals[evaluation], every=None)
  return dataclasses.replace(experiment, evals={evaluation: made})


def _over(batches: Any, source: Any) -> Any:
  return dataclasses.replace(batches, source=source)
