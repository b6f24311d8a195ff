"""Files are found by folder and glob, here and remote, alike for every source."""

import gzip
import json
import wave

import fsspec
import numpy as np
import pytest
from PIL import Image
from toys import check_sentence

from bigtrain import data
from bigtrain.data import finding


@pytest.fixture(params=['here', 'file', 'memory'])
def place(request, tmp_path, monkeypatch):
  """Returns a path of files that lie here, at file:// or at memory://."""
  monkeypatch.setenv('BIGTRAIN_CACHE', str(tmp_path / 'cache'))
  root = tmp_path / 'root'
  for label, name in enumerate('ab'):
    (root / 'images' / name).mkdir(parents=True)
    (root / 'deep' / name / name).mkdir(parents=True)
    Image.new('L', (4, 4), 9 * label).save(root / 'images' / name / 'x.PNG')
    (root / 'deep' / name / name / 't.txt').write_text(name)
    line = json.dumps({'text': name}).encode() + b'\n'
    (root / 'deep' / name / name / 'l.jsonl.gz').write_bytes(gzip.compress(line))
    (root / 'deep' / name / 't.csv').write_text(f'x\n{label}\n')
    (root / 'deep' / name / name / 't.csv.gz').write_bytes(gzip.compress(b'x\n7\n'))
    with wave.open(str(root / 'images' / name / 'x.wav'), 'wb') as sound:
      sound.setparams((1, 2, 8000, 3, 'NONE', ''))
      sound.writeframes(np.full(3, 2**14 * label, '<i2').tobytes())
  data.write_records(data.arrays(x=np.arange(5)), root / 'set', shards=2)
  if request.param == 'here':
    yield str(root)
  elif request.param == 'file':
    yield f'file://{root}'
  else:
    memory = fsspec.filesystem('memory')
    memory.put(str(root), '/test_finding', recursive=True)
    yield 'memory://test_finding'
    memory.rm('/test_finding', recursive=True)


def test_every_source_finds_its_files_in_depth_and_by_globs(place):
  for paths in (f'{place}/deep', f'{place}/deep/**/*.txt', [f'{place}/deep/{n}' for n in 'ab']):
    assert data.text_files(paths).column('text').tolist() == ['a', 'b']
  assert data.text_files(f'{place}/deep').column('path').tolist() == ['a/a/t.txt', 'b/b/t.txt']
  for paths in (f'{place}/deep', f'{place}/**/*.jsonl.gz'):
    lines = data.json_lines(paths)
    assert [lines[i]['text'] for i in (1, 0)] == ['b', 'a']
  assert data.csv(f'{place}/deep').column('features')[:, 0].tolist() == [7, 0, 7, 1]
  assert data.csv(f'{place}/deep/*/t.csv').column('features')[:, 0].tolist() == [0, 1]
  images = data.image_folder(f'{place}/images', channels=1)
  assert [(r['image'].max(), r['label']) for r in (images[0], images[1])] == [(0, 0), (9, 1)]
  assert images.column('path').tolist() == ['a/x.PNG', 'b/x.PNG']
  for target in ('class', 'name'):
    sounds = data.audio_folder(f'{place}/images', target=target, classes=['b', 'a'])
    assert [sounds[i]['audio'].max() for i in (0, 1)] == [0.5, 0]
    assert sounds.column('path').tolist() == ['b/x.wav', 'a/x.wav']


def test_array_records_are_read_from_anywhere_and_copied_once(place, monkeypatch):
  read = data.read_records(f'{place}/set', verify=True)
  assert [read[i]['x'] for i in range(5)] == list(range(5))
  files = finding.brought_here('data.test', f'{place}/set/*.array_record')
  assert len(files) == 2
  monkeypatch.setattr(finding, '_copy', None)
  assert finding.brought_here('data.test', f'{place}/set/*.array_record') == files
  raw = data.array_records(f'{place}/set/*.array_record', lambda raw: {'bytes': raw})
  assert len(raw) == 5


@pytest.mark.parametrize(
  ('load', 'words'),
  [
    (lambda p: data.text_files(f'{p}/gone'), ['data.text_files', '/gone', 'check the path']),
    (lambda p: data.text_files(f'{p}/*.md'), ['data.text_files', '/*.md', 'check the path']),
    (lambda p: data.csv(f'{p}/images'), ['data.csv', '.csv', 'images']),
    (lambda p: data.image_folder(f'{p}/gone'), ['data.image_folder', '/gone', 'class']),
    (lambda p: data.image_folder(f'{p}/deep'), ['data.image_folder', 'deep/a', '.png']),
    (
      lambda p: data.audio_folder(f'{p}/images', target='name', classes=['../set']),
      ['data.audio_folder', "'../set'", 'a, b'],
    ),
  ],
)
def test_what_is_not_there_is_named(load, words, place):
  check_sentence(lambda: load(place), words, 'data.', (ValueError, FileNotFoundError))


def test_an_unknown_scheme_is_named_with_its_cure():
  check_sentence(lambda: data.csv('nowhere://x/*.csv'), ['nowhere', 'bring'], 'data.csv')


def test_a_name_that_leaves_the_folder_is_not_copied(monkeypatch):
  memory = fsspec.filesystem('memory')
  memory.store['/test_leaving/../../x'] = memory.open('/test_leaving_x', 'wb')
  leaving = finding.File('memory://test_leaving/../../x', 'x')
  monkeypatch.setattr(finding, 'find', lambda *_: [leaving])
  monkeypatch.setattr(finding, '_copy', None)
  check_sentence(
    lambda: finding.brought_here('data.test', 'memory://test_leaving'), ['leaves'], 'data.test'
  )
  memory.store.clear()
