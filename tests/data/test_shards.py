"""What is written comes back bit for bit and in order, and a damaged set is refused by name."""

import json
import os
import pathlib

import numpy as np
import pytest
from toys import Records

from bigtrain import data
from bigtrain.data import sources
from bigtrain.data.shards import read_records, write_records


def mixed(i):
  rng = np.random.default_rng(i)
  return {
    'image': rng.integers(0, 255, (4, 3, 1), np.uint8),
    'audio': rng.standard_normal(i % 5).astype('f4'),
    'label': np.int32(i),
    'wide': 2**40 + i,
    'share': i / 7,
    'yes': bool(i % 2),
    'half': np.full((2, 0), i, np.float16),
    'big': np.array([i, -i], '>i2'),
    'wave': np.complex64(1 + i * 1j),
    'text': f'snö {i}\n' * (i % 3),
    'raw': bytes([i, 0, 255]),
    'words': np.array(['a', 'bé'][: i % 3], object),
    'turned': rng.standard_normal((3, 2)).T,
  }


def numbers(count=20):
  return data.arrays(
    x=np.arange(count * 3, dtype=np.float32).reshape(count, 3), label=np.arange(count)
  )


@pytest.mark.parametrize('shards', [1, 3])
def test_records_come_back_bit_for_bit(tmp_path, shards):
  source = Records(*map(mixed, range(20)))
  write_records(source, tmp_path / 'set', shards=shards)
  back = read_records(tmp_path / 'set')
  assert len(back) == 20
  for i in (19, 0, *range(20)):
    record = back[i]
    assert record.keys() == mixed(i).keys()
    for key, value in mixed(i).items():
      if key in ('text', 'raw'):
        assert record[key] == value
        assert type(record[key]) is type(value)
        continue
      expected = np.asarray(value, object if key == 'words' else None)
      assert np.asarray(record[key]).dtype == expected.dtype.newbyteorder('=')
      assert np.array_equal(record[key], expected)
  assert [record['label'] for record in back.__getitems__(np.array([7, 3, 7]))] == [7, 3, 7]
  with pytest.raises(IndexError):
    back[20]
  back[0]['image'][:] = 0  # Maps may write.
  assert back[0]['image'].any()


def test_the_manifest_says_what_is_in_the_set(tmp_path):
  source = sources.Arrays(
    numbers().columns, {'name': 'made', 'classes': ('a', 'b'), 'mean': np.float32(0.5), 'x': np.nan}
  )
  ledger = {'empty': 3, 'kept': np.int64(20), 'why': ('too short',)}
  manifest = write_records(
    source, tmp_path / 'set', shards=3, name='train', licence='CC0', ledger=ledger
  )
  assert manifest == json.loads((tmp_path / 'set' / 'manifest.json').read_text())
  assert [shard['records'] for shard in manifest['shards']] == [6, 7, 7]
  assert sorted(path.name for path in (tmp_path / 'set').iterdir()) == [
    'manifest.json',
    *(f'train-0000{i}-of-00003.array_record' for i in range(3)),
  ]
  assert manifest['schema'] == {
    'x': {'kind': 'float32', 'shape': [3]},
    'label': {'kind': 'int32', 'shape': []},
  }
  assert manifest['source'] == {'name': 'made', 'classes': ['a', 'b'], 'mean': 0.5, 'x': 'nan'}
  assert manifest['ledger'] == {'empty': 3, 'kept': 20, 'why': ['too short']}
  assert set(manifest['libraries']) == {'array_record', 'numpy'}
  about = read_records(tmp_path / 'set').about
  assert about['classes'] == ('a', 'b')
  assert about['licence'] == 'CC0'
  assert about['name'] == 'train'
  ragged = write_records(Records(*map(mixed, range(9))), tmp_path / 'ragged')['schema']
  assert ragged['audio'] == {'kind': 'float32', 'shape': [None]}
  assert ragged['words'] == {'kind': 'text', 'shape': [None]}
  assert ragged['image'] == {'kind': 'uint8', 'shape': [4, 3, 1]}
  assert ragged['raw'] == {'kind': 'bytes', 'shape': []}


def test_equal_records_give_equal_bytes(tmp_path):
  for name in 'ab':
    write_records(numbers(), tmp_path / name, shards=2)
  for path in (tmp_path / 'a').iterdir():
    assert path.read_bytes() == (tmp_path / 'b' / path.name).read_bytes()
  assert read_records(tmp_path / 'a').about == read_records(tmp_path / 'b').about


def test_batches_splits_and_workers_take_a_set(tmp_path):
  import cloudpickle

  write_records(numbers(), tmp_path / 'set', shards=2)
  source = read_records(tmp_path / 'set')
  batch = data.once(source, 8)[2]
  assert batch['label'][:4].tolist() == [16, 17, 18, 19]
  train, held_out = data.split_by_hash(source, 0.3, key='label')
  assert sorted([*train.column('label'), *held_out.column('label')]) == list(range(20))
  assert np.array_equal(data.in_memory(source).column('x'), numbers().column('x'))
  assert cloudpickle.loads(cloudpickle.dumps(source))[4]['label'] == 4


def test_a_set_is_whole_or_not_there(tmp_path):
  class Failing(Records):
    def __getitem__(self, index):
      assert sorted(os.listdir(tmp_path)) == [f'set.{os.getpid()}.part']
      if index == 300:
        raise OSError('the disk went away')
      return super().__getitem__(index)

  with pytest.raises(OSError, match='went away'):
    write_records(Failing(*map(mixed, [1] * 301)), tmp_path / 'set', shards=4)
  assert os.listdir(tmp_path) == []
  (tmp_path / 'set').mkdir()  # An empty folder is in nobody's way.
  write_records(numbers(), tmp_path / 'set')
  before = (tmp_path / 'set' / 'manifest.json').read_bytes()
  with pytest.raises(ValueError, match='is there already'):
    write_records(numbers(9), tmp_path / 'set')
  assert (tmp_path / 'set' / 'manifest.json').read_bytes() == before
  assert os.listdir(tmp_path) == ['set']


ONE = {'x': np.zeros(3, np.float32), 'text': 'a'}
# A source, and the words that the sentence must hold.
UNWRITABLE = {
  'empty': ([], ['no record']),
  'missing key': ([ONE, {'x': ONE['x']}], ['record 1', 'lacks', "'text'"]),
  'added key': ([ONE, {**ONE, 'z': 1}], ['record 1', 'adds', "'z'"]),
  'other type': ([ONE, {**ONE, 'x': np.zeros(3)}], ['record 1', "'x'", 'float64[3]', 'float32[3]']),
  'other axes': ([ONE, {**ONE, 'x': np.zeros((3, 1), 'f4')}], ['record 1', "'x'", '[3, 1]']),
  'bytes for text': ([ONE, {**ONE, 'text': b'a'}], ['record 1', "'text'", 'bytes', 'text[]']),
  'a dict': ([{**ONE, 'x': {}}], ['record 0', "'x'", 'object', 'convert']),
  'mixed texts': ([{**ONE, 'x': np.array(['a', b'a'], object)}], ['record 0', "'x'", 'object']),
  'dates': ([{**ONE, 'x': np.array(['2020-01-01'], 'M8[D]')}], ['record 0', "'x'", 'datetime64']),
  'half a character': ([ONE, {**ONE, 'text': '\ud800'}], ['record 1', "'text'", 'surrogates']),
}


@pytest.mark.parametrize('name', UNWRITABLE)
def test_what_cannot_be_written_is_named(name, tmp_path):
  records, words = UNWRITABLE[name]
  with pytest.raises(ValueError, match=r'^data\.write_records: ') as caught:
    write_records(Records(*records), tmp_path / 'set')
  assert [word for word in words if word not in str(caught.value)] == [], caught.value
  assert os.listdir(tmp_path) == []


def test_arguments_are_checked(tmp_path):
  for shards in (0, 21):
    with pytest.raises(ValueError, match=rf'shards must lie in \[1, 20 records\], got {shards}'):
      write_records(numbers(), tmp_path / 'set', shards=shards)
  for name in ('', '../a', '.a', 'a/b'):
    with pytest.raises(ValueError, match='plain file name'):
      write_records(numbers(), tmp_path / 'set', name=name)
  with pytest.raises(ValueError, match='this machine, got gs://'):
    write_records(numbers(), 'gs://bucket/set')
  with pytest.raises(ValueError, match='cannot reach nowhere://bucket/set'):
    read_records('nowhere://bucket/set')


def cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(old, new):
  def changed(path):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

  return changed


# Which file is damaged how, and the words that the sentence must hold.
DAMAGE = {
  'half-written shard': ('00001', cut, ['bytes', 'in the manifest']),
  'missing shard': ('00000', pathlib.Path.unlink, ['is missing', 'copy it again']),
  'no manifest': ('manifest', pathlib.Path.unlink, ['no ', 'data.write_records']),
  'half a manifest': ('manifest', cut, ['cannot read']),
  'wrong sum': ('manifest', change('"records": 20', '"records": 21'), ['20 records, not 21']),
  'other format': ('manifest', change('records-1"', 'records-9"'), ['bigtrain-records-9']),
  'key gone': ('manifest', change('"sha256"', '"sha"'), ["it lacks 'sha256'"]),
  'not a manifest': ('manifest', lambda path: path.write_text('[]'), ['cannot read']),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_a_set_that_does_not_fit_is_refused(name, tmp_path):
  part, damage, words = DAMAGE[name]
  write_records(numbers(), tmp_path / 'set', shards=2)
  (path,) = (path for path in (tmp_path / 'set').iterdir() if f'{part}' in path.name[:13])
  damage(path)
  with pytest.raises((ValueError, FileNotFoundError), match=r'^data\.read_records: ') as caught:
    read_records(tmp_path / 'set')
  said = str(caught.value)
  assert [word for word in [path.name, *words] if word not in said] == [], said
  assert '\n' not in said


def test_a_shard_of_the_right_size_and_another_count_is_refused(tmp_path):
  manifest = write_records(numbers(), tmp_path / 'set', shards=2)
  sizes = [shard['bytes'] for shard in manifest['shards']]
  assert sizes[0] == sizes[1]
  for own, other in zip(manifest['shards'], (9, 11), strict=True):
    own['records'] = other
  (tmp_path / 'set' / 'manifest.json').write_text(json.dumps(manifest))
  with pytest.raises(ValueError, match=r'00000-of-00002\.array_record holds 10 records, 9 in'):
    read_records(tmp_path / 'set')


def test_a_flipped_byte_is_seen_when_verified_and_when_read(tmp_path):
  noise = np.random.default_rng(0).integers(0, 255, (40, 5000), np.uint8)
  write_records(data.arrays(x=noise), tmp_path / 'set', shards=2)
  path = tmp_path / 'set' / 'records-00001-of-00002.array_record'
  raw = bytearray(path.read_bytes())
  raw[40_000] ^= 1
  path.write_bytes(raw)
  with pytest.raises(ValueError, match=r'records-00001-of-00002\.array_record has another SHA-256'):
    read_records(tmp_path / 'set', verify=True)
  source = read_records(tmp_path / 'set')
  assert np.array_equal(source[3]['x'], noise[3])
  with pytest.raises(ValueError, match=r'cannot read a record of .*records-00001.*verify=True'):
    source.__getitems__(np.arange(20, 40))


def test_a_manifest_reaches_no_file_outside_of_its_folder(tmp_path):
  write_records(numbers(), tmp_path / 'other')
  write_records(numbers(), tmp_path / 'set')
  (tmp_path / 'set' / 'records-00000-of-00001.array_record').unlink()
  change('"records-00000', '"../other/records-00000')(tmp_path / 'set' / 'manifest.json')
  with pytest.raises(FileNotFoundError, match='is missing'):
    read_records(tmp_path / 'set')
