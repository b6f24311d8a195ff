"""Recorded outputs go with their records through splits, batches and workers."""

import pickle

import numpy as np
import pytest
from toys import Records, check_sentence

from bigtrain import data

LOGITS = np.arange(60, dtype=np.float16).reshape(20, 3)


def numbers():
  return data.arrays(x=np.arange(20), label=np.arange(20) % 3)


@pytest.mark.parametrize('how', ['memory', 'file', 'records'])
def test_a_row_goes_with_its_record(how, tmp_path):
  logits, source = LOGITS, numbers()
  if how == 'file':
    logits = tmp_path / 'teacher.npy'
    np.save(logits, LOGITS)
  if how == 'records':
    source = Records(*({'x': np.int32(i), 'label': np.int32(i % 3)} for i in range(20)))
  taught = data.with_predictions(source, logits=logits)
  assert np.array_equal(taught[7]['logits'], LOGITS[7])
  train, _ = data.split_by_hash(taught, 0.3, key='x')
  batch = data.forever(train, 8, seed=1)[3]
  assert batch['logits'].dtype == np.float16
  assert np.array_equal(batch['logits'], LOGITS[batch['x']])
  assert np.array_equal(data.column(train, 'logits'), LOGITS[data.column(train, 'x')])
  assert taught.about['predictions'] == {'logits': 'float16[20, 3]'}


def test_a_mapped_file_is_sent_by_its_path(tmp_path):
  path = tmp_path / 'teacher.npy'
  np.save(path, np.zeros((20, 10_000), np.float32))
  taught = data.with_predictions(numbers(), logits=str(path))
  assert len(pickle.dumps(taught)) < 10_000
  assert pickle.loads(pickle.dumps(taught))[3]['logits'].shape == (10_000,)


def test_sentences(tmp_path):
  (tmp_path / 'bad.npy').write_bytes(b'no array')
  np.savez(tmp_path / 'many.npz', a=LOGITS)
  for do, words in (
    (lambda: data.with_predictions(numbers()), ['no array']),
    (lambda: data.with_predictions(numbers(), label=LOGITS), ["'label'", 'already']),
    (lambda: data.with_predictions(numbers(), y=LOGITS[:5]), ['(5, 3)', '20 records']),
    (lambda: data.with_predictions(numbers(), y=tmp_path / 'bad.npy'), ['bad.npy', 'np.save']),
    (lambda: data.with_predictions(numbers(), y=tmp_path / 'many.npz'), ['several', 'np.save']),
  ):
    check_sentence(do, words, 'data.with_predictions')
  with pytest.raises(FileNotFoundError, match=r'gone\.npy'):
    data.with_predictions(numbers(), y=tmp_path / 'gone.npy')
