"""The trackers that a run can be told to: TensorBoard, Weights & Biases, MLflow, Trackio."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from absl import logging
from etils import epath


@dataclasses.dataclass(frozen=True)
class Subject:
  """The run that is tracked.

  Attributes:
    workdir: Of the run.
    key: A word of its own, the same after it was resumed.
    step: Where it (re)starts; None where it does not go on.
    experiment: The experiment's name.
    knobs: The value of every knob.
  """

  workdir: str
  key: str
  step: int | None
  experiment: str
  knobs: Mapping[str, Any]

  @property
  def name(self) -> str:
    """Of the run, for people."""
    return epath.Path(self.workdir).name


class Tracker(Protocol):
  """What a tracker does; all on one thread."""

  def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes metrics."""

  def picture(self, step: int, name: str, file: str) -> None:
    """Takes a PNG."""

  def checkpoint(self, step: int, place: str) -> None:
    """Takes note of where checkpoints are; they are not copied."""

  def rewind(self, step: int) -> None:
    """Hears that what came after a step does not count."""

  def close(self) -> None:
    """Sends what is left."""


class TensorBoard:
  """Event files under `tensorboard/` in the workdir."""

  def __init__(self, run: Subject):
    self._folder = epath.Path(run.workdir) / 'tensorboard'
    self._events: Any = None
    self.rewind(run.step)
    rows = ''.join(f'| {name} | {value} |\n' for name, value in run.knobs.items())
    if rows and run.step == 0:
      self._events.add_text('knobs', f'| knob | value |\n| --- | --- |\n{rows}', 0)

  def rewind(self, step: int | None) -> None:
    """Begins a file that takes back what earlier ones have after a step."""
    from tensorboardX import SummaryWriter

    self.close()
    # A file is named by the second, and a later one must not take its place.
    self._events = SummaryWriter(
      str(self._folder), purge_step=step + 1 if step else None, filename_suffix=f'.{step}'
    )

  def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
      self._events.add_scalar(name, value, step)

  def picture(self, step: int, name: str, file: str) -> None:
    """Reads the PNG: an event holds pixels."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(file).convert('RGB'))
    self._events.add_image(name, pixels, step, dataformats='HWC')

  def checkpoint(self, step: int, place: str) -> None:
    self._events.add_text('checkpoints', place, step)

  def close(self) -> None:
    if self._events is not None:
      self._events.close()


class WandB:
  """Weights & Biases; without a key it keeps the run offline, in the workdir."""

  def __init__(self, run: Subject):
    import wandb  # pyright: ignore[reportMissingImports]

    self._wandb, self._name = wandb, run.name
    settings = wandb.Settings(silent=True, console='off')
    wandb.setup(settings)
    mode = None if os.environ.get('WANDB_MODE') or wandb.login(prompt=False) else 'offline'
    if mode:
      logging.warning('wandb has no key, so it is offline: `wandb sync %s/wandb/*`', run.workdir)
    self._run = wandb.init(
      project=run.experiment, name=run.name, id=run.key, resume='allow', dir=run.workdir,
      config=dict(run.knobs), mode=mode, settings=settings,
    )  # fmt: skip
    # An axis of its own: wandb's steps only grow, and a run may go back to a checkpoint.
    self._run.define_metric('*', step_metric='step')

  def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
    self._run.log({**metrics, 'step': step})

  def picture(self, step: int, name: str, file: str) -> None:
    self._run.log({name: self._wandb.Image(file), 'step': step})

  def checkpoint(self, step: int, place: str) -> None:
    """Logs an artefact that refers to the folder."""
    artifact = self._wandb.Artifact(f'checkpoints-{self._run.id}', 'model', metadata={'step': step})
    artifact.add_reference(_uri(place), checksum=False)
    self._run.log_artifact(artifact)

  def rewind(self, step: int) -> None:
    """Nothing: later values of a step stand behind the earlier ones."""

  def close(self) -> None:
    self._run.finish()


class MLflow:
  """MLflow, by its client: no run is active, so that several can be tracked at once."""

  def __init__(self, run: Subject):
    import logging as standard

    from mlflow.entities import Param  # pyright: ignore[reportMissingImports]
    from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

    standard.getLogger('mlflow').setLevel(standard.WARNING)  # It tells of its tables.
    self._client = MlflowClient()
    kept = self._client.get_experiment_by_name(run.experiment)
    where = kept.experiment_id if kept else self._client.create_experiment(run.experiment)
    found = self._client.search_runs([where], f"tags.`bigtrain.key` = '{run.key}'")
    if found:
      self._id = found[0].info.run_id
      self._client.update_run(self._id, status='RUNNING')
      return
    tags = {'bigtrain.key': run.key, 'bigtrain.workdir': run.workdir}
    self._id = self._client.create_run(where, run_name=run.name, tags=tags).info.run_id
    knobs = [Param(name, str(value)) for name, value in run.knobs.items()]
    self._client.log_batch(self._id, params=knobs)

  def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
    """Sends all in one message."""
    import time

    from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

    now = int(time.time() * 1000)
    rows = [Metric(name, value, now, step) for name, value in metrics.items()]
    self._client.log_batch(self._id, metrics=rows)

  def picture(self, step: int, name: str, file: str) -> None:
    self._client.log_artifact(self._id, file, f'pictures/{step}/{os.path.dirname(name)}')

  def checkpoint(self, step: int, place: str) -> None:
    self._client.set_tag(self._id, 'checkpoints', f'{_uri(place)}/{step}')

  def rewind(self, step: int) -> None:
    """Nothing: later values of a step stand behind the earlier ones."""

  def close(self) -> None:
    self._client.set_terminated(self._id)


class Trackio:
  """Trackio, local unless its variables name a Space."""

  def __init__(self, run: Subject):
    import trackio  # pyright: ignore[reportMissingImports]

    self._trackio, self._key = trackio, run.key
    with contextlib.redirect_stdout(io.StringIO()):  # It says eight lines.
      self._run = trackio.init(
        run.experiment, name=f'{run.name}-{run.key}', config=dict(run.knobs), resume='allow',
        embed=False, auto_log_cpu=False, auto_log_gpu=False,
      )  # fmt: skip

  def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
    self._run.log(dict(metrics), step=step)

  def picture(self, step: int, name: str, file: str) -> None:
    self._run.log({name: self._trackio.Image(file)}, step=step)

  def checkpoint(self, step: int, place: str) -> None:
    """Logs an artefact that refers to the folder."""
    artifact = self._trackio.Artifact(f'checkpoints-{self._key}', 'model', metadata={'step': step})
    artifact.add_reference(_uri(place), checksum=False)
    self._run.log_artifact(artifact)

  def rewind(self, step: int) -> None:
    """Nothing: later values of a step stand behind the earlier ones."""

  def close(self) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
      self._run.finish()


KINDS: dict[str, Callable[[Subject], Tracker]] = {
  'tensorboard': TensorBoard, 'wandb': WandB, 'mlflow': MLflow, 'trackio': Trackio,
}  # fmt: skip


def _uri(place: str) -> str:
  return place if '://' in place else f'file://{os.path.abspath(place)}'
