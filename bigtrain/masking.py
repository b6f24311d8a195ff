"""Secrets that reach a command line, such as a database's password, are kept in no file.

Environment variables are recorded nowhere, and are the better place for them.
"""

from __future__ import annotations

import re
from typing import Any

MASK = '***'
_NAME = r'(?:\w*(?:password|passwd|secret|credentials?|api_?key|access_key|auth_token)\w*|token)'
_PATTERNS = (
  re.compile(r'(://[^/\s:@]*:)[^/\s@]+(?=@)'),  # scheme://user:PASSWORD@host
  re.compile(
    rf'(?i)([?&](?:{_NAME}|[\w-]*token|[\w-]*signature|sig|key)=)[^&#\s\'"]+'
  ),  # ?token=SECRET
  re.compile(rf'(?i)(--{_NAME}[= ])(?:"[^"]*"|\'[^\']*\'|\S+)'),  # --api_key=SECRET
)


def masked(text: str) -> str:
  """Returns a text with `***` for each password and key that stands in a URL or in a flag."""
  for pattern in _PATTERNS:
    text = pattern.sub(rf'\g<1>{MASK}', text)
  return text


def masked_value(name: str, value: Any) -> Any:
  """Returns what may be kept of a knob: all of it, unless its name or a URL says otherwise."""
  if isinstance(value, (tuple, list)):
    return tuple(masked_value(name, element) for element in value)
  if not isinstance(value, str) or not value:
    return value
  return MASK if re.fullmatch(_NAME, name, re.IGNORECASE) else masked(value)
