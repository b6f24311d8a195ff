"""Trackers: where else a run can be watched, each on a thread of its own.

A tracker is told of knobs, metrics, pictures and, by their place, checkpoints. What it does with
that, how long it takes and whether it fails is no matter of the run's: a tracker that fails is
named once and left out. `metrics.jsonl` has everything in any case.

`trackers.json` in the workdir keeps what a run is called there, so that a resumed run goes on in
the same place. Where a tracker keeps its runs, and with which key, it takes from its own variables:
WANDB_MODE, WANDB_API_KEY, MLFLOW_TRACKING_URI, TRACKIO_DIR, TRACKIO_SPACE_ID.
"""

from __future__ import annotations

import importlib.util
import json
import queue
import threading
import uuid
from collections.abc import Sequence
from typing import Any

from absl import logging
from etils import epath

from bigtrain import record
from bigtrain.kinds import nearest
from bigtrain.tracker_kinds import KINDS, Subject

_FILE = 'trackers.json'
_PACKAGES = {'tensorboard': 'tensorboardX'}  # The others are called as their packages are.
_PATIENCE = 60.0  # Seconds that the end of a run waits for a tracker.


class Trackers:
  """Tells all trackers of a run, without waiting for any.

  Args:
    names: Of `KINDS`.
    workdir: Of the run.
    step: Where it (re)starts; None where it does not go on.

  Raises:
    ValueError: a tracker that is not known, or is not installed.
  """

  def __init__(self, names: Sequence[str], workdir: str, step: int | None = 0):
    check(names)
    found = record.read(workdir) or {'experiment': 'bigtrain', 'knobs': {}}
    file = epath.Path(workdir) / _FILE
    keys = json.loads(file.read_text()) if file.exists() else {}
    new = {name: uuid.uuid4().hex[:12] for name in names if name not in keys}
    if new:
      file.write_text(json.dumps(keys | new) + '\n')
    self._threads = [
      _Thread(name, Subject(workdir, (keys | new)[name], step, found['experiment'], found['knobs']))
      for name in dict.fromkeys(names)
    ]

  def tell(self, what: str, *values: Any) -> None:
    """Calls a method of every tracker, later."""
    for thread in self._threads:
      thread.asked.put((what, values))

  def close(self) -> None:
    """Waits until all is sent, though not for ever."""
    for thread in self._threads:
      thread.asked.put(None)
    for thread in self._threads:
      thread.join(_PATIENCE)
      if thread.is_alive():
        logging.warning('%s has not ended in %.0f s and is left behind', thread.name, _PATIENCE)


class _Thread(threading.Thread):
  """One tracker, which is made by the thread that calls it."""

  def __init__(self, name: str, run: Subject):
    super().__init__(name=name, daemon=True)  # One that hangs does not keep the process.
    self.asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    self._subject = run
    self.start()

  def run(self) -> None:
    """Calls the tracker until there is nothing more to tell, or it fails."""
    tracker = None
    try:
      while (asked := self.asked.get()) is not None:
        # Slow to import: when there is something to tell, and the device has work.
        tracker = tracker or KINDS[self.name](self._subject)
        getattr(tracker, asked[0])(*asked[1])
      if tracker:
        tracker.close()
    except Exception as error:  # Whatever it is: the run goes on.
      logging.warning('%s fails and is left out: %s: %s', self.name, type(error).__name__, error)


def check(names: Sequence[str]) -> None:
  """Raises ValueError for a tracker that is not known, or is not installed."""
  for name in names:
    if name not in KINDS:
      raise ValueError(
        f'--trackers={name} is no tracker{nearest(name, KINDS) or ": " + ", ".join(KINDS)}'
      )
    if importlib.util.find_spec(_PACKAGES.get(name, name)) is None:
      raise ValueError(f'--trackers={name} is not installed: pip install {name}')


def send_pictures(workdir: str) -> None:
  """Shows the trackers of a run, if it has any, the pictures that `evaluate` left."""
  file = epath.Path(workdir) / _FILE
  if not file.exists():
    return
  pictures = sorted((epath.Path(workdir) / 'evaluation').glob('*/*.png'))
  steps = {
    path.parent: json.loads((path.parent / 'metrics.json').read_text())['step'] for path in pictures
  }
  trackers = Trackers(list(json.loads(file.read_text())), workdir, None)
  for path in pictures:
    trackers.tell('picture', steps[path.parent], f'{path.parent.name}/{path.stem}', str(path))
  trackers.close()
