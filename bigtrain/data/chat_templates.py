"""How a chat is written as tokens, and which of them the assistant wrote.

A record holds messages, `[{'role': 'user', 'content': 'Hello'}, ...]`. Each part of a message is
encoded for itself, so that what is learned begins and ends at its border; the markers of a template
are single tokens where the tokenizer has them. What a person writes never becomes a marker, even
where it spells one.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigtrain.data.alphabets import Tokenizer

_MARKER = re.compile(r'(<\|[a-z_]+\|>)')


@dataclasses.dataclass(frozen=True)
class Template:
  """What stands around messages.

  Attributes:
    header: Before a message; '{role}' is its role.
    end: After it, learned with what the assistant says.
    between: After that, never learned.
    begin: Before the first message.
    roles: Who may speak.
    learned: Whose messages are learned.
  """

  header: str
  end: str
  between: str = ''
  begin: str = ''
  roles: tuple[str, ...] = ('system', 'user', 'assistant')
  learned: tuple[str, ...] = ('assistant',)


TEMPLATES = {
  'chatml': Template('<|im_start|>{role}\n', '<|im_end|>', '\n'),
  'llama3': Template(
    '<|start_header_id|>{role}<|end_header_id|>\n\n', '<|eot_id|>', begin='<|begin_of_text|>'
  ),
  'plain': Template('{role}: ', '\n\n'),
}


def template(name: 'str | Template') -> Template:
  """Returns a template by its name; ValueError where there is none."""
  if isinstance(name, Template):
    return name
  if name not in TEMPLATES:
    raise ValueError(
      f'data.chat: template must be one of {", ".join(TEMPLATES)}, got {name!r}: '
      'or give a data.Template'
    )
  return TEMPLATES[name]


def messages_of(value: Any, form: Template) -> list[Mapping[str, str]]:
  """Returns the messages of a record; ValueError says what is wrong with them."""
  if not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
    raise ValueError(f'holds no list of messages, but {str(value)[:40]!r}')
  for number, message in enumerate(value):
    if not isinstance(message, Mapping) or 'role' not in message:
      raise ValueError(
        f"message {number} has no 'role': messages are {{'role': ..., 'content': ...}}"
      )
    if message['role'] not in form.roles:
      raise ValueError(
        f'message {number} has the role {message["role"]!r}, not one of {", ".join(form.roles)}'
      )
    if not isinstance(message.get('content'), str):
      raise ValueError(f"message {number} has no text under 'content'")
  if not any(message['role'] in form.learned for message in value):
    raise ValueError(f'no message is by {" or ".join(form.learned)}: there is nothing to learn')
  return list(value)


def encode(
  messages: Sequence[Mapping[str, str]], form: Template, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the tokens of a chat, int32 [n], and which of them are learned, bool [n]."""
  tokens, learned = [], []

  def add(text: str, *, learn: bool, markers: bool) -> None:
    for piece in _MARKER.split(text) if markers else [text]:
      known = getattr(tokenizer, 'token', None) if _MARKER.fullmatch(piece) else None
      number = known(piece) if known is not None and markers else None
      ids = [number] if number is not None else tokenizer.encode(piece).tolist() if piece else []
      tokens.extend(ids)
      learned.extend([learn] * len(ids))

  add(form.begin, learn=False, markers=True)
  for message in messages:
    mine = message['role'] in form.learned
    add(form.header.format(role=message['role']), learn=False, markers=True)
    add(message['content'], learn=mine, markers=False)
    add(form.end, learn=mine, markers=True)
    add(form.between, learn=False, markers=True)
  return np.array(tokens, np.int32), np.array(learned, bool)
