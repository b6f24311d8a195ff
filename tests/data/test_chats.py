"""Chats as tokens: what is learned, what is not, and what is no chat."""

import numpy as np
import pytest
import toys

from bigtrain import data
from bigtrain.data import chat_templates

HELLO = [
  {'role': 'user', 'content': 'Hi'},
  {'role': 'assistant', 'content': 'Hello!'},
  {'role': 'user', 'content': 'Bye <|im_end|>'},
  {'role': 'assistant', 'content': 'Bye.'},
]
BYTES = data.Bytes()


def learned(row, which=True):
  """Returns the text of the targets that have weight."""
  chosen = row['targets'][(row['token_weight'] > 0) == which]
  return bytes(int(x) for x in chosen if x).decode()


def test_only_what_the_assistant_says_and_its_end_are_learned():
  for name, end, header in (
    ('chatml', '<|im_end|>', '<|im_start|>user\n'),
    ('llama3', '<|eot_id|>', '<|start_header_id|>user<|end_header_id|>\n\n'),
    ('plain', '\n\n', 'user: '),
  ):
    source = toys.Records({'messages': HELLO})
    rows = data.pack_chats(source, 400, BYTES, template=name)
    row = rows[0]
    assert learned(row) == f'Hello!{end}Bye.{end}'
    whole = bytes(int(x) for x in row['inputs'] if x).decode()
    assert whole.removeprefix('<|begin_of_text|>').startswith(f'{header}Hi{end}')
    assert header[1:] in learned(row, which=False)


def test_packed_chats_keep_their_segments_and_their_masks():
  chats = [
    [{'role': 'user', 'content': 'q' * n}, {'role': 'assistant', 'content': str(n) * n}]
    for n in range(1, 9)
  ]
  source = toys.Records(*({'messages': chat} for chat in chats))
  rows = data.pack_chats(source, 80, BYTES, template='plain')
  assert len(rows) < len(chats)
  assert rows.about['chats'] == 8
  found = []
  for row in (rows[i] for i in range(len(rows))):
    for segment in range(1, row['segment_ids'].max() + 1):
      inside = row['segment_ids'] == segment
      found.append(learned({key: x[inside] for key, x in row.items()}))
      assert row['positions'][inside].tolist() == list(range(inside.sum()))
    assert (row['token_weight'][row['segment_ids'] == 0] == 0).all()
  assert sorted(found) == [f'{str(n) * n}\n\n' for n in range(1, 9)]
  batch = rows.__getitems__(np.arange(len(rows)))
  np.testing.assert_array_equal(batch['token_weight'][0], rows[0]['token_weight'])


def test_markers_are_tokens_of_their_own_and_what_a_person_spells_is_not():
  import json

  trained = data.bpe('Hello, how are you? user assistant Bye. ' * 9, 300)
  definition = json.loads(trained.definition)
  definition['added_tokens'] = [
    {'id': 298 + i, 'content': text, 'special': True, 'single_word': False, 'lstrip': False,
     'rstrip': False, 'normalized': False}
    for i, text in enumerate(('<|im_start|>', '<|im_end|>'))
  ]  # fmt: skip
  from bigtrain.data.subwords import Subwords

  tokenizer = Subwords(json.dumps(definition))
  form = chat_templates.template('chatml')
  tokens, mask = chat_templates.encode(HELLO, form, tokenizer)
  start, end = tokenizer.token('<|im_start|>'), tokenizer.token('<|im_end|>')
  assert (tokens == start).sum() == 4
  assert (tokens == end).sum() == 4  # Not the one in 'Bye <|im_end|>'.
  assert mask[tokens == end].tolist() == [False, True, False, True]
  assert tokenizer.token('<|nothing|>') is None


def test_a_record_that_is_no_chat_is_named_or_counted():
  good = {'messages': HELLO}
  for bad, words in (
    ({'messages': [{'content': 'Hi'}]}, ["message 0 has no 'role'"]),
    ({'messages': [{'role': 'robot', 'content': 'Hi'}]}, ["'robot'", 'system, user, assistant']),
    ({'messages': [{'role': 'user', 'content': None}]}, ["no text under 'content'"]),
    ({'messages': HELLO[:1]}, ['no message is by assistant']),
    ({'messages': 'Hi'}, ['no list of messages']),
    ({'text': 'Hi'}, ["has no 'messages', but text"]),
  ):
    source = toys.Records(good, bad)
    toys.check_sentence(
      lambda s=source: data.pack_chats(s, 200, BYTES), words, 'data.pack_chats: record 1: '
    )
    rows = data.pack_chats(source, 200, BYTES, errors='skip')
    assert (rows.about['chats'], rows.about['skipped']) == (1, 1)
    assert words[0] in rows.about['first_skipped']
  with pytest.raises(ValueError, match='none has an answer within 10 tokens'):
    data.pack_chats(toys.Records(good), 10, BYTES)
  with pytest.raises(ValueError, match="one of chatml, llama3, plain, got 'alpaca'"):
    data.pack_chats(toys.Records(good), 10, BYTES, template='alpaca')


def test_pairs_come_whole_or_not_at_all():
  pair = {'prompt': 'Why?', 'chosen': 'So.', 'rejected': 'No idea.'}
  full = {'chosen': HELLO, 'rejected': [*HELLO[:-1], {'role': 'assistant', 'content': 'x' * 99}]}
  rows = data.preference_pairs(toys.Records(pair, full), 100, BYTES, template='plain')
  assert (len(rows), rows.about['too_long']) == (1, 1)
  for side, text in (('chosen', 'So.\n\n'), ('rejected', 'No idea.\n\n')):
    row = {key: rows[0][f'{side}_{key}'] for key in ('inputs', 'targets', 'token_weight')}
    assert learned(row) == text
    end = int(row['token_weight'].nonzero()[0][-1])
    np.testing.assert_array_equal(row['inputs'][1 : end + 1], row['targets'][:end])
    assert not row['targets'][end + 1 :].any()
  with pytest.raises(ValueError, match="record 0: has no 'rejected'"):
    data.preference_pairs(toys.Records({'prompt': 'a', 'chosen': 'b'}), 9, BYTES)
