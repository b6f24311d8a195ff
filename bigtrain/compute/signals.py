"""What hosts agree on, and when they stop.

Stop requests: Ctrl-C and SIGTERM become a flag that the training loop reads between steps.

The first signal asks for a stop: the loop saves and says how to go on. The second ends the process
at once. With several hosts, SIGTERM belongs to `jax.distributed`, which tells all of them the point
at which they stop together; Ctrl-C is passed on as SIGTERM there.
"""

import contextlib
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

GRACE_SECONDS = 20.0  # What a host that failed has to commit a save that was under way.


class Stopped(BaseException):
  """Ends what can be left where it stands; no `except Exception` of a library keeps it."""


class StopRequest:
  """A context in which Ctrl-C and SIGTERM are heeded at the next step, or at once where it is safe.

  Outside the main thread (where Python accepts no handlers) nothing is installed, and nothing
  stops.
  """

  def __init__(self):
    self.signal: signal.Signals | None = None
    self._previous = {}
    self._calls = 0
    self._at_once = False

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
    elif self._at_once:
      raise Stopped

  @contextlib.contextmanager
  def at_once(self) -> Iterator[None]:
    """Around what changes no state, such as a wait for data or an evaluation: a signal ends it.

    With several hosts it goes on to its end, for all stop at one step.

    Raises:
      Stopped: A signal came.
    """
    self._at_once = True
    try:
      if self.signal is not None and jax.process_count() == 1:
        raise Stopped
      yield
    finally:
      self._at_once = False

  def reached(self) -> bool:
    """Whether to stop now. On several hosts, to be called equally often: all get one answer."""
    if jax.process_count() > 1:
      # The hosts agree on the number after the highest seen. Calls are counted, for steps are
      # taken several at a time, which would jump over it.
      self._calls += 1
      return multihost_utils.reached_preemption_sync_point(self._calls)
    return self.signal is not None

  @property
  def exit_code(self) -> int:
    """130 after Ctrl-C and 143 after SIGTERM, as shells have it."""
    return 128 + (self.signal or signal.SIGTERM)


def agreed(value: int) -> int:
  """Returns the first host's value on every host; all must call this at the same step."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.broadcast_one_to_all(value))


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Around what several hosts do in step: one that fails inside ends soon, and so do the others.

  At exit a host waits for the others, who wait for its part of the next step, both for minutes. So
  its process ends `GRACE_SECONDS` after the error at the latest, which is an error in the others.
  """
  try:
    yield
  except BaseException as error:
    if jax.process_count() > 1:
      timer = threading.Timer(GRACE_SECONDS, _leave, [error])
      timer.daemon = True
      timer.start()
    raise


def _leave(error: BaseException) -> None:
  traceback.print_exception(error)
  os._exit(1)
