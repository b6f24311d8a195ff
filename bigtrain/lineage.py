"""Which runs a run began with, from run to run: `lineage.json` in the workdir.

    {"from": [NODE, ...], "taken": 12, "reshaped": {PATH: [OLD, NEW]}, "kept": [PATH, ...],
     "fresh": [PATH, ...], "unused": [PATH, ...]}

A NODE is `{"workdir": ..., "step": ..., "experiment": ..., "from": [NODE, ...]}`, whose own "from"
is copied, so that it outlives the run. It is written once, when training begins; a run that began
from scratch has none.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bigtrain import record

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment

LINEAGE = 'lineage.json'


def read(workdir: str) -> dict[str, Any] | None:
  """Returns what a run began with; None where it began from scratch.

  Raises:
    ValueError: The file is damaged.
  """
  from etils import epath

  path = epath.Path(workdir) / LINEAGE
  if not path.exists():
    return None
  try:
    found = json.loads(path.read_text())
    if isinstance(found['from'], list):
      return found
  except (ValueError, KeyError, TypeError):
    pass
  raise ValueError(f'{path} is damaged: restore it, or remove it, which forgets the lineage')


def write(workdir: str, start: Any) -> None:
  """Writes what a run has begun with, on the first host; nothing where that was no warm start."""
  import jax
  from etils import epath

  report = getattr(start, 'report', None)
  if report is None or jax.process_index():
    return
  content = {'from': [_node(*run) for run in start.runs], **dataclasses.asdict(report)}
  content['taken'] = len(report.taken)
  path = epath.Path(workdir) / LINEAGE
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content, indent=2) + '\n')


def forked(
  experiment: Experiment, workdir: str, init: str, *, keep: str = '', rename: Sequence[str] = ()
) -> Experiment:
  r"""Returns the experiment, begun with the parameters of another run.

  Args:
    experiment: Whose own `start`, if it has one, is replaced.
    workdir: Where it is trained.
    init: The other run, as WORKDIR or WORKDIR@STEP.
    keep: As in `iteration.warm_start`; empty is None.
    rename: 'PATTERN=>PATH', as in `iteration.warm_start`.

  Raises:
    ValueError: There is no such checkpoint, a rule makes no sense, or the workdir has begun
      otherwise.
  """
  from bigtrain import iteration

  run, at, step = init.rpartition('@')
  run, step = (run, int(step)) if at and step.isdigit() else (init, 0)
  run = os.path.expanduser(run)
  if _place(run) == _place(workdir):
    raise ValueError(f'--init={init} is --workdir itself: a run goes on without --init')
  try:
    for place in (run, workdir):
      checkpoints = iteration.Checkpoints(place)
      begun = bool(checkpoints.steps())
      if place == run:
        checkpoints.choose(step)
      checkpoints.close()
  except ValueError as error:
    said = str(error).replace('train first, or name the run by --workdir', 'name a trained run')
    raise ValueError(f'--init: {said}') from None
  if begun:
    old = [node['workdir'] for node in (read(workdir) or {'from': []})['from']]
    if old != [_place(run)]:
      said = f'from {", ".join(old)}' if old else 'without --init'
      raise ValueError(
        f'--workdir={workdir} has begun {said}, not with --init={init}: choose another --workdir'
      )
  pairs = []
  for rule in rename:
    pattern, _, path = rule.partition('=>')
    if not pattern or not path:
      raise ValueError(f'--init_rename takes PATTERN=>PATH, got {rule!r}')
    pairs.append((pattern, path))
  start = iteration.warm_start(run, step=step, keep=keep or None, rename=pairs)
  return dataclasses.replace(experiment, start=start)


def _place(workdir: str) -> str:
  return workdir if '://' in workdir else os.path.abspath(workdir)


def _node(workdir: str, step: int) -> dict[str, Any]:
  found = record.read(workdir) or {}
  return {
    'workdir': _place(workdir),
    'step': step,
    'experiment': found.get('experiment'),
    'from': (read(workdir) or {'from': []})['from'],
  }
