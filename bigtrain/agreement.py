"""What all hosts of a run must have in common: code, flags and data."""

from __future__ import annotations

import hashlib
import pathlib
from typing import TYPE_CHECKING, Any

from bigtrain.kinds import text

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment
  from bigtrain.record import Record

_OWN = ('progress',)  # Options in which hosts may differ.


def facts(experiment: Experiment, record: Record | None = None) -> dict[str, str]:
  """Returns what `compute.agree` is to compare: names to short texts.

  Args:
    experiment: Its data are known by length and, where they have one, by digest.
    record: Of this start, which has the flags and the experiment's file.
  """
  here = pathlib.Path(__file__).resolve().parent
  found = {
    f'code {path.relative_to(here.parent).as_posix()}': _digest(path.read_bytes())
    for path in sorted(here.rglob('*.py'))
  }
  parts = {'train': experiment.data, **{n: e.data for n, e in experiment.evals.items()}}
  for name, batches in parts.items():
    found[f'data {name}'] = _data(batches)
  if record is not None:
    found['code of the experiment'] = _digest((record.source or '').encode())
    flags = {**record.knobs, **record.options, 'workdir': record.workdir}
    found |= {f'flag --{n}': text(value) for n, value in flags.items() if n not in _OWN}
  return found


def _data(batches: Any) -> str:
  digest = (getattr(batches.source, 'about', None) or {}).get('digest', '')
  return f'{len(batches.source)} records {digest}'.strip()


def _digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()[:12]
