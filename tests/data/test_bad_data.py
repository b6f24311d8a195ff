"""Bad data ends in one sentence that names the place, the value and the cure."""

import gzip
import pathlib
import struct
import zlib

import numpy as np
import pytest
from toys import Records

from bigtrain import data


class Changing(Records):
  """A fast source whose batches are not what its records are."""

  def __getitems__(self, indices):
    return {'x': np.zeros((len(indices), 4), np.float32), 'label': np.ones(len(indices), np.int64)}


def good(n=20):
  return data.arrays(x=np.arange(n), label=np.arange(n) % 2)


def run(source, map=None):
  for _ in data.once(source, 2, map=map):
    pass


def file(folder, name, content):
  path = pathlib.Path(folder) / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)
  return path


def bomb(folder):
  """Writes a small PNG that would unfold to 400 million pixels."""
  header = struct.pack('>IIBBBBB', 20_000, 20_000, 8, 0, 0, 0, 0)
  chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(b'0')), (b'IEND', b'')]
  packed = [
    struct.pack('>I', len(own)) + kind + own + struct.pack('>I', zlib.crc32(kind + own))
    for kind, own in chunks
  ]
  return file(folder, 'a/bomb.png', b'\x89PNG\r\n\x1a\n' + b''.join(packed)).parent.parent


ONE = {'x': np.zeros(3, np.float32), 'label': 1}

# What is done in an empty folder, and the words that the sentence must hold.
CASES = {
  'missing key': (
    lambda f: run(Records(ONE, {'x': ONE['x']})),
    ['record 1', "'label'", 'same keys'],
  ),
  'further key': (lambda f: run(Records(ONE, {**ONE, 'z': 1})), ['record 1', "'z'", 'same keys']),
  'wrong shape': (
    lambda f: run(Records(ONE, {**ONE, 'x': np.zeros(4, np.float32)})),
    ['record 1', '(4,)', '(3,)', 'pad'],
  ),
  'wrong type': (
    lambda f: run(Records(ONE, {**ONE, 'x': np.zeros(3, np.int16)})),
    ['record 1', 'int16', 'float32'],
  ),
  'batch unlike record': (
    lambda f: run(Changing(ONE, ONE)),
    ['records 0 to 1', 'x float32[4]', 'x float32[3]', 'same keys'],
  ),
  'text in a batch': (lambda f: run(data.arrays(text=['a', 'b'])), ["'text'", 'data.pack']),
  'no number at all': (lambda f: run(data.arrays(x=np.array([{}, {}]))), ["'x'", 'object']),
  'wide integer': (
    lambda f: run(data.arrays(x=np.array([1, 2**40]))),
    ["'x'", str(2**40), 'int32'],
  ),
  'map drops rows': (
    lambda f: run(good(), lambda b, r: {'x': b['x'][:1]}),
    ['the map', "'x'", '2 rows'],
  ),
  'map returns none': (lambda f: run(good(), lambda b, r: None), ['map', 'NoneType']),
  'empty source': (lambda f: data.forever(Records(), 2), ['no record']),
  'no source': (lambda f: data.forever(3, 2), ['int', 'data.arrays']),
  'batch of zero': (lambda f: data.forever(good(), 0), ['batch', 'got 0']),
  'batch of a float': (lambda f: data.once(good(), 2.5), ['batch', '2.5']),
  'negative workers': (lambda f: data.once(good(), 2, workers=-1), ['workers', '-1']),
  'batch not divisible': (
    lambda f: data.forever(good(), 6).iterator(0, 4),
    ['4 hosts', 'got 6', '4 or 8'],
  ),
  'batch below hosts': (
    lambda f: data.forever(good(), 2).iterator(0, 4),
    ['4 hosts', 'got 2', 'use 4'],
  ),
  'no such host': (lambda f: data.forever(good(), 8).iterator(4, 4), ['shard', 'got 4']),
  'no column': (lambda f: data.arrays(), ['no column']),
  'columns differ': (
    lambda f: data.arrays(x=np.ones(3), y=np.ones(4)),
    ["'y'", '4 rows', "'x'", '3'],
  ),
  'single value': (lambda f: data.arrays(x=3), ["'x'", 'single value']),
  'no such key': (lambda f: data.column(good(), 'lable'), ["'lable'", 'label']),
  'split by no key': (lambda f: data.split_stratified(good(), key='y'), ["'y'", 'label']),
  'split by a float': (
    lambda f: data.split_stratified(data.arrays(label=np.ones(9) / 2)),
    ['float32', 'split_by_hash'],
  ),
  'held-out empty': (
    lambda f: data.split_stratified(good(4), 0.1, 0),
    ['held_out is empty', '4 records', 'raise held_out'],
  ),
  'test empty': (
    lambda f: data.split_stratified(good(9), 0.3, 0.01),
    ['test is empty', 'raise test'],
  ),
  'one document': (
    lambda f: data.split_by_document(data.arrays(text=['a'], path=['p'])),
    ['is empty', '1 records', 'more data'],
  ),
  'hash empty': (
    lambda f: data.split_by_hash(good(3), 0.01, key='x'),
    ['held_out is empty', 'held_out=0.01'],
  ),
  'position empty': (
    lambda f: data.split_by_position(data.arrays(text=['']), 0.1),
    ['is empty', '0 characters'],
  ),
  'share of zero': (lambda f: data.split_by_hash(good(), 0, key='x'), ['held_out', 'got 0']),
  'share of ten': (
    lambda f: data.split_by_hash(good(), 10, key='x'),
    ['held_out', 'got 10', '0.1'],
  ),
  'nothing to train on': (
    lambda f: data.split_stratified(good(), 0.6, 0.5),
    ['0.6', '0.5', 'nothing to train'],
  ),
  'empty to split': (lambda f: data.split_by_hash(Records(), 0.1, key='x'), ['no record']),
  'two durations': (
    lambda f: data.steps(good(), 2, steps=1, epochs=1),
    ['steps and epochs', 'exactly one'],
  ),
  'no duration': (lambda f: data.steps(good(), 2), ['none', 'exactly one']),
  'negative duration': (lambda f: data.steps(good(), 2, epochs=-1), ['epochs', '-1']),
  'duration without batch': (lambda f: data.steps(good(), 0, epochs=1), ['batch', 'got 0']),
  'text too short': (
    lambda f: data.pack(data.arrays(text=['abc']), 64),
    ['5 tokens', '65', 'lower length'],
  ),
  'length of zero': (lambda f: data.pack(data.arrays(text=['abc']), 0), ['length=0']),
  'no text to pack': (lambda f: data.pack(good(), 4), ["'text'", 'label, x']),
  'numbers to pack': (lambda f: data.pack(good(), 4, key='x'), ["'x'", 'int', 'not text']),
  'unknown character': (
    lambda f: data.Characters('abc').encode('abcab!'),
    ["'!'", 'at 5', 'data.Bytes()'],
  ),
  'no character': (lambda f: data.Characters(''), ['empty']),
  'small vocabulary': (lambda f: data.bpe('abc', 100), ['257', 'got 100', 'data.Bytes()']),
  'no text to learn': (lambda f: data.bpe(data.arrays(text=['', '']), 300), ['empty']),
  'crop of no image': (lambda f: run(good(), data.random_crop(2)), ["'image'", 'label, x']),
  'crop of a flat image': (
    lambda f: run(good(), data.random_crop(2, key='x')),
    ["'x'", '(2,)', '[B, H, W, C]'],
  ),
  'negative padding': (lambda f: data.random_crop(-1), ['pad', '-1']),
  'negative angle': (lambda f: data.random_affine(rotate=-1), ['rotate', '-1']),
  'scale to nothing': (lambda f: data.random_affine(scale=1), ['scale', 'below 1']),
  'probability': (lambda f: data.random_flip(probability=50), ['probability', '50']),
  'no such split': (lambda f: data.fashion('val'), ['train or test', "'val'"]),
  'damaged images': (
    lambda f: (file(f, '../data/train-images-idx3-ubyte.gz', b'no gzip'), data.fashion()),
    ['train-images', 'cannot read', 'apt-get'],
  ),
  'cut images': (
    lambda f: (
      file(f, '../data/train-images-idx3-ubyte.gz', gzip.compress(b'\0\0\x08\x03')),
      data.fashion(),
    ),
    ['train-images', 'cannot read'],
  ),
  'no text file': (lambda f: data.text_files(f / 'gone'), ['gone', 'check the path']),
  'no text in a folder': (
    lambda f: (file(f, 'a/b.md', b''), data.text_files(f / 'a')),
    ['ending in .txt', 'check the path'],
  ),
  'empty text file': (lambda f: data.text_files(file(f, 'a.txt', b'')), ['no text', 'a.txt']),
  'binary text file': (
    lambda f: data.text_files(file(f, 'a.txt', b'abc\xff')),
    ['a.txt', 'UTF-8', 'byte 3'],
  ),
  'neither file nor line': (
    lambda f: data.text_files(file(f, 'a.txt', b'a'), per='word'),
    ['word', 'file or line'],
  ),
  'no image folder': (lambda f: data.image_folder(f / 'gone'), ['gone', 'one folder a class']),
  'no class folder': (lambda f: data.image_folder(f), ['no folder inside']),
  'class without image': (
    lambda f: (file(f, 'ant/a.txt', b''), data.image_folder(f)),
    ['ant', '.png', 'classes='],
  ),
  'no such class': (
    lambda f: (file(f, 'ant/a.png', b''), data.image_folder(f, classes=['bee'])),
    ["'bee'", 'ant'],
  ),
  'broken image': (
    lambda f: (file(f, 'ant/a.png', b'\x89PNG'), data.image_folder(f)[0]),
    ['a.png', 'cannot read', 'drop it'],
  ),
  'image bomb': (
    lambda f: data.image_folder(bomb(f))[0],
    ['bomb.png', 'cannot read', '400000000', 'drop it'],
  ),
  'not ArrayRecord': (
    lambda f: data.array_records(file(f, 'a.array_record', b'text'), dict)[0],
    ['a.array_record', 'ArrayRecordWriter'],
  ),
  'no ArrayRecord': (lambda f: data.array_records(f / 'gone*', dict), ['gone*', 'check the path']),
  'ragged CSV': (
    lambda f: data.csv(file(f, 'a.csv', b'x,y\n1,2\n1,2,3\n')),
    ['a.csv', 'cannot read', 'repair'],
  ),
  'CSV that is not UTF-8': (
    lambda f: data.csv(file(f, 'a.csv', b'x,y\n1,\xff\n')),
    ["'y'", 'binary', 'convert'],
  ),
  'CSV that was cut': (
    lambda f: data.csv(file(f, 'a.csv.gz', gzip.compress(b'x\n' + b'12345\n' * 99)[:-12])),
    ['a.csv.gz', 'cannot read', 'repair'],
  ),
  'CSV that becomes text': (
    lambda f: (file(f, 'a.csv', b'x\n1\n'), file(f, 'b.csv', b'x\na\n'), data.csv(f)),
    ['differ in types', 'one schema'],
  ),
  'column of NaN': (
    lambda f: data.csv(file(f, 'a.csv', b'x,y\n1,nan\n2,nan\n')),
    ["'y'", 'no value', 'columns='],
  ),
  'CSV without rows': (lambda f: data.csv(file(f, 'a.csv', b'x,y\n')), ['no row']),
  'CSV that is empty': (lambda f: data.csv(file(f, 'a.csv', b'')), ['a.csv', 'cannot read']),
  'no such label': (
    lambda f: data.csv(file(f, 'a.csv', b'x,y\n1,2\n'), label='z'),
    ["'z'", 'x, y'],
  ),
  'missing number': (
    lambda f: data.csv(file(f, 'a.csv', b'x,y\n1,2\n,3\n')),
    ["'x'", '1 of 2', 'row 1', 'missing='],
  ),
  'dates': (lambda f: data.csv(file(f, 'a.csv', b'x\n2020-01-01\n')), ["'x'", 'date', 'columns=']),
  'text is numbers': (
    lambda f: data.csv(file(f, 'a.csv', b'x\n1\n'), text='x'),
    ["'x'", 'not text'],
  ),
  'other columns': (
    lambda f: (file(f, 'a.csv', b'x\n1\n'), file(f, 'b.csv', b'y\n1\n'), data.csv(f)),
    ['b.csv', 'a.csv', 'schema'],
  ),
  'not Parquet': (
    lambda f: data.parquet(file(f, 'a.parquet', b'text')),
    ['a.parquet', 'cannot read'],
  ),
  'no Parquet': (lambda f: data.parquet(f / 'gone.parquet'), ['gone.parquet', 'check the path']),
}


@pytest.mark.parametrize('name', CASES)
def test_a_sentence(name, tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path / 'data'))
  work = tmp_path / 'work'
  work.mkdir()
  (tmp_path / 'data').mkdir()
  do, words = CASES[name]
  with pytest.raises((ValueError, FileNotFoundError)) as caught:
    do(work)
  said = str(caught.value)
  assert [word for word in words if word not in said] == [], said
  assert said.startswith('data')
  assert '\n' not in said


@pytest.mark.parametrize(
  ('load', 'cure'),
  [(data.fashion, 'apt-get install'), (data.shakespeare, 'curl -o $BIGTRAIN_DATA')],
)
def test_absent_data_comes_with_the_command_that_brings_it(load, cure, tmp_path, monkeypatch):
  monkeypatch.setattr(pathlib.Path, 'is_file', lambda self: False)
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  with pytest.raises(FileNotFoundError) as caught:
    load()
  assert cure in str(caught.value)
  assert str(tmp_path) in str(caught.value)
  monkeypatch.delenv('BIGTRAIN_DATA')
  with pytest.raises(FileNotFoundError, match='not set'):
    load()


def test_a_bad_record_in_a_worker_is_named_too():
  source = Records(*[ONE] * 3, {**ONE, 'x': np.zeros(4, np.float32)})
  iterator = data.once(source, 2, workers=1).iterator()
  try:
    next(iterator)
    with pytest.raises(Exception, match='record 3'):
      next(iterator)
  finally:
    iterator.close()
