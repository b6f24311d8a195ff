"""Cleaning by Apache Beam gives the same bytes and the same ledger as cleaning here."""

import json

import numpy as np
import pytest
from toys import check_sentence

from bigtrain import data
from bigtrain.data import beam_cleaning

pytest.importorskip('apache_beam', reason="needs Beam: pip install 'bigtrain[beam]'")


class Raw:
  """Texts with pictures of any height; some cannot be read, some are copies of others."""

  def __init__(self):
    self.about = {'name': 'raw', 'documents': 40}

  def __len__(self):
    return 40

  def __getitem__(self, index):
    if index in (5, 33):
      raise OSError(f'file {index} is cut')
    text = f'# Copyright {index}\nx = {index % 11}  \n' if index % 3 else f'y = {index}\n'
    return {
      'text': text + 'z = (\n' * (index % 13 == 7),
      'image': np.full((1 + index % 4, 2), index),
      'tags': np.array(['a', 'b'] * (index % 2), object),
    }


STEPS = data.remove_licence_header(), data.drop_unparsable()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
  monkeypatch.setattr(beam_cleaning, '_CHUNK', 7)


def content(folder):
  manifest = json.loads((folder / 'manifest.json').read_text())
  return manifest, {path.name: path.read_bytes() for path in folder.glob('*.array_record')}


@pytest.mark.parametrize('copies', ['keep', 'drop'])
def test_records_ledger_and_report_equal_those_made_here(tmp_path, copies):
  cleaned = data.clean(Raw(), *STEPS, unreadable='drop')
  left = data.drop_duplicates(cleaned, near=False) if copies == 'drop' else cleaned
  here, there = tmp_path / 'here', tmp_path / 'there'
  data.write_records(left, here, shards=3, licence='MIT', ledger=cleaned.ledger.to_dict())
  manifest = data.clean_with_beam(
    Raw(), there, *STEPS, unreadable='drop', copies=copies, shards=3, licence='MIT'
  )
  assert content(there) == content(here)
  assert manifest == content(here)[0]
  assert data.Ledger.from_dict(manifest['ledger']) == cleaned.ledger
  assert cleaned.ledger.counts['read', 'dropped', 'unreadable'] == 2
  assert 0 < cleaned.ledger.totals['changed'] < len(cleaned) < 38
  if copies == 'drop':
    report = manifest['source']['duplicates']
    assert report['exact'] > 5  # More than are shown.
    assert report == json.loads(json.dumps(left.about['duplicates']))
  read = data.read_records(there, verify=True)
  assert [read[i]['text'] for i in range(len(read))] == [left[i]['text'] for i in range(len(left))]


def test_arrays_in_memory_and_a_lambda(tmp_path):
  source = data.arrays(x=np.arange(20), text=[f'{i % 6}' for i in range(20)])

  def step(record):
    return data.Drop('odd') if record['x'] % 2 else {**record, 'x': record['x'] * 2}

  data.write_records(data.clean(source, step), tmp_path / 'here')
  data.clean_with_beam(source, tmp_path / 'there', step)
  assert content(tmp_path / 'there')[1] == content(tmp_path / 'here')[1]


def drop_all(record):
  del record
  return data.Drop('all')


def test_sentences(tmp_path):
  def run(*steps, folder='set', **more):
    return data.clean_with_beam(Raw(), tmp_path / folder, *steps, **more)

  check_sentence(lambda: run(unreadable='skip'), ["'skip'"], 'data.clean_with_beam')
  check_sentence(lambda: run(shards=50), ['shards', '50'], 'data.clean_with_beam')
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'mine.txt').write_text('x')
  check_sentence(lambda: run(folder='full'), ['holds something'], 'data.clean_with_beam')
  for steps, more, words in (
    ((), {}, 'data.clean: record 5 cannot be read .* is cut'),
    ((drop_all,), {'unreadable': 'drop'}, 'all records are dropped'),
  ):
    with pytest.raises((ValueError, RuntimeError), match=words):
      run(*steps, **more)
  assert not (tmp_path / 'set' / 'manifest.json').exists()
  assert (tmp_path / 'full' / 'mine.txt').read_text() == 'x'
