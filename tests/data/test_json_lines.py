"""JSON lines give the objects that were written, and a damaged file ends in one sentence."""

import gzip
import json

import numpy as np
import pytest

from bigtrain import data
from bigtrain.data.lines import json_lines

ROWS = [{'text': f'line {i} é', 'label': i % 3, 'score': i / 2, 'ids': [i] * i} for i in range(50)]


def lines(rows):
  return ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows).encode()


def packed(ending, content):
  if ending == '.gz':
    return gzip.compress(content)
  if ending == '.zst':
    zstandard = pytest.importorskip('zstandard', reason='pip install zstandard')
    # Two frames, as programs that append write them.
    half = len(content) // 2
    pack = zstandard.ZstdCompressor().compress
    return pack(content[:half]) + pack(content[half:])
  return content


@pytest.mark.parametrize('ending', ['', '.gz', '.zst'])
def test_records_are_those_written_in_any_order(tmp_path, ending):
  path = tmp_path / f'a.jsonl{ending}'
  path.write_bytes(packed(ending, lines(ROWS)))
  source = json_lines(path)
  assert len(source) == 50
  for i in (49, 0, 7):
    assert source[i]['text'] == f'line {i} é'
    assert source[i]['score'] == i / 2
    assert source[i]['ids'].tolist() == [i] * i
    assert source[i]['ids'].dtype == np.int64
  got = source.__getitems__(np.array([3, 48, 3]))
  assert [row['label'] for row in got] == [0, 0, 0]
  assert [row['text'][:7] for row in got] == ['line 3 ', 'line 48', 'line 3 ']
  assert source.about['skipped'] == 0
  assert source.about['bytes_in_memory'] == (len(lines(ROWS)) if ending else 0)
  with pytest.raises(IndexError):
    source[50]
  plain = tmp_path / 'plain.jsonl'
  plain.write_bytes(lines(ROWS))
  assert source.about['digest'] == json_lines(plain).about['digest']


def test_batches_and_splits_take_them(tmp_path):
  import cloudpickle

  (tmp_path / 'a.jsonl').write_bytes(lines(ROWS))
  source = json_lines(tmp_path / 'a.jsonl', keys=['label', 'score'])
  train, _ = data.split_stratified(source, 0.2, 0)
  batch = next(data.forever(train, 8).iterator())
  assert {key: str(values.dtype) for key, values in batch.items()} == {
    'label': 'int32',
    'score': 'float32',
  }
  assert cloudpickle.loads(cloudpickle.dumps(source))[9]['score'] == 4.5
  assert data.in_memory(source).column('score').tolist() == [i / 2 for i in range(50)]


def test_files_come_in_order_from_folders_globs_and_lists(tmp_path):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'b.jsonl').write_bytes(lines(ROWS[:2]))
  (tmp_path / 'in' / 'a.ndjson.gz').write_bytes(packed('.gz', lines(ROWS[2:3])))
  (tmp_path / 'notes.txt').write_text('no JSON')
  texts = [row['text'] for row in ROWS[:3]]
  for paths in (tmp_path, str(tmp_path / '**' / '*son*'), [tmp_path / 'b.jsonl', tmp_path / 'in']):
    assert data.column(json_lines(paths), 'text').tolist() == texts
  assert json_lines(tmp_path).about['files'] == 2


def test_odd_but_lawful_lines_are_read(tmp_path):
  content = b'\xef\xbb\xbf{"a": 1, "b": []}\r\n\n  \n{"b": [2.5], "a": 2.5}\r\n{"a": 3, "b": [1]}'
  (tmp_path / 'a.jsonl').write_bytes(content)
  source = json_lines(tmp_path / 'a.jsonl')
  assert [float(source[i]['a']) for i in range(3)] == [1, 2.5, 3]
  assert {str(source[i][key].dtype) for i in range(3) for key in 'ab'} == {'float64'}
  (tmp_path / 'b.jsonl').write_bytes(
    lines([{'t': ['x', 'yy'], 'm': [{'role': 'user'}], 'z': None}, {'t': [], 'm': [{}], 'z': 3}])
  )
  filled = json_lines(tmp_path / 'b.jsonl', defaults={'z': 7})
  assert [int(filled[i]['z']) for i in range(2)] == [7, 3]
  assert filled[0]['t'].tolist() == ['x', 'yy']
  assert filled[1]['t'].shape == (0,)
  assert filled[0]['m'] == [{'role': 'user'}]


GOOD = lines(ROWS)
CUT = 'cut or damaged'
# What a file holds, and the words that the sentence must hold.
DAMAGE = {
  'truncated gzip': (lambda: gzip.compress(GOOD)[:-40], [CUT, 'after line ', 'fetch']),
  'truncated zstd': (lambda: packed('.zst', GOOD)[:-40], [CUT, 'no end']),
  'flipped byte in zstd': (lambda: flipped(packed('.zst', GOOD)), [CUT]),
  'flipped byte in gzip': (lambda: flipped(gzip.compress(GOOD)), [CUT]),
  'invalid UTF-8': (lambda: GOOD + b'{"text": "\xff"}\n', ['line 51', 'UTF-8', 'byte 10']),
  'no JSON': (lambda: GOOD + b'{"text": \n', ['line 51', 'no JSON', "errors='skip'"]),
  'no object': (lambda: GOOD + b'[1, 2]\n', ['line 51', 'no JSON object', '[1, 2]']),
  'empty object': (lambda: b'{}\n', ['line 1', 'no JSON object']),
  'half a line': (lambda: GOOD[:-20], ['line 50', 'no JSON']),
  'missing key': (lambda: GOOD + b'{"text": "a"}', ['line 51', "'label'", 'missing', 'defaults=']),
  'null': (lambda: b'{"a": null}\n', ['line 1', "'a'", 'null', 'defaults=']),
  'added key': (lambda: b'{"a": 1}\n{"a": 1, "z": 1}\n', ['line 2', "'z'", 'keys=']),
  'changed type': (lambda: b'{"a": 1}\n\n{"a": "1"}\n', ['line 3', "'a'", 'text', 'integer']),
  'changed list': (lambda: b'{"a": [1]}\n{"a": ["1"]}', ['line 2', "'a'", 'list of text']),
  'list no more': (lambda: b'{"a": [1]}\n{"a": 1}', ['line 2', "'a'", 'list of integer']),
  'no number': (lambda: b'{"a": NaN}\n', ['line 1', "'a'", 'finite']),
  'wide integer': (lambda: b'{"a": [1, %d]}\n' % 2**70, ['line 1', "'a'", '64 bits']),
  'deep': (lambda: b'{"a": ' + b'[' * 200_000, ['line 1', 'no JSON']),
  'empty': (lambda: b'', ['no record']),
  'blank': (lambda: b'\n\n', ['no record']),
}


def flipped(content):
  middle = len(content) // 2
  return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize('name', DAMAGE)
def test_a_damaged_file_ends_in_a_sentence(name, tmp_path):
  make, words = DAMAGE[name]
  (tmp_path / 'a.jsonl').write_bytes(make())
  with pytest.raises(ValueError, match=r'^data\.json_lines: ') as caught:
    json_lines(tmp_path / 'a.jsonl')
  said = str(caught.value)
  assert [word for word in [*words, 'a.jsonl'] if word not in said] == [], said
  assert '\n' not in said


def test_a_cut_names_the_last_whole_line(tmp_path):
  content = lines([{'x': float(value)} for value in np.random.default_rng(0).random(50_000)])
  path = tmp_path / 'a.jsonl.gz'
  for share in (0.3, 0.8):
    path.write_bytes(gzip.compress(content)[: int(share * len(gzip.compress(content)))])
    with pytest.raises(ValueError, match=r'after line (\d+)') as caught:
      json_lines(path)
    line = int(str(caught.value).split('after line ')[1].split()[0])
    assert abs(line / 50_000 - share) < 0.02


def test_a_named_compression_that_is_none_is_refused(tmp_path):
  (tmp_path / 'a.jsonl.gz').write_bytes(GOOD)
  with pytest.raises(ValueError, match=r'a\.jsonl\.gz begins as no compressed file'):
    json_lines(tmp_path / 'a.jsonl.gz')


def test_skipping_is_counted_and_bounded(tmp_path):
  bad = [b'{"text": "\xff"}\n', b'no\n', b'{"text": 1, "label": 0, "score": 0.5, "ids": []}\n']
  path = tmp_path / 'a.jsonl'
  rows = lines(ROWS).splitlines(keepends=True)
  path.write_bytes(b''.join([*rows[:20], bad[0], *rows[20:40], bad[1], bad[2], *rows[40:]]))
  source = json_lines(path, errors='skip', most_skipped=0.06)
  assert len(source) == 50
  assert [source[i]['label'] for i in range(50)] == [row['label'] for row in ROWS]
  assert source.about['skipped'] == 3
  assert 'line 21' in source.about['first_skipped']
  with pytest.raises(ValueError, match=r'3 of 53 lines are bad.*most_skipped=0\.01.*line 21'):
    json_lines(path, errors='skip')
  # A cut file has lost nobody knows how many lines.
  path.write_bytes(gzip.compress(lines(ROWS))[:-40])
  with pytest.raises(ValueError, match=CUT):
    json_lines(path, errors='skip', most_skipped=1.0)


def test_arguments_are_checked(tmp_path):
  with pytest.raises(ValueError, match='raise or skip'):
    json_lines(tmp_path, errors='ignore')
  with pytest.raises(ValueError, match=r'\[0, 1\], got 5'):
    json_lines(tmp_path, errors='skip', most_skipped=5)
  with pytest.raises(FileNotFoundError, match='gone'):
    json_lines(tmp_path / 'gone.jsonl')
  (tmp_path / 'notes.txt').write_text('no JSON')
  with pytest.raises(FileNotFoundError, match=r'no file ending in \.jsonl, '):
    json_lines(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_bytes(lines(ROWS))
  source = json_lines(path)
  path.write_bytes(lines(ROWS[:9]))
  with pytest.raises(ValueError, match=r'a\.jsonl.*was good when the source was opened'):
    source[40]
  path.write_bytes(lines(ROWS).replace('"line 0 é"'.encode(), b'12345678901'))
  with pytest.raises(
    ValueError, match=r"'text' holds integer.*was good when the source was opened"
  ):
    source[0]


def test_a_record_is_read_alone(tmp_path):
  path = tmp_path / 'a.jsonl'
  content = lines([{'text': 'x' * 1000, 'label': i} for i in range(5000)])
  path.write_bytes(content)
  source = json_lines(path)
  assert source.about['bytes_in_memory'] == 0
  assert source.start.nbytes + source.stop.nbytes + source.file.nbytes == 20 * 5000
  path.write_bytes(b'?' * (len(content) - 2000) + content[-2000:])
  assert source[4999]['label'] == 4999
  with pytest.raises(ValueError, match='no JSON'):
    source[0]
