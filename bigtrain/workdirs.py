"""What workdirs hold, read again and again at the price of what was added.

Reads `record.json`, the copy of the experiment's file, `metrics.jsonl`, and what verbs left beside
them; needs neither the experiment nor a device. Metrics are read by columns and thinned to what a
drawing can show, so that 50 runs of 100,000 lines are a matter of seconds, and a run that goes on
is followed by its new lines alone.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from bigtrain import record
from bigtrain.growing import POINTS, Curve, Growing, columns, thinned
from bigtrain.json_lines import objects

_TEXTS = 8  # Samples of text: the newest.
# In this order, by `evaluate`.
PICTURES = (
  'roc', 'precision_recall', 'confusion', 'reliability', 'residuals', 'per_class', 'worst', 'slices'
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What `evaluate` left of one evaluation.

  Attributes:
    step: Of the checkpoint.
    metrics: Name to 'value' and, where there is an interval, 'low' and 'high'.
    pictures: By name.
    slices: The metrics of parts of the data, as the file has them; empty where there are none.
  """

  step: int
  metrics: Mapping[str, Mapping[str, float]]
  pictures: Mapping[str, epath.Path]
  slices: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Kept:
  """What a workdir holds.

  Attributes:
    folder: The workdir.
    knobs: Of the experiment.
    source: The experiment's file; empty where there is none.
    starts: One for each start of the run, as the record has them.
    curves: (steps, values) by metric, thinned.
    last: The last value of each metric.
    step: The last that the journal has.
    seconds: That the run took, over all its starts.
    evaluations: By name, as `evaluate` left them.
    samples: Of text, as `generate` left them: 'step', 'prompt', 'text'.
    lineage: Where the run's parameters came from; empty where they began at random.
  """

  folder: epath.Path
  knobs: Mapping[str, Any]
  source: str
  starts: Sequence[Mapping[str, Any]]
  curves: Mapping[str, Curve]
  last: Mapping[str, float]
  step: float
  seconds: float
  evaluations: Mapping[str, Evaluation]
  samples: Sequence[Mapping[str, Any]]
  lineage: Mapping[str, Any]

  @property
  def name(self) -> str:
    """Of the folder."""
    return self.folder.name


class Workdir:
  """A run's folder, followed while it grows.

  Attributes:
    version: Grows whenever something was found that was not there before.

  Raises:
    ValueError: it is no run.
  """

  def __init__(self, workdir: str):
    self._workdir, self._folder = workdir, epath.Path(workdir)
    if record.read(workdir) is None:
      raise ValueError(
        f'{workdir} holds no {record.RECORD} and no runs, so it is not a run: train one first, or '
        'name another folder'
      )
    self.version = 0
    self._metrics = Growing(self._folder / 'metrics.jsonl')
    self._beside: Any = None
    self._forget()

  def _forget(self) -> None:
    self._curves: dict[str, Curve] = {}
    self._last: dict[str, float] = {}
    self._step, self._seconds, self._clock = 0.0, 0.0, 0.0

  def read(self) -> Kept:
    """Returns what the folder holds now."""
    anew, content = self._metrics.read()
    if anew:
      self._forget()
    if content.strip():
      self._enter(columns(content))
    found = record.read(self._workdir) or {'knobs': {}}
    copy = self._folder / found.get('file', '')
    samples = self._folder / 'samples.jsonl'
    # Stamps of files that are written whole, by other verbs.
    beside = len(found.get('starts', [])), _stamps(self._folder)
    self.version += anew or bool(content) or beside != self._beside
    self._beside = beside
    evaluations = _evaluations(self._folder / 'evaluation', self._last)
    return Kept(
      folder=self._folder,
      knobs=found['knobs'],
      source=copy.read_text() if copy.is_file() else '',
      starts=found.get('starts', []),
      curves=dict(self._curves),
      last=self._last | _newer(evaluations, self._step),
      step=self._step,
      seconds=self._seconds,
      evaluations=evaluations,
      samples=list(objects(samples.read_text()))[-_TEXTS:] if samples.exists() else [],
      lineage=_object(self._folder / 'lineage.json'),
    )

  def _enter(self, found: dict[str, np.ndarray]) -> None:
    step = found.pop('step')
    seconds = found.pop('seconds', np.zeros(len(step)))
    for name, values in found.items():
      known = np.isfinite(values)
      if known.any():
        x, y = self._curves.get(name, (np.zeros(0), np.zeros(0)))
        x, y = np.concatenate([x, step[known]]), np.concatenate([y, values[known]])
        self._curves[name] = thinned(x, y) if len(x) > 4 * POINTS else (x, y)
        self._last[name] = float(values[known][-1])
    # A resumed run counts its seconds from 0 again.
    spent = np.diff(seconds, prepend=self._clock)
    self._seconds += float(np.sum(np.where(spent < 0, seconds, spent)))
    self._step, self._clock = max(self._step, float(step.max())), float(seconds[-1])


class Shelf:
  """Runs, some named and some in folders of runs, where new ones may appear.

  Args:
    places: Workdirs, and folders of workdirs.
  """

  def __init__(self, places: Sequence[str]):
    self._places = places
    self._runs: dict[str, Workdir] = {}

  def read(self) -> list[Kept]:
    """Returns all runs as they are now.

    Raises:
      ValueError: a place is neither a run nor a folder of runs.
    """
    places = list(dict.fromkeys(run for place in self._places for run in runs_in(place)))
    for place in places:
      if place not in self._runs:
        self._runs[place] = Workdir(place)
    return [self._runs[place].read() for place in places]

  @property
  def version(self) -> int:
    """Grows whenever a run does, or one comes."""
    return sum(1 + run.version for run in self._runs.values())


def runs_in(place: str) -> list[str]:
  """Returns the runs in a folder, by name; of what is no folder of runs, itself alone."""
  folder = epath.Path(place)
  if record.read(place) is None and folder.is_dir():
    found = [str(run) for run in folder.iterdir() if (run / record.RECORD).exists()]
    return sorted(found, key=_natural) or [place]
  return [place]


def _natural(place: str) -> list[tuple[int, str]]:
  """Orders run2 before run10."""
  return [(int(part or 0), '') if i % 2 else (0, part)
          for i, part in enumerate(re.split(r'(\d+)', place))]  # fmt: skip


def _evaluations(folder: epath.Path, last: Mapping[str, float]) -> dict[str, Evaluation]:
  if not folder.is_dir():
    return {}
  # A folder's name cannot hold the slashes that an evaluation's may.
  names = {name.rpartition('/')[0] for name in last}
  real = {name.replace('/', '_'): name for name in names}
  found = {}
  for place in sorted(folder.iterdir()):
    if not (place / 'metrics.json').exists():
      continue
    content = _object(place / 'metrics.json')
    pictures = {name: place / f'{name}.png' for name in PICTURES}
    found[real.get(place.name, place.name)] = Evaluation(
      content.get('step', 0),
      content.get('metrics', {}),
      {name: path for name, path in pictures.items() if path.exists()},
      _object(place / 'slices.json'),
    )
  return found


def _newer(evaluations: Mapping[str, Evaluation], step: float) -> dict[str, float]:
  """Returns metrics of evaluations of the last checkpoint: they have intervals where any can."""
  ends = {'value': '', 'low': '_low', 'high': '_high'}
  return {
    f'{name}/{metric}{ends[end]}': value
    for name, evaluation in evaluations.items()
    if evaluation.step >= step
    for metric, values in evaluation.metrics.items()
    for end, value in values.items()
    if end in ends and value is not None
  }


def _stamps(folder: epath.Path) -> list[float]:
  paths = [folder / 'samples.jsonl', folder / 'lineage.json']
  paths += list((folder / 'evaluation').glob('*/metrics.json'))
  return [path.stat().mtime for path in paths if path.exists()]


def _object(path: epath.Path) -> dict[str, Any]:
  """Reads a file of one JSON object; one that is being written counts as not there."""
  try:
    found = json.loads(path.read_text()) if path.exists() else {}
  except json.JSONDecodeError:
    return {}
  return found if isinstance(found, dict) else {}
