"""What must be so before any backend starts: eight devices, a compilation cache, no network."""

import getpass
import logging
import os
import pathlib
import socket
import tempfile

import pytest

CACHE = pathlib.Path(tempfile.gettempdir()) / f'bigtrain-tests-{getpass.getuser()}'

# The environment, not jax.config: processes that tests start should inherit it. Compiling dominates
# a test of a small model, so nothing is too small or too quick for the cache.
os.environ.setdefault('JAX_NUM_CPU_DEVICES', '8')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(CACHE / 'jax'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')
os.environ.setdefault('MPLBACKEND', 'agg')
# Libraries that would look things up online must fail fast, in child processes too.
os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('NO_GCE_CHECK', 'true')


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
  """Refuses connections to other machines; processes on this one may talk to each other."""
  connect = socket.socket.connect

  def local(self, address):
    host = address[0] if isinstance(address, tuple) else 'localhost'
    if host not in ('localhost', '127.0.0.1', '::1', '0.0.0.0'):
      raise AssertionError(f'a test tried to reach {host}: tests run without a network')
    return connect(self, address)

  monkeypatch.setattr(socket.socket, 'connect', local)


@pytest.fixture
def log_lines():
  """What bigtrain logs from here on, as a list that grows."""
  lines, logger = [], logging.getLogger('absl')
  handler, level = logging.Handler(), logger.level
  handler.emit = lambda line: lines.append(line.getMessage())
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  yield lines
  logger.removeHandler(handler)
  logger.setLevel(level)
