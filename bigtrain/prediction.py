"""A prediction made before its outcome is known: a file with a hash of itself shows later edits."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any


def freeze(folder: str, key: str, about: Mapping[str, Any], *, known: bool) -> dict[str, Any]:
  """Writes a prediction, or returns the one that stands already.

  Args:
    folder: Where `prediction-KEY.json` is kept.
    key: Of what is predicted.
    about: What is predicted, and from what.
    known: Whether the outcome is known already.

  Returns:
    What the file holds: `about`, with 'at' (when it was written) and 'sha256' (of all the rest).

  Raises:
    ValueError: The outcome is known and nothing stands, or the file was changed since.
  """
  path = path_of(folder, key)
  if os.path.exists(path):
    with open(path, encoding='utf-8') as file:
      found = json.load(file)
    if found.get('sha256') != _hash(found):
      raise ValueError(f'{path} was changed after it was written: its hash is not that of the rest')
    return found
  if known:
    raise ValueError(
      'this run was made before it was predicted, and what is known cannot be predicted: '
      'choose another for --predict'
    )
  at = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  made = json.loads(json.dumps({**about, 'at': at}))
  made['sha256'] = _hash(made)
  os.makedirs(folder, exist_ok=True)
  with open(path, 'x', encoding='utf-8') as file:
    json.dump(made, file, indent=2)
    file.flush()
    os.fsync(file.fileno())
  return made


def path_of(folder: str, key: str) -> str:
  """Returns where a prediction is kept."""
  return os.path.join(folder, f'prediction-{key[:8]}.json')


def _hash(about: Mapping[str, Any]) -> str:
  rest = {name: value for name, value in about.items() if name != 'sha256'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
