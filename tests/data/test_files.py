"""A person's own files give the records that were put in, in a stable order."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

from bigtrain import data


def write_array_records(path, count, start=0):
  from array_record.python import array_record_module

  writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
  for i in range(start, start + count):
    writer.write(json.dumps({'x': [i, 2 * i], 'label': i % 3}).encode())
  writer.close()


def decode(raw):
  record = json.loads(raw)
  return {'x': np.array(record['x'], np.float32), 'label': record['label']}


def test_array_records_come_file_after_file(tmp_path):
  write_array_records(tmp_path / 'part-0.array_record', 5)
  write_array_records(tmp_path / 'part-1.array_record', 4, 5)
  source = data.array_records(str(tmp_path / 'part-*'), decode)
  assert len(source) == 9
  assert [source[i]['x'][0] for i in range(9)] == list(range(9))
  (batch,) = data.once(source, 10)
  assert batch['x'][:9, 1].tolist() == [2 * i for i in range(9)]
  assert batch['label'].dtype == np.int32
  train, held_out = data.split_stratified(source, 0.34, 0)
  assert sorted([*train.column('x')[:, 0], *held_out.column('x')[:, 0]]) == list(range(9))
  assert np.array_equal(data.in_memory(held_out).column('x'), held_out.column('x'))
  assert next(data.forever(train, 2).iterator())['x'].shape == (2, 2)


def test_array_records_reach_a_worker(tmp_path):
  import cloudpickle

  write_array_records(tmp_path / 'a.array_record', 5)
  source = data.array_records(tmp_path / 'a.array_record', decode)
  assert source[2]['label'] == 2
  assert cloudpickle.loads(cloudpickle.dumps(source))[4]['x'].tolist() == [4, 8]


def test_text_files_of_a_folder(tmp_path):
  (tmp_path / 'b').mkdir()
  (tmp_path / 'b' / 'two.txt').write_bytes('zwei\r\nZeilen ü\n'.encode())
  (tmp_path / 'one.txt').write_text('first\n\nsecond')
  (tmp_path / 'other.md').write_text('no')
  source = data.text_files(tmp_path)
  assert source.column('path').tolist() == ['b/two.txt', 'one.txt']
  assert source.column('text').tolist() == ['zwei\r\nZeilen ü\n', 'first\n\nsecond']
  lines = data.text_files(str(tmp_path / '**' / '*.txt'), per='line')
  assert lines.column('text').tolist() == ['zwei', 'Zeilen ü', 'first', 'second']
  assert data.text_files([tmp_path / 'other.md', tmp_path / 'one.txt'])[0]['text'] == 'no'


def test_a_split_of_a_text_folder_survives_a_move(tmp_path):
  for folder in ('here', 'there'):
    (tmp_path / folder).mkdir()
    for i in range(30):
      (tmp_path / folder / f'{i}.txt').write_text(f'text {i}')
  here, there = (
    data.split_by_document(data.text_files(tmp_path / folder), 0.2)[1].column('path').tolist()
    for folder in ('here', 'there')
  )
  assert here == there


def write_images(root, sizes=((6, 5),)):
  rng = np.random.default_rng(0)
  pixels = {}
  for label, name in enumerate(['ant', 'bee']):
    (root / name).mkdir(parents=True)
    for i in range(3):
      height, width = sizes[(i + label) % len(sizes)]
      image = rng.integers(0, 255, (height, width, 3), np.uint8)
      Image.fromarray(image).save(root / name / f'{i}.png')
      pixels[f'{name}/{i}.png'] = image
  (root / 'ant' / 'notes.txt').write_text('no image')
  return pixels


def test_an_image_folder_gives_pixels_and_labels(tmp_path):
  pixels = write_images(tmp_path)
  source = data.image_folder(tmp_path)
  assert len(source) == 6
  assert source.about['classes'] == ('ant', 'bee')
  for i, path in enumerate(source.column('path')):
    assert np.array_equal(source[i]['image'], pixels[path])
    assert source[i]['label'] == ['ant', 'bee'].index(path.split('/')[0])
  assert data.forever(source, 2).spec == {
    'image': ((2, 6, 5, 3), np.dtype('uint8')),
    'label': ((2,), np.dtype('int32')),
  }
  assert data.image_folder(tmp_path, channels=1)[0]['image'].shape == (6, 5, 1)
  assert (
    data.image_folder(tmp_path, classes=['bee', 'ant']).column('label').tolist()
    == [0] * 3 + [1] * 3
  )
  train, held_out = data.split_by_hash(source, 0.4, key='path')
  assert not set(train.column('path')) & set(held_out.column('path'))
  assert np.array_equal(data.in_memory(train).column('image')[0], train[0]['image'])


def test_images_of_different_sizes_are_resized(tmp_path):
  write_images(tmp_path, ((6, 5), (40, 80)))
  source = data.image_folder(tmp_path, size=(8, 12))
  assert all(source[i]['image'].shape == (8, 12, 3) for i in range(6))
  assert data.image_folder(tmp_path, size=7)[0]['image'].shape == (7, 7, 3)


def test_a_jpeg_that_is_shrunk_keeps_its_colours(tmp_path):
  (tmp_path / 'a').mkdir()
  image = np.zeros((256, 512, 3), np.uint8)
  image[:, 256:] = (200, 100, 50)
  Image.fromarray(image).save(tmp_path / 'a' / 'x.jpg', quality=95)
  small = data.image_folder(tmp_path, size=(4, 8))[0]['image']
  assert np.abs(small[:, :3].astype(int)).max() < 12
  assert np.abs(small[:, 5:].astype(int) - [200, 100, 50]).max() < 12


TABLE = 'age,name,score,fur\n3,ant,0.5,red\n4,bee,1.5,\n5,ant,2.5,blue\n'


def as_csv(folder):
  (folder / 't.csv').write_text(TABLE)
  return data.csv, folder / 't.csv'


def as_parquet(folder):
  import pyarrow.csv
  import pyarrow.parquet

  as_csv(folder)
  pyarrow.parquet.write_table(pyarrow.csv.read_csv(folder / 't.csv'), folder / 't.parquet')
  return data.parquet, folder / 't.parquet'


@pytest.mark.parametrize('write', [as_csv, as_parquet])
def test_a_table_becomes_features_categories_and_labels(tmp_path, write):
  read, path = write(tmp_path)
  source = read(path, label='name')
  assert source.column('features').tolist() == [[3, 0.5], [4, 1.5], [5, 2.5]]
  assert source.column('categories').tolist() == [[2], [0], [1]]
  assert source.column('label').tolist() == [0, 1, 0]
  assert source.about['classes'] == ('ant', 'bee')
  assert source.about['features'] == ('age', 'score')
  assert source.about['categories'] == {'fur': ('', 'blue', 'red')}
  assert {key: str(kind) for key, (_, kind) in data.once(source, 2).spec.items()} == {
    'features': 'float32',
    'categories': 'int32',
    'label': 'int32',
    'weight': 'float32',
  }
  regression = read(path, label='score', columns=['age'])
  assert regression.column('features').tolist() == [[3], [4], [5]]
  assert regression.column('label').dtype == np.float32
  text = read(path, label='age', text='fur', columns=[])
  assert text.column('text').tolist() == ['red', '', 'blue']
  assert text.column('label').tolist() == [3, 4, 5]


def test_several_tables_are_one(tmp_path):
  (tmp_path / 'a.csv').write_text('x,y\n1,2\n')
  (tmp_path / 'b.csv').write_text('x,y\n1.5,2\n')
  assert data.csv(tmp_path).column('features').tolist() == [[1, 2], [1.5, 2]]


def test_missing_numbers_are_filled_where_asked(tmp_path):
  (tmp_path / 'a.csv').write_text('x,y\n1,2\n,3\n')
  assert data.csv(tmp_path / 'a.csv', missing=-1.0).column('features').tolist() == [[1, 2], [-1, 3]]


def test_fashion_is_found_and_read(tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
  (tmp_path / 'fashion-mnist').mkdir()
  for name, content in {
    't10k-images-idx3-ubyte.gz': b'\0\0\x08\x03'
    + np.array([3, 28, 28], '>i4').tobytes()
    + images.tobytes(),
    't10k-labels-idx1-ubyte.gz': b'\0\0\x08\x01'
    + np.array([3], '>i4').tobytes()
    + bytes([7, 0, 9]),
  }.items():
    (tmp_path / 'fashion-mnist' / name).write_bytes(gzip.compress(content))
  source = data.fashion('test')
  assert np.array_equal(source.column('image')[..., 0], images)
  assert source.column('label').tolist() == [7, 0, 9]
  assert source.about['classes'][9] == 'Ankle boot'
