"""Tokenizers as the files that Hugging Face's `AutoTokenizer.from_pretrained` reads."""

import json
from typing import Any

from bigtrain.data.alphabets import Bytes, Characters, Tokenizer
from bigtrain.data.subwords import Subwords

_END = '<|endoftext|>'


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
  """Returns files by name, from which the same tokens are made as by the tokenizer.

  Args:
    tokenizer: Of bytes, characters or subwords; its end is the `eos_token`.

  Raises:
    ValueError: for another kind, such as a .model of SentencePiece.
  """
  end = _END
  if isinstance(tokenizer, Subwords):
    definition = json.loads(tokenizer.definition)
    end = tokenizer.end_name or _END
    known = {each['id'] for each in definition.setdefault('added_tokens', [])}
    if tokenizer.end not in known:
      definition['added_tokens'].append(_special(tokenizer.end, end))
  elif isinstance(tokenizer, Bytes):
    definition = _of_bytes(tokenizer)
  elif isinstance(tokenizer, Characters):
    alphabet = {tokenizer.decode([number]): number for number in range(tokenizer.vocab)}
    definition = _unmerged(alphabet, None, {'type': 'Fuse'})
  else:
    kind = type(tokenizer).__name__
    raise ValueError(f'{kind} has no form in which AutoTokenizer reads it: use data.bpe or Bytes')
  config: dict[str, Any] = {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,  # Else decoding would drop spaces before full stops.
  }
  if tokenizer.end is not None:
    config['eos_token'] = end
  return {
    'tokenizer.json': json.dumps(definition, ensure_ascii=False).encode('utf-8'),
    'tokenizer_config.json': (json.dumps(config, indent=2) + '\n').encode(),
  }


def _of_bytes(tokenizer: Bytes) -> dict[str, Any]:
  """Each byte a token: the library writes it as a printable character, in GPT-2's alphabet."""
  from tokenizers import pre_tokenizers

  # Letters of Latin-1 stand for themselves; bytes without one got those from U+0100 on, in order.
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  moved = sorted(set(range(256)) - {*map(ord, alphabet)})
  own = [number for number in map(ord, alphabet) if number < 256]
  names = dict(zip(alphabet, [*own, *moved], strict=True))
  names = {letter: number for letter, number in names.items() if number != tokenizer.end}
  options = {'add_prefix_space': False, 'trim_offsets': True, 'use_regex': False}
  level = {'type': 'ByteLevel', **options}
  definition = _unmerged(names | {_END: tokenizer.end}, level, level)
  definition['added_tokens'].append(_special(tokenizer.end, _END))
  return definition


def _unmerged(
  names: dict[str, int], split: dict[str, Any] | None, decoder: dict[str, Any]
) -> dict[str, Any]:
  """A byte-pair encoding without pairs: every letter is a token."""
  return {
    'version': '1.0',
    'added_tokens': [],
    'normalizer': None,
    'pre_tokenizer': split,
    'post_processor': None,
    'decoder': decoder,
    'model': {'type': 'BPE', 'vocab': names, 'merges': []},
  }


def _special(number: int, content: str) -> dict[str, Any]:
  strips = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)
  return {'id': number, 'content': content, **strips, 'special': True}
