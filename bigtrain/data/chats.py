"""Chats as rows for fine-tuning: packed, prompts masked; and pairs of answers, better and worse."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from bigtrain.data import chat_templates, documents, sources
from bigtrain.data.alphabets import Tokenizer, smallest

Encoded = tuple[np.ndarray, np.ndarray]  # (tokens, which of them are learned).
Errors = Literal['raise', 'skip']


def pack_chats(
  source: sources.Source,
  length: int,
  tokenizer: Tokenizer,
  *,
  template: 'str | chat_templates.Template' = 'chatml',
  method: Literal['concat', 'best_fit'] = 'best_fit',
  errors: Errors = 'raise',
  key: str = 'messages',
) -> documents.Documents:
  """Returns rows of chats that do not see each other; only what the assistant says has weight.

  Args:
    source: Records with messages under `key`: `[{'role': 'user', 'content': 'Hello'}, ...]`, as
      `data.json_lines` reads them.
    length: Places of a row, L. A longer chat is cut at its end.
    tokenizer: As trained with the model; its own tokens for a template's markers are used.
    template: 'chatml', 'llama3', 'plain', or a `Template` of your own.
    method: As in `pack_documents`.
    errors: 'skip' leaves out records that are no chat, and counts them.
    key: The messages.

  Returns:
    As `pack_documents`; 'token_weight' is 1 where the target is the assistant's, or its end, and 0
    elsewhere. `about` has 'chats', 'skipped', 'cut', and 'learned', the share of targets that have
    weight.

  Raises:
    ValueError: a record is no chat (a message without a role, say), or none is left; another
      template.
  """
  form = chat_templates.template(template)

  def read(record: Any) -> Encoded:
    return chat_templates.encode(
      chat_templates.messages_of(_entry(record, key), form), form, tokenizer
    )

  chats, about = _read('data.pack_chats', source, read, errors)
  whole = [(tokens[: length + 1], learned[: length + 1]) for tokens, learned in chats]
  kept = [chat for chat in whole if chat[1][1:].any()]
  if not kept:
    raise ValueError(
      f'data.pack_chats: of {len(chats)} chats none has an answer within {length} tokens: raise '
      'length'
    )
  sizes = np.array([len(tokens) for tokens, _ in kept], np.int64)
  line = np.concatenate([tokens for tokens, _ in kept]).astype(smallest(tokenizer.vocab))
  weights = np.concatenate([learned for _, learned in kept])
  pieces = documents.PACKING[method](np.cumsum(sizes) - sizes, sizes - 1, length)
  about |= {
    'tokens': len(line),
    'vocab': tokenizer.vocab,
    'cut': sum(len(tokens) > length + 1 for tokens, _ in chats),
    'without_answer': len(whole) - len(kept),
    'learned': round(float(weights.mean()), 4),
  }
  return documents.Documents(line, length, tokenizer, pieces, about, weights)


def preference_pairs(
  source: sources.Source,
  length: int,
  tokenizer: Tokenizer,
  *,
  template: 'str | chat_templates.Template' = 'chatml',
  errors: Errors = 'raise',
) -> sources.Arrays:
  """Returns pairs of chats, of which a person preferred one, for `evaluation.dpo`.

  Args:
    source: Records with 'chosen' and 'rejected', each a list of messages; or, with the messages
      before both under 'prompt', each the answer alone.
    length: Places of a row, L. Pairs of which one is longer are left out and counted.
    tokenizer: As in `pack_chats`.
    template: As in `pack_chats`.
    errors: As in `pack_chats`.

  Returns:
    'chosen_inputs', 'chosen_targets' int32 [L], 'chosen_token_weight' float32 [L], and the same of
    'rejected'. `about` has 'chats', 'skipped' and 'too_long'.

  Raises:
    ValueError: As in `pack_chats`.
  """
  form = chat_templates.template(template)

  def read(record: Any) -> tuple[Encoded, Encoded]:
    before = record.get('prompt', [])
    before = [{'role': 'user', 'content': before}] if isinstance(before, str) else list(before)
    pair = []
    for side in ('chosen', 'rejected'):
      said = _entry(record, side)
      said = [{'role': 'assistant', 'content': said}] if isinstance(said, str) else list(said)
      messages = chat_templates.messages_of([*before, *said], form)
      pair.append(chat_templates.encode(messages, form, tokenizer))
    return pair[0], pair[1]

  pairs, about = _read('data.preference_pairs', source, read, errors)
  fit = [pair for pair in pairs if all(len(tokens) <= length + 1 for tokens, _ in pair)]
  if not fit:
    raise ValueError(
      f'data.preference_pairs: none of {len(pairs)} pairs fits into {length} tokens: raise length'
    )
  columns: dict[str, np.ndarray] = {}
  for side, name in enumerate(('chosen', 'rejected')):
    shape = (len(fit), length)
    inputs, targets = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    weight = np.zeros(shape, np.float32)
    for row, pair in enumerate(fit):
      tokens, learned = pair[side]
      inputs[row, : len(tokens) - 1], targets[row, : len(tokens) - 1] = tokens[:-1], tokens[1:]
      weight[row, : len(tokens) - 1] = learned[1:]
    columns |= {f'{name}_inputs': inputs, f'{name}_targets': targets}
    columns[f'{name}_token_weight'] = weight
  too_long = len(pairs) - len(fit)
  return sources.Arrays(columns, {**about, 'vocab': tokenizer.vocab, 'too_long': too_long})


def _entry(record: Any, key: str) -> Any:
  if key not in record:
    raise ValueError(f'has no {key!r}, but {", ".join(sorted(map(str, record)))}')
  return record[key]


def _read(
  place: str, source: sources.Source, read: Callable[[Any], Any], errors: Errors
) -> tuple[list[Any], dict[str, Any]]:
  """Reads every record; names the first that is bad, or counts them."""
  if errors not in ('raise', 'skip'):
    raise ValueError(f'{place}: errors must be raise or skip, got {errors!r}')
  found, skipped, first = [], 0, ''
  for index in range(len(source)):
    try:
      found.append(read(source[index]))
    except ValueError as error:
      if errors == 'raise':
        raise ValueError(
          f"{place}: record {index}: {error}; errors='skip' leaves such records out"
        ) from None
      skipped, first = skipped + 1, first or f'record {index}: {error}'
  if not found:
    raise ValueError(f'{place}: none of the {len(source)} records is a chat: {first}')
  about = {**getattr(source, 'about', {}), 'chats': len(found), 'skipped': skipped}
  return found, {**about, 'first_skipped': first} if skipped else about
