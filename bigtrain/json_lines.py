"""Lines of JSON, such as a journal's, which a run that is killed leaves cut short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def objects(content: str | bytes) -> Iterator[dict[str, Any]]:
  r"""Yields the object of each line; a line that holds none, such as half a line, is passed over.

  >>> list(objects('{"step": 1}\n{"step": 2}\n{"ste'))
  [{'step': 1}, {'step': 2}]
  """
  for line in content.splitlines():
    try:
      row = json.loads(line)
    except (ValueError, RecursionError):  # Also of bytes that are no UTF-8.
      continue
    if isinstance(row, dict):
      yield row


def entries(content: str | bytes) -> Iterator[dict[str, Any]]:
  """Yields the entries of a journal: objects that say of which step they are."""
  return (row for row in objects(content) if isinstance(row.get('step'), int))
