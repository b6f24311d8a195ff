"""One evaluation of a checkpoint looked at closely: intervals, calibration, slices, worst mistakes.

Training keeps the metrics of `Program.evaluate`; here all that they are told from is kept.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from bigtrain import data, evaluation
from bigtrain.data import views

if TYPE_CHECKING:
  from bigtrain.experiment import Eval
  from bigtrain.program import Collected, Program
  from bigtrain.state import TrainState

FOLDER = 'evaluation'
_JUDGES = (('accuracy', True), ('loss', False), ('rmse', False), ('log_loss', False))
_MOST_SLICES = 200
_LEAST = 10  # Examples of a slice that may be called the worst.
_WORST = 12  # Mistakes that are shown.


@dataclasses.dataclass(frozen=True)
class Appraisal:
  """What an evaluation found.

  Attributes:
    made: The evaluation.
    metrics: By name, with 'NAME_low' and 'NAME_high' where there is an interval.
    told: What they are told from.
    cluster: What records share, [N], where their intervals are over that.
  """

  made: Eval
  metrics: dict[str, float]
  told: Collected
  cluster: np.ndarray | None = None

  @property
  def classes(self) -> list[str] | None:
    """Names of the classes, where the data has them for each class of the table."""
    names = views.behind(self.made.data.source, 'about') or {}
    names = names.get('classes')
    width = np.shape(self.told.table.get('log_probability', np.zeros((0, 0))))[-1]
    return list(map(str, names)) if names is not None and len(names) == width else None


def appraise(program: Program, name: str, state: TrainState, cluster: str = '') -> Appraisal:
  """Evaluates a state.

  Args:
    program: Of the experiment.
    name: The evaluation.
    state: What is evaluated.
    cluster: Key of what records share, such as a document or a speaker: their intervals are over
      those, for records of one source count for less than as many strangers. Empty is each alone.

  Raises:
    ValueError: The records have no such key.
  """
  made = program.experiment.evals[name]
  told = program.collect(name, state)
  shared = None
  if cluster:
    values = np.asarray(data.column(made.data.source, cluster))[told.numbers]
    shared = np.unique(values.astype(str), return_inverse=True)[1]
  return Appraisal(made, told.metrics(made, shared), told, shared)


def by_slice(found: Appraisal, key: str) -> dict[str, dict[str, float]]:
  """Returns the metrics of each slice: records that share a key, which the model need not see.

  Raises:
    ValueError: The records have no such key, or too many values of it.
  """
  values = np.asarray(data.column(found.made.data.source, key))[found.told.numbers]
  names, number_N = np.unique(values.astype(str), return_inverse=True)
  if values.ndim != 1 or len(names) > _MOST_SLICES:
    raise ValueError(
      f'--slice={key} has {len(names)} different values: slice by a key of at most '
      f'{_MOST_SLICES}, such as a class, a source or a group'
    )
  slices = {}
  for i, name in enumerate(names):
    rows = number_N == i
    shared = None if found.cluster is None else found.cluster[rows]
    metrics = found.told.only(rows).metrics(found.made, shared)
    slices[str(name)] = {**metrics, 'examples': float(np.sum(rows))}
  return slices


def worst_slice(slices: Mapping[str, Mapping[str, float]]) -> tuple[str, str] | None:
  """Returns the slice that fares worst, of those with 10 examples or more, and by which metric."""
  for metric, higher in _JUDGES:
    judged = {
      name: values[metric] * (1 if higher else -1)
      for name, values in slices.items()
      if math.isfinite(values.get(metric, math.nan)) and values['examples'] >= _LEAST
    }
    if judged:
      return min(judged, key=lambda name: judged[name]), metric
  return None


def scaled(found: Appraisal, temperature: float) -> dict[str, float]:
  """Returns log loss, Brier score and calibration error of softmax(logits / temperature)."""
  divided = np.asarray(found.told.table['log_probability'], np.float64) / temperature
  divided -= np.logaddexp.reduce(divided, axis=-1, keepdims=True)
  assert found.made.evaluator is not None
  shared = {} if found.cluster is None else {'cluster': found.cluster}
  report = found.made.evaluator.report({**found.told.table, **shared, 'log_probability': divided})
  names = [f'{name}{end}' for name in ('log_loss', 'brier', 'calibration_error')
           for end in ('', '_low', '_high')]  # fmt: skip
  return {f'scaled_{name}': report[name] for name in names if name in report}


def worst(found: Appraisal, most: int = _WORST) -> tuple[list[Any], list[str]]:
  """Returns the examples of the greatest loss, as pictures or texts, with a caption each."""
  losses_N = evaluation.item_values(found.told.items, 'loss')
  if losses_N is None:
    return [], []
  rows = np.argsort(-np.nan_to_num(losses_N, nan=-np.inf), kind='stable')[:most]
  table = {key: column[rows] for key, column in found.told.table.items()}
  evaluator: Any = found.made.evaluator
  if hasattr(evaluator, 'captions'):
    captions = evaluator.captions(table, found.classes)
  else:
    captions = [f'loss {losses_N[row]:.3f}' for row in rows]
  source = found.made.data.source
  return [_shown(source, source[int(number)]) for number in found.told.numbers[rows]], captions


def _shown(source: Any, record: Mapping[str, Any]) -> Any:
  """A record as a picture or a text."""
  if 'image' in record and np.ndim(record['image']) == 3:
    pixels, _ = views.pictures(np.asarray(record['image'])[None])
    return pixels[0]
  if 'audio' in record and np.ndim(record['audio']) == 1:
    return views.spectrogram(np.asarray(record['audio']))
  tokenizer = views.behind(source, 'tokenizer')
  if tokenizer is not None and 'targets' in record:
    return tokenizer.decode(np.asarray(record['targets']))
  names = (views.behind(source, 'about') or {}).get('features')
  parts = []
  for key, value in record.items():
    value = np.asarray(value)
    if key == 'features' and value.ndim == 1 and names is not None and len(names) == len(value):
      parts += [f'{name} {x:.4g}' for name, x in zip(names, value, strict=True) if x]
    elif key not in ('label', 'weight'):
      parts.append(f'{key} {value}')
  return ', '.join(parts)


def write(
  folder: str, found: Appraisal, step: int, key: str, slices: Mapping[str, Mapping[str, float]]
) -> list[str]:
  """Writes metrics, slices and pictures of an evaluation; returns the names of the pictures."""
  place = epath.Path(folder)
  place.mkdir(parents=True, exist_ok=True)
  for old in place.iterdir():
    if old.suffix == '.png' or old.name in ('metrics.json', 'slices.json'):
      old.unlink()
  content = {'step': step, 'examples': len(found.told.numbers), 'metrics': nested(found.metrics)}
  (place / 'metrics.json').write_text(json.dumps(content, indent=1) + '\n')
  evaluator: Any = found.made.evaluator
  figures = {}
  if hasattr(evaluator, 'draw') and len(found.told.numbers):
    figures |= evaluator.draw(found.told.table, found.classes)
  examples, captions = worst(found)
  if examples:
    figures['worst'] = evaluation.draw_examples(examples, captions)
  if slices:
    lowest = worst_slice(slices)
    metric = lowest[1] if lowest else 'examples'
    content = {
      'key': key, 'metric': metric, 'worst': lowest[0] if lowest else None,
      'slices': {name: nested(values) for name, values in slices.items()},
    }  # fmt: skip
    (place / 'slices.json').write_text(json.dumps(content, indent=1) + '\n')
    figures['slices'] = _slice_bars(slices, key, metric)
  for name, figure in figures.items():
    with (place / f'{name}.png').open('wb') as file:
      figure.savefig(file, dpi=150, format='png')
  return list(figures)


def _slice_bars(slices: Mapping[str, Mapping[str, float]], key: str, metric: str) -> Any:
  ends = [(v.get(f'{metric}_low', math.nan), v.get(f'{metric}_high', math.nan))
          for v in slices.values()]  # fmt: skip
  values = [v.get(metric, math.nan) for v in slices.values()]
  names = [f'{name} ({v["examples"]:.0f})' for name, v in slices.items()]
  return evaluation.draw_bars(values, names, xlabel=f'{metric} by {key}', intervals=ends)


def nested(metrics: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
  """Returns {name: {'value', 'low', 'high'}}, None for what is not finite, which JSON lacks."""
  found: dict[str, dict[str, float | None]] = {}
  for name, value in metrics.items():
    own, _, end = name.rpartition('_')
    if end in ('low', 'high') and own in metrics:
      if math.isfinite(value):
        found.setdefault(own, {})[end] = value
      continue
    found.setdefault(name, {})['value'] = value if math.isfinite(value) else None
  return found


def named(folder: str, name: str) -> str:
  """Returns where an evaluation of a run is kept."""
  return str(epath.Path(folder) / FOLDER / name.replace('/', '_'))


def with_interval(metrics: Mapping[str, float], name: str) -> str:
  """Returns a metric with its interval, where it has one, as text."""
  value, low, high = (metrics.get(f'{name}{end}', math.nan) for end in ('', '_low', '_high'))
  return f'{value:.4f}' + (f' ({low:.4f} to {high:.4f})' if math.isfinite(low) else '')
