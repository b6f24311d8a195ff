"""Published tokenizers are what their library says, and trained ones are kept with a run."""

import argparse
import io
import json
import pathlib
import pickle

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain import data
from bigtrain.data import published, subwords

TEXTS = [pathlib.Path(argparse.__file__).read_text(), 'naïve café 東京 🙂\n' * 9]
UNIGRAM = subwords.Subwords(subwords._train(TEXTS, 600, 'unigram').decode())


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_a_unigram_model_loses_nothing_and_knows_its_bytes(text):
  tokens = UNIGRAM.encode(text)
  assert UNIGRAM.decode(tokens) == text
  assert UNIGRAM.bytes[tokens].sum() == len(text.encode())
  assert UNIGRAM.end not in tokens


def test_a_unigram_model_compresses_and_keeps_to_the_vocabulary():
  assert len(UNIGRAM.encode(TEXTS[0])) < len(TEXTS[0]) / 2
  assert 500 < UNIGRAM.vocab <= 600


def llama_like(path):
  """A tokenizer.json as Llama's: spaces as a mark, unknown characters as bytes, and an end."""
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

  tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token='<unk>', fuse_unk=True))
  tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme='never', split=False)
  tokenizer.decoder = decoders.Sequence(
    [decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()]
  )
  special = ['<unk>', '<s>', '</s>', *(f'<0x{byte:02X}>' for byte in range(256))]
  trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special[:3], show_progress=False)
  trainer.initial_alphabet = []
  tokenizer.train_from_iterator(['the cat sat on the mat ' * 40], trainer)
  tokenizer.add_tokens(special[3:])
  plain = json.loads(tokenizer.to_str())
  plain['model']['vocab'] |= {token: 500 + i for i, token in enumerate(special[3:])}
  plain['added_tokens'] = plain['added_tokens'][:3]
  path.write_text(json.dumps(plain))
  return path


def test_a_published_definition_has_its_end_its_bytes_and_no_forgery(tmp_path):
  tokenizer = data.load_tokenizer(llama_like(tmp_path / 'tokenizer.json'))
  assert tokenizer.end == 2
  assert tokenizer.vocab == 756
  for text in ('the cat', 'café 🙂', 'on </s> the'):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.bytes[tokens].sum() == len(text.encode())
    assert tokenizer.end not in tokens
  assert tokenizer.bytes[tokenizer.end] == 1
  assert tokenizer.bytes[0] == 0
  other = data.load_tokenizer(tmp_path / 'tokenizer.json', end='<s>')
  assert other.end == 1
  assert other.digest != tokenizer.digest
  assert pickle.loads(pickle.dumps(other)).end == 1


@pytest.fixture(scope='module')
def model():
  sentencepiece = pytest.importorskip('sentencepiece')
  written = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(['the cat sat on the mat'] * 40), model_writer=written, vocab_size=280,
    byte_fallback=True, hard_vocab_limit=False, normalization_rule_name='identity',
    remove_extra_whitespaces=False, minloglevel=2,
  )  # fmt: skip
  return written.getvalue()


def test_a_published_model_has_its_end_its_bytes_and_no_forgery(model, tmp_path):
  (tmp_path / 'spm.model').write_bytes(model)
  tokenizer = data.load_tokenizer(tmp_path / 'spm.model')
  for text in ('the cat', 'café 🙂', 'on </s> the', '  two'):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.bytes[tokens].sum() == len(text.encode()) + 1  # The space before a text.
    assert tokenizer.end not in tokens
  assert tokenizer.bytes[tokenizer.end] == 1
  again = pickle.loads(pickle.dumps(tokenizer))
  assert np.array_equal(again.encode('the mat'), tokenizer.encode('the mat'))
  windows = data.pack(data.arrays(text=['the cat sat'] * 9), 4, tokenizer)
  assert windows.files == {'tokenizer.model': model}
  assert windows[0]['inputs'][0] == tokenizer.end


def test_what_a_source_of_tokens_keeps_is_the_tokenizer_again(tmp_path):
  for pack in (data.pack, data.pack_documents):
    files = pack(data.arrays(text=TEXTS), 8, UNIGRAM).files
    (tmp_path / 'tokenizer.json').write_bytes(files['tokenizer.json'])
    again = data.load_tokenizer(tmp_path / 'tokenizer.json')
    assert (again.end, again.digest) == (UNIGRAM.end, UNIGRAM.digest)
    assert pack(data.arrays(text=TEXTS), 8).files == {}


BAD = {
  'no file': (lambda f: data.load_tokenizer(f / 'gone.json'), ['no file', 'check the path']),
  'no json': (lambda f: data.load_tokenizer(f / 'bad.json'), ['bad.json', 'not a definition']),
  'no model': (lambda f: data.load_tokenizer(f / 'bad.model'), ['not a .model']),
  'no end': (lambda f: subwords.Subwords(UNIGRAM.definition, '<end>'), ["'<end>'", 'name the one']),
  'small': (lambda f: data.unigram('abc', 12), ['data.unigram', 'at least 257', 'got 12']),
}


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name, tmp_path):
  (tmp_path / 'bad.json').write_text('{}')
  (tmp_path / 'bad.model').write_bytes(b'nonsense')
  do, words = BAD[name]
  if name == 'no model':
    pytest.importorskip('sentencepiece')
  toys.check_sentence(lambda: do(tmp_path), words, r'data\.', (ValueError, FileNotFoundError))


def test_an_end_that_the_model_lacks_is_refused(model):
  with pytest.raises(ValueError, match='no piece'):
    published.SentencePieces(model, '<end>')
