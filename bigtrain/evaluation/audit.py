"""Who looked at the test split, and when: a line in `audit.jsonl` of the workdir for each time.

Held-out data is for choosing, as often as one likes. Test data answers once: each further look that
leads to a change turns it into held-out data, unnoticed. So looks are counted, and what chooses by
itself (a search) is refused.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

AUDIT = 'audit.jsonl'


def is_test(name: str) -> bool:
  """Whether an evaluation is of a test split: 'test', or a name with that word, as 'test_clean'."""
  return 'test' in name.lower().replace('-', '_').split('_')


def check_split(name: str, verb: str) -> None:
  """Raises ValueError if a verb that chooses would choose by a test split."""
  if is_test(name):
    raise ValueError(
      f'{verb} chooses, and would choose by the test split {name!r}: what is chosen by it is no '
      'longer tested by it; name a held-out evaluation'
    )


def note_test(workdir: str, name: str, *, verb: str, step: int, revision: str | None) -> int:
  """Adds a line to the audit of a workdir if `name` is a test split; on the first host alone.

  Args:
    workdir: Of the run.
    name: Of the evaluation.
    verb: What looked.
    step: Of the checkpoint it looked at.
    revision: Of the code; None where there is none.

  Returns:
    How often test splits of this run have been looked at at other steps than this one: each is a
    choice that the test split may have had a hand in.
  """
  if not is_test(name):
    return 0
  from etils import epath

  path = epath.Path(workdir) / AUDIT
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  line = {'at': now, 'verb': verb, 'evaluation': name, 'step': step, 'revision': revision}
  before = looks(workdir)
  with path.open('a') as file:
    file.write(json.dumps(line) + '\n')
  return len({look['step'] for look in before if look['evaluation'] == name} - {step})


def looks(workdir: str) -> list[dict[str, Any]]:
  """Returns the audit of a workdir, oldest first; empty where nobody looked."""
  from etils import epath

  path = epath.Path(workdir) / AUDIT
  if not path.exists():
    return []
  found = []
  for text in path.read_text().splitlines():
    try:
      found.append(json.loads(text))
    except json.JSONDecodeError:
      continue  # The last line of a killed process may be half a line.
  return found
