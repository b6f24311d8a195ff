"""Checkpoints: the training state and the position in the data, saved together.

Which checkpoint wins: the newest one that was committed and whose files are as they were saved.
Orbax writes each in a temporary folder and renames it when it is whole, so that a killed save
leaves the older ones as they were; then, on a thread, its files are hashed. One that has changed
since is moved to `WORKDIR/quarantine`, with a warning, and the one before it is taken. Where all
were damaged training stops: it never starts anew in silence.
"""

import functools
import importlib
import threading
import time
from typing import Any

import flax.traverse_util as traverse
import jax
import numpy as np
from absl import logging
from etils import epath

from bigtrain.iteration import digests

_FOLDER = 'checkpoints'
_QUARANTINE = 'quarantine'
_POLL_SECONDS = 0.05  # Between looks for the commit of a save.


class Checkpoints:
  """The checkpoints of a run, `WORKDIR/checkpoints/STEP`; saving is asynchronous.

  Orbax takes half a second to import, so it is imported at the first save or restore: a fresh run
  reaches its first step without it.
  """

  def __init__(self, workdir: str, keep: int = 2):
    """Args: workdir, local or remote (`gs://`); keep, how many of the newest steps stay."""
    self._path = epath.Path(workdir).absolute() / _FOLDER
    self._keep = keep
    self._opened = None
    self._sealing: threading.Thread | None = None
    self._failure: OSError | None = None

  @property
  def _manager(self):
    if self._opened is None:
      import orbax.checkpoint as ocp

      self._opened = ocp.CheckpointManager(
        self._path,
        # Lightweight: of what others left, a thousand steps maybe, names alone are read.
        options=ocp.CheckpointManagerOptions(
          max_to_keep=self._keep, create=True, lightweight_initialize=True
        ),
        item_names=('state', 'data'),
      )
    return self._opened

  def steps(self) -> list[int]:
    """The committed steps, oldest first."""
    return sorted(self._manager.all_steps()) if self._path.exists() else []

  def choose(self, step: int = 0) -> int:
    """Returns a committed step: the newest for 0.

    Raises:
      ValueError: There is none, or not this one.
    """
    found, workdir = self.steps(), self._path.parent
    if not found:
      raise ValueError(f'{workdir} holds no checkpoint: train first, or name the run by --workdir')
    if step and step not in found:
      raise ValueError(f'{workdir} holds no checkpoint of step {step}: choose one of {found}')
    return step or found[-1]

  def save(self, step: int, state: Any, position: dict[str, Any]) -> None:
    """Starts to save; returns once the arrays are copied, so that they may be donated.

    A save that failed (a full disk) shows at the next one: it is warned of, what it left is
    removed, and older checkpoints stay whole.

    Args:
      step: Optimiser updates taken so far.
      state: A tree of arrays.
      position: Where the data stands, as JSON; the same on every host.
    """
    import orbax.checkpoint as ocp

    if step == self._manager.latest_step():
      return
    try:
      self.wait()
    except OSError as error:
      logging.warning('%s Training goes on.', error)
    items = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(position))
    try:
      self._manager.save(step, args=items)
    except OSError as error:
      self._failure = error  # For `wait`, as a failure on Orbax's threads.
      return
    self._sealing = threading.Thread(target=self._seal, args=(step,), daemon=True)
    self._sealing.start()

  def _seal(self, step: int) -> None:
    """Hashes a checkpoint as soon as it is committed, if it ever is."""
    folder, manager = self._path / str(step), self._manager
    while manager.is_saving_in_progress():
      time.sleep(_POLL_SECONDS)
    if folder.exists():  # Else the save failed; `wait` says so.
      digests.seal(folder, jax.process_index(), jax.process_count())

  def restore(self, step: int, state: Any) -> tuple[Any, dict[str, Any]]:
    """Returns the state and the data position saved at `step`.

    Args:
      step: One of `steps()`.
      state: A tree of `jax.ShapeDtypeStruct` with shardings: how the arrays are to lie here, on
        whatever mesh; it need not be the one that saved them.

    Raises:
      ValueError: The checkpoint's files have changed since they were saved, or it holds other
        arrays than this experiment has.
    """
    self._check(step)
    return self._read(step, state)

  def _check(self, step: int) -> None:
    if found := self._damage(step):
      others = [other for other in self.steps() if other != step]
      cure = f'choose one of the steps {others}' if others else 'train again in another --workdir'
      raise ValueError(f'{self._path / str(step)} is damaged: {found}; {cure}')

  def newest(self, state: Any) -> tuple[int, Any, dict[str, Any]] | None:
    """Returns step, state and data position of the newest sound checkpoint; None if none was saved.

    Args:
      state: As in `restore`.

    Raises:
      ValueError: Every checkpoint is damaged, or the sound one holds other arrays.
      OSError: A save was under way and failed.
    """
    self.wait()
    for step in reversed(self.steps()):
      found = self._damage(step)
      if not found:
        return step, *self._read(step, state)
      self._quarantine(step, found)
    quarantine = self._path.parent / _QUARANTINE
    if quarantine.exists() and any(quarantine.iterdir()):
      raise ValueError(
        f'every checkpoint of {self._path.parent} is damaged: they lie in {quarantine}. Put back '
        f'one from a copy into {self._path}, or remove that folder to start anew'
      )
    return None

  def arrays(self, step: int = 0) -> dict[str, np.ndarray]:
    """Returns what a model needs of a checkpoint, whatever it is a state of, without its optimiser.

    Args:
      step: One of `steps()`; 0 is the newest.

    Returns:
      Path to array: of parameters (averages where the run kept some), as 'dense/kernel', and of
      other collections, with their names in front, as 'batch_stats/norm/mean'.

    Raises:
      ValueError: There is no such checkpoint, or its files have changed since they were saved.
    """
    import orbax.checkpoint as ocp

    step = self.choose(step)
    self._check(step)
    reader = ocp.PyTreeCheckpointHandler()  # A Checkpointer misses its own metadata one folder up.
    folder = self._path / str(step) / 'state'
    tree: Any = reader.metadata(folder).tree
    wanted = {name: tree[name] for name in ('params', 'model_state', 'ema') if tree.get(name)}
    args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    state = reader.restore(
      folder, args=ocp.args.PyTreeRestore(wanted, restore_args=args, partial_restore=True)
    )
    parts = {**state.get('model_state', {}), '': {**state['params']}}
    flat: dict[str, Any] = traverse.flatten_dict(parts, sep='/')
    flat.update(traverse.flatten_dict({'': state.get('ema', {})}, sep='/'))
    return {path.removeprefix('/'): x for path, x in flat.items()}

  def _damage(self, step: int) -> str | None:
    """What is wrong with the files of a step, the same on all hosts; each reads its share."""
    folder = self._path / str(step)
    if not all((folder / name).exists() for name in ('state', 'data', '_CHECKPOINT_METADATA')):
      return 'it is not whole'
    mine = digests.damage(folder, jax.process_index(), jax.process_count())
    if jax.process_count() == 1:
      return mine
    from jax.experimental import multihost_utils

    found = multihost_utils.process_allgather(np.array(mine is not None))
    return mine or (f'host {int(found.argmax())} found damaged files' if found.any() else None)

  def _quarantine(self, step: int, found: str) -> None:
    folder, aside = self._path / str(step), self._path.parent / _QUARANTINE
    logging.warning('%s is damaged: %s. It is moved to %s.', folder, found, aside)
    if jax.process_index() == 0:
      aside.mkdir(parents=True, exist_ok=True)
      number = sum(path.name.split('.')[0] == str(step) for path in aside.iterdir())
      folder.rename(aside / (f'{step}.{number}' if number else str(step)))
    if jax.process_count() > 1:
      from jax.experimental import multihost_utils

      multihost_utils.sync_global_devices('quarantine')
    self._manager.reload()

  def _read(self, step: int, state: Any) -> tuple[Any, dict[str, Any]]:
    import orbax.checkpoint as ocp

    items = ocp.args.Composite(state=ocp.args.StandardRestore(state), data=ocp.args.JsonRestore())
    try:
      restored = self._manager.restore(step, args=items)
    except (ValueError, KeyError, FileNotFoundError) as error:
      raise ValueError(
        f'{self._path / str(step)} cannot be restored into this experiment: '
        f'{str(error).strip().splitlines()[0]}. Remove that folder to go back to an older step, '
        f'or choose another --workdir'
      ) from error
    return restored['state'], restored['data']

  def wait(self) -> None:
    """Waits until everything saved is committed, and its files are hashed.

    Raises:
      OSError: The last save could not be written. What it left is removed; older steps are whole.
    """
    if self._opened is None:
      return
    try:
      self._opened.wait_until_finished()
      if self._sealing is not None:
        self._sealing.join()
      if self._failure is not None:
        raise self._failure
    except Exception as error:  # Orbax wraps what its threads raise in many kinds.
      self._sweep()
      raise OSError(
        f'the last checkpoint could not be written to {self._path}: '
        f'{str(error).strip().splitlines()[0]}. Is the disk full? Older checkpoints are whole.'
      ) from error

  def _sweep(self) -> None:
    """Removes what a failed save left, and opens anew: a failed commit may be on Orbax's books."""
    assert self._opened is not None
    failed, self._opened = self._opened, None
    self._sealing = self._failure = None
    try:
      failed.close()
    except Exception:  # It says once more what `wait` was told.
      logging.debug('closing after a failed save', exc_info=True)
    if jax.process_index() == 0:
      for path in self._path.iterdir():
        if '.orbax-checkpoint-tmp' in path.name:
          path.rmtree()

  def close(self) -> None:
    """Waits, and releases the threads."""
    if self._opened is not None:
      self.wait()
    if self._opened is not None:
      self._opened.close()
      self._opened = None

  def preload(self) -> None:
    """Imports what saving needs on a thread of its own, and returns at once."""
    # Not the manager: hosts must open it side by side, and two threads would open two.
    load = functools.partial(importlib.import_module, 'orbax.checkpoint')
    threading.Thread(target=load, daemon=True).start()
