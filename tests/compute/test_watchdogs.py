"""Waits that never end, in processes of their own: a watchdog ends the process."""

import subprocess
import sys
import time

from bigtrain.compute import Watchdog

STALL = """
import threading, time
from bigtrain.compute import Watchdog
def a_loader_that_sleeps():
  time.sleep(60)
with Watchdog(0.4) as dog:
  with dog.watching('The data'):
    time.sleep(0.1)
  time.sleep(1.5)  # Not watched: a compilation.
  print('still there', flush=True)
  with dog.watching('The data'):
    a_loader_that_sleeps()
"""


def test_a_stall_shows_the_stacks_and_then_ends_the_process_and_no_long_compilation_does():
  begin = time.monotonic()
  ran = subprocess.run([sys.executable, '-c', STALL], capture_output=True, text=True, timeout=50)
  assert ran.stdout == 'still there\n'
  assert ran.returncode == 124
  assert time.monotonic() - begin < 40
  assert ran.stderr.count('All threads:') == 1
  assert 'a_loader_that_sleeps' in ran.stderr
  assert 'The data has kept training waiting' in ran.stderr
  assert 'the same command goes on' in ran.stderr


def test_a_watchdog_of_no_seconds_watches_nothing():
  with Watchdog(0) as dog, dog.watching('The data'):
    time.sleep(0.01)
