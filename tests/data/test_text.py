"""Tokenisers lose nothing; packing predicts each token once; bits per byte are exact."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain import data
from bigtrain.data import subwords

TEXTS = [
  'def f(x):\n  return x + 1\n' * 20,
  'naïve café 東京 🙂\n' * 9,
  'class A:\n  """Doc."""\n' * 30,
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_CACHE', str(tmp_path / 'cache'))


def documents(texts=tuple(TEXTS)):
  return data.arrays(text=list(texts), path=[str(i) for i in range(len(texts))])


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_bytes_and_characters_lose_nothing(text):
  tokens = data.Bytes().encode(text)
  assert data.Bytes().decode(tokens) == text
  assert len(tokens) == len(text.encode())
  if text:
    characters = data.Characters(text)
    tokens = characters.encode(text)
    assert characters.decode(tokens) == text
    assert characters.vocab == len(set(text)) > tokens.max()
    assert characters.bytes[tokens].sum() == len(text.encode())


TRAINED = subwords.Subwords(subwords._train(TEXTS, 400).decode())


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_subwords_lose_nothing_and_know_their_bytes(text):
  tokens = TRAINED.encode(text)
  assert TRAINED.decode(tokens) == text
  assert TRAINED.bytes[tokens].sum() == len(text.encode())
  assert TRAINED.end not in tokens


def test_subwords_compress_and_keep_to_the_vocabulary():
  tokens = TRAINED.encode(TEXTS[0])
  assert len(tokens) < len(TEXTS[0]) / 2
  assert TRAINED.vocab <= 400
  assert TRAINED.end == TRAINED.vocab - 1


def test_text_cannot_forge_an_end():
  for forged in ('<|endoftext|>', '[SEP]', '</s>'):
    assert TRAINED.decode(TRAINED.encode(forged)) == forged
    assert TRAINED.end not in TRAINED.encode(forged)


def test_training_is_the_same_with_any_number_of_threads():
  code = (
    'from bigtrain import data; import sys;'
    "t = ['the cat sat on the mat ' * 50, 'a dog dug ' * 70, 'xyzzy ' * 9] * 40;"
    'print(data.bpe(data.arrays(text=t), 300).definition)'
  )
  definitions = set()
  for number, threads in enumerate(['1', '2', 'off']):
    own = {
      'BIGTRAIN_CACHE': f'{os.environ["BIGTRAIN_CACHE"]}{number}',
      'RAYON_NUM_THREADS': threads,
    }
    own['TOKENIZERS_PARALLELISM'] = 'false' if threads == 'off' else 'true'
    if threads == 'off':
      del own['RAYON_NUM_THREADS']
    run = subprocess.run(
      [sys.executable, '-c', code],
      env={**os.environ, **own},
      capture_output=True,
      text=True,
      check=True,
    )
    definitions.add(run.stdout)
  assert len(definitions) == 1


def test_a_trained_vocabulary_is_kept_and_a_damaged_one_made_again(monkeypatch, tmp_path):
  first = data.bpe(documents(), 300)
  calls = []
  real = subwords._train
  monkeypatch.setattr(subwords, '_train', lambda *args: calls.append(1) or real(*args))
  assert data.bpe(documents(), 300).definition == first.definition
  assert not calls
  (kept,) = (tmp_path / 'cache').iterdir()
  content = bytearray(kept.read_bytes())
  content[40] ^= 1
  kept.write_bytes(content)
  assert data.bpe(documents(), 300).definition == first.definition
  assert len(calls) == 1
  data.bpe(documents(), 301)
  data.bpe(documents([*TEXTS, 'more']), 300)
  assert len(calls) == 3


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('BIGTRAIN_CACHE', str(tmp_path / 'file'))
  assert data.bpe(documents(), 300).vocab == 300


@pytest.mark.parametrize('tokenizer', [data.Bytes(), data.Characters(''.join(TEXTS)), TRAINED])
@pytest.mark.parametrize('length', [1, 7, 64])
def test_each_token_is_predicted_once(tokenizer, length):
  windows = data.pack(documents(), length, tokenizer)
  ends = [] if tokenizer.end is None else [tokenizer.end]
  line = list(ends)
  for text in TEXTS:
    line += [*tokenizer.encode(text).tolist(), *ends]
  batch = windows.__getitems__(np.arange(len(windows)))
  count = len(windows) * length
  assert len(line) - 1 - count < length
  assert batch['targets'].reshape(-1).tolist() == line[1 : count + 1]
  assert batch['inputs'].reshape(-1).tolist() == line[:count]
  assert batch['inputs'].dtype == batch['targets'].dtype == np.int32


def test_bytes_of_targets_add_up_to_the_corpus():
  windows = data.pack(documents(), 1, TRAINED)
  batch = windows.__getitems__(np.arange(len(windows)))
  assert batch['bytes'].sum() == sum(len(text.encode()) + 1 for text in TEXTS)
  assert batch['bytes'].dtype == np.float32
  assert np.array_equal(batch['bytes'], TRAINED.bytes[batch['targets']])
  assert 'bytes' not in data.pack(documents(), 1)[0]
  assert 'bytes' in data.pack(documents(), 1, data.Characters(''.join(TEXTS)))[0]


def test_stride_one_gives_windows_at_any_offset():
  windows = data.pack(data.arrays(text=['abcdef']), 2, data.Characters('abcdef'), stride=1)
  assert [windows[i]['inputs'].tolist() for i in range(len(windows))] == [
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 4],
  ]
  assert windows[3]['targets'].tolist() == [4, 5]


def test_encoded_texts_are_kept(monkeypatch):
  from bigtrain.data import packing

  monkeypatch.setattr(packing, '_SLOW', 0)
  first = data.pack(documents(), 8, TRAINED).tokens
  monkeypatch.setattr(subwords.Subwords, 'encode_many', None)
  assert np.array_equal(data.pack(documents(), 8, TRAINED).tokens, first)


def test_windows_and_tokenizer_survive_the_way_to_a_worker():
  import cloudpickle

  windows = cloudpickle.loads(cloudpickle.dumps(data.pack(documents(), 8, TRAINED)))
  assert np.array_equal(windows[3]['targets'], data.pack(documents(), 8, TRAINED)[3]['targets'])
  assert windows.tokenizer.decode(TRAINED.encode('def f')) == 'def f'
