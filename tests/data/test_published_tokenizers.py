"""The files of a tokenizer make the same tokens as the tokenizer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from toys import check_sentence

from bigtrain import data

TEXT = 'Ça va? naïve <|endoftext|> \t\n  x. y , don\'t "q"\r\n日本' * 9
TOKENIZERS = [data.Bytes(), data.Characters(TEXT), data.bpe(TEXT, 300), data.unigram(TEXT, 300)]


def library(tokenizer):
  files = data.tokenizer_files(tokenizer)
  made = Tokenizer.from_str(files['tokenizer.json'].decode())
  made.encode_special_tokens = True  # A text that spells an end does not make one.
  return made, json.loads(files['tokenizer_config.json'])


MADE = [library(tokenizer) for tokenizer in TOKENIZERS]


@given(st.text(alphabet=st.sampled_from(sorted(set(TEXT))), max_size=40))
def test_the_same_tokens_and_the_same_text(text):
  for tokenizer, (made, _) in zip(TOKENIZERS, MADE, strict=True):
    tokens = made.encode(text, add_special_tokens=False).ids
    assert tokens == tokenizer.encode(text).tolist()
    assert made.decode(tokens) == text


def test_the_end_is_a_token_of_its_own():
  for tokenizer, (made, config) in zip(TOKENIZERS, MADE, strict=True):
    assert made.get_vocab_size() == tokenizer.vocab
    if tokenizer.end is None:
      assert 'eos_token' not in config
    else:
      assert made.token_to_id(config['eos_token']) == tokenizer.end


def test_another_kind_is_refused():
  class Pieces:
    end, vocab = 0, 2

  check_sentence(lambda: data.tokenizer_files(Pieces()), ['data.bpe'], 'Pieces has no form')
  with pytest.raises(ValueError, match='Pieces'):
    data.tokenizer_files(Pieces())
