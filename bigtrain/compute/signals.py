"""Stop requests: Ctrl-C and SIGTERM become a flag that the training loop reads between steps.

The first signal asks for a stop: the loop saves and says how to go on. The second ends the process
at once. With several hosts, SIGTERM belongs to `jax.distributed`, which tells all of them the step
at which they stop together; Ctrl-C is passed on as SIGTERM there.
"""

import os
import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class StopRequest:
  """A context in which Ctrl-C and SIGTERM are heeded at the next step.

  Outside the main thread (where Python accepts no handlers) nothing is installed, and nothing
  stops.
  """

  def __init__(self):
    self.signal: signal.Signals | None = None
    self._previous = {}

  def __enter__(self) -> 'StopRequest':
    several = jax.process_count() > 1
    for number in (signal.SIGINT,) if several else (signal.SIGINT, signal.SIGTERM):
      try:
        self._previous[number] = signal.signal(number, self._ask)
      except ValueError:  # Not the main thread.
        break
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _ask(self, number: int, frame: FrameType | None) -> None:
    del frame
    if self.signal is not None:
      os._exit(128 + number)  # Asked twice: no more waiting for a save.
    self.signal = signal.Signals(number)
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)

  def reached(self, step: int) -> bool:
    """Whether to stop at this step; on several hosts, the same answer for all of them."""
    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(step)
    return self.signal is not None

  @property
  def exit_code(self) -> int:
    """130 after Ctrl-C and 143 after SIGTERM, as shells have it."""
    return 128 + (self.signal or signal.SIGTERM)
