"""Looking at a run: traces for XProf or Perfetto, and the most memory that a device held."""

import pathlib
import re

import jax


class Profile:
  """Traces some steps of a run into `folder`/plugins/profile; open it with XProf or Perfetto.

  Args:
    spec: 'STEP:COUNT', from which step of this process on, and how many; empty traces nothing.
    folder: Where the trace goes.

  Raises:
    ValueError: The spec does not parse.
  """

  def __init__(self, spec: str, folder: str):
    found = re.fullmatch(r'(\d+):([1-9]\d*)', spec)
    if spec and not found:
      raise ValueError(f'--profile={spec} is not STEP:COUNT: say which step, and how many: 10:5')
    self._first, self._count = map(int, found.groups()) if found else (0, 0)
    self._folder = str(pathlib.Path(folder) / 'profile')
    self._running = False

  def at(self, step: int) -> None:
    """Starts or ends the trace where that is due; to be called before each dispatch."""
    inside = self._first <= step < self._first + self._count
    if inside and not self._running:
      # Perfetto reads the second file; the first is XProf's.
      jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
      self._running = True
    elif self._running and not inside:
      self.close()

  def close(self) -> None:
    """Ends the trace, if one is running."""
    if self._running:
      jax.profiler.stop_trace()
      self._running = False


def memory_said() -> str:
  """Returns the most bytes that a device here held so far as half a sentence; '' if unknown."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  most = max((each.get('peak_bytes_in_use', 0) for each in stats), default=0)
  return f'; memory at most {most / 1e9:.2f} GB a device' if most else ''
