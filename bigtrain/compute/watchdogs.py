"""What to do about a wait that never ends: a loader or a collective that stalls."""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator

EXIT_CODE = 124  # As `timeout` has it.


class Watchdog:
  """Shows the stacks of all threads when a wait takes too long, and ends the process if it goes on.

  Only what stands in `watching` is timed: a compilation, however long, raises no alarm. The process
  ends with `EXIT_CODE` after twice the time; checkpoints are whole, and the same command goes on.

  Args:
    seconds: A wait may take; 0 watches nothing.
  """

  def __init__(self, seconds: float):
    self._seconds = seconds
    self._wait: tuple[float, str] | None = None  # Since when, for what.
    self._closed = threading.Event()

  def __enter__(self) -> 'Watchdog':
    if self._seconds:
      threading.Thread(target=self._watch, name='watchdog', daemon=True).start()
    return self

  def __exit__(self, *_) -> None:
    self._closed.set()

  @contextlib.contextmanager
  def watching(self, what: str) -> Iterator[None]:
    """Around a wait; `what` names what is waited for, in words."""
    self._wait = (time.monotonic(), what)
    try:
      yield
    finally:
      self._wait = None

  def _watch(self) -> None:
    shown: tuple[float, str] | None = None
    while not self._closed.wait(self._seconds / 20):
      wait = self._wait
      if wait is None:
        continue
      waited = time.monotonic() - wait[0]
      if waited > self._seconds and shown != wait:
        shown = wait
        self._say(f'{wait[1]} has kept training waiting for {waited:.0f} s. All threads:')
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
      if waited > 2 * self._seconds:
        self._say(
          f'{wait[1]} has kept training waiting for {waited:.0f} s: it ends. Checkpoints are '
          f'whole; the same command goes on from the newest.'
        )
        os._exit(EXIT_CODE)

  def _say(self, text: str) -> None:
    print(f'watchdog: {text}', file=sys.__stderr__, flush=True)
