"""What is shown of a text while its tokens come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigtrain import data
from bigtrain.iteration import TextStream

TEXT = 'naïve 😀😀 日本 \ufffd\ufffd a.b\n\n' * 4
TOKENIZERS = [data.Bytes(), data.bpe(TEXT, 262), data.unigram(TEXT, 270)]
TOKENS = st.lists(st.integers(0, 255), max_size=40)  # Often no UTF-8.
TEXTS = st.text(st.sampled_from(sorted(set(TEXT))), max_size=30)


def shown(tokenizer, tokens, sizes, stop=()):
  stream, pieces = TextStream(tokenizer.decode, stop), []
  while len(tokens):
    size = next(sizes)
    pieces.append(stream.add(tokens[:size], ended=size >= len(tokens)))
    tokens = tokens[size:]
  assert ''.join(pieces) == stream.text
  return stream


@given(TEXTS, TOKENS, st.lists(st.integers(1, 7), min_size=80, max_size=80))
def test_pieces_are_the_whole_text_however_the_tokens_come(text, tokens, sizes):
  for tokenizer in TOKENIZERS:
    for line in (tokenizer.encode(text), tokens):
      assert shown(tokenizer, line, iter(sizes)).text == tokenizer.decode(line)


@given(TEXTS, st.lists(st.integers(1, 3), min_size=120, max_size=120))
def test_a_stop_string_ends_the_text_wherever_it_is_cut(text, sizes):
  stop = ('\n\n', '本 ', '😀😀')
  stream = shown(data.Bytes(), data.Bytes().encode(text), iter(sizes), stop)
  found = [text.index(word) for word in stop if word in text]
  assert stream.stopped == bool(found)
  assert stream.text == text[: min(found, default=len(text))]


def test_nothing_is_shown_that_may_yet_be_taken_back():
  stream = TextStream(data.Bytes().decode, ['\n\n'])
  assert stream.add(b'a\n') == 'a'
  assert stream.add(b'b\xf0\x9f') == ''
  assert stream.add(b'\x98\x80') == '\nb😀'
  assert stream.add(b'\n', ended=True) == '\n'
  with pytest.raises(ValueError, match='must not be empty'):
    TextStream(data.Bytes().decode, [''])
