"""Checkpoints: the training state and the position in the data, saved together.

Which checkpoint wins: the newest one that was committed. Orbax writes each in a temporary folder
and renames it when it is whole, so that a killed save leaves the older ones as they were.
"""

import importlib
from typing import Any

from etils import epath

_FOLDER = 'checkpoints'


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

  @property
  def _manager(self):
    if self._opened is None:
      import orbax.checkpoint as ocp

      self._opened = ocp.CheckpointManager(
        self._path,
        options=ocp.CheckpointManagerOptions(max_to_keep=self._keep, create=True),
        item_names=('state', 'data'),
      )
    return self._opened

  def steps(self) -> list[int]:
    """The committed steps, oldest first."""
    return sorted(self._manager.all_steps()) if self._path.exists() else []

  def save(self, step: int, state: Any, position: dict[str, Any]) -> None:
    """Starts to save; returns once the arrays are copied, so that they may be donated.

    Args:
      step: Optimiser updates taken so far.
      state: A tree of arrays.
      position: Where the data stands, as JSON; the same on every host.
    """
    import orbax.checkpoint as ocp

    if step == self._manager.latest_step():
      return
    items = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(position))
    self._manager.save(step, args=items)

  def restore(self, step: int, state: Any) -> tuple[Any, dict[str, Any]]:
    """Returns the state and the data position saved at `step`.

    Args:
      step: One of `steps()`.
      state: A tree of `jax.ShapeDtypeStruct` with shardings: how the arrays are to lie here, on
        whatever mesh; it need not be the one that saved them.

    Raises:
      ValueError: The checkpoint holds other arrays than this experiment has.
    """
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
    """Waits until everything saved is committed."""
    if self._opened is not None:
      self._opened.wait_until_finished()

  def close(self) -> None:
    """Waits, and releases the threads."""
    if self._opened is not None:
      self._opened.close()
      self._opened = None

  def preload(self) -> None:
    """Imports what saving needs, for a thread that has time."""
    # Not the manager: hosts must open it side by side, and two threads would open two.
    importlib.import_module('orbax.checkpoint')
