"""Which code ran: the git revision around a file, and the versions of installed packages."""

import os
import subprocess
import sys
from typing import Any


def revision(file: str) -> dict[str, Any] | None:
  """Returns the git revision around a file and the files changed since; None without git."""

  def git(*words: str) -> str:
    return subprocess.run(
      ['git', '-C', os.path.dirname(os.path.abspath(file)), *words],
      capture_output=True, check=True, text=True, timeout=10,
    ).stdout  # fmt: skip

  try:
    head = git('rev-parse', 'HEAD').strip()
    return {'revision': head, 'changed': git('status', '--porcelain').splitlines()}
  except (OSError, subprocess.SubprocessError):
    return None


def packages() -> dict[str, str]:
  """Returns the version of every installed package, by its normalised name (PEP 503)."""
  found = {}
  for folder in sys.path:
    if os.path.isdir(folder):
      # By the folders' names: importlib.metadata opens every file, a tenth of a second at start.
      for entry in sorted(os.listdir(folder)):
        name, dash, version = entry.removesuffix('.dist-info').partition('-')
        if dash and entry.endswith('.dist-info'):
          found.setdefault(name.replace('_', '-').lower(), version)
  return found
