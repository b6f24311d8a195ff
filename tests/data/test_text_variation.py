"""Text is corrupted and rearranged so that nothing of it is lost, and the right targets count."""

import numpy as np
import pytest

from bigtrain.data.draws import Draws
from bigtrain.data.packing import pack
from bigtrain.data.sources import arrays
from bigtrain.data.text_variation import (
  fill_in_the_middle,
  span_corruption,
  span_lengths,
  token_dropout,
)

ROWS, LENGTH = 48, 100
SENTINELS = range(256, 356)
PREFIX, SUFFIX, MIDDLE, END = 256, 257, 258, 259


def batch(length=LENGTH, rows=ROWS):
  line = np.random.default_rng(0).integers(0, 256, (rows, length + 1)).astype(np.int32)
  size = np.random.default_rng(1).integers(1, 5, (rows, length)).astype(np.float32)
  return {'inputs': line[:, :-1], 'targets': line[:, 1:], 'bytes': size, 'other': np.arange(rows)}


def draws(start=0, stop=None, rows=ROWS):
  return Draws(7, 0, rows, start, stop)


MAPS = {
  'token_dropout': token_dropout(256, 0.3),
  'spans': span_corruption(SENTINELS, end=0),
  'spans for two': span_corruption(SENTINELS, layout='encoder_decoder'),
  'middle': fill_in_the_middle(PREFIX, SUFFIX, MIDDLE, end=END),
}


@pytest.mark.parametrize('name', MAPS)
def test_a_row_is_the_same_however_many_hosts_there_are(name):
  before = batch()
  whole = MAPS[name](before, draws())
  assert whole['other'] is before['other']
  for hosts in (2, ROWS):
    rows = ROWS // hosts
    parts = [
      MAPS[name]({k: v[i : i + rows] for k, v in before.items()}, draws(i, i + rows))
      for i in range(0, ROWS, rows)
    ]
    for key, values in whole.items():
      assert np.array_equal(np.concatenate([part[key] for part in parts]), values), key
      assert values.dtype == (np.int64 if key == 'other' else before.get(key, values).dtype)
  assert np.array_equal(before['inputs'], batch()['inputs'])


def test_dropped_inputs_are_replaced_and_targets_stay():
  before = batch()
  got = token_dropout(300, 0.25)(before, draws())
  gone = got['inputs'] != before['inputs']
  assert (got['inputs'][gone] == 300).all()
  assert abs(gone.mean() - 0.25) < 0.02
  assert got['targets'] is before['targets']


def spans(tokens, sentinels=SENTINELS):
  """Returns what follows each sentinel, up to the next."""
  found, parts = [], [[]]
  for token in tokens:
    if token in sentinels:
      found.append(token)
      parts.append([])
    else:
      parts[-1].append(token)
  return found, parts


@pytest.mark.parametrize('length', [2, 10, 100, 511])
@pytest.mark.parametrize('end', [None, 0])
def test_a_corrupted_text_is_recovered_from_what_is_told(length, end):
  before = batch(length)
  taken, count, total = span_lengths(length)
  map_ = span_corruption(SENTINELS, end=end, layout='encoder_decoder')
  got = map_(before, draws())
  ends = end is not None
  assert got['inputs'].shape[1] == length - taken + count + ends
  assert got['targets'].shape[1] == taken + count + ends
  assert total == length + 2 * count
  assert (got['token_weight'] == 1).all()
  assert got['token_weight'].shape == got['targets'].shape
  assert np.array_equal(got['decoder_inputs'][:, 1:], got['targets'][:, :-1])
  starts = []
  for row in range(ROWS):
    inputs, targets = (got[key][row].tolist() for key in ('inputs', 'targets'))
    if ends:
      assert inputs.pop() == targets.pop() == end
    marks, kept = spans(inputs)
    told_marks, told = spans(targets)
    assert marks == told_marks == list(SENTINELS[:count])
    assert told[0] == []
    assert all(told[1:])
    assert all(kept[:-1])
    text = [
      token for pair in zip(kept, [*told[1:], []], strict=True) for token in (*pair[0], *pair[1])
    ]
    assert text == before['targets'][row].tolist()
    assert got['bytes'][row].sum() == pytest.approx(taken_bytes(before, row, kept, told))
    starts.append(len(kept[0]))
  assert length < 100 or len(set(starts)) > 5


def taken_bytes(before, row, kept, told):
  total, place = 0.0, 0
  for stays, goes in zip(kept, [*told[1:], []], strict=True):
    place += len(stays)
    total += before['bytes'][row, place : place + len(goes)].sum()
    place += len(goes)
  return total


def test_a_decoder_reads_the_corrupted_text_and_tells_the_spans():
  before = batch()
  two = span_corruption(SENTINELS, end=0, layout='encoder_decoder')(before, draws())
  one = span_corruption(SENTINELS, end=0)(before, draws())
  line = np.concatenate([two['inputs'], two['targets']], -1)
  assert np.array_equal(one['targets'], line)
  assert np.array_equal(one['inputs'][:, 1:], line[:, :-1])
  assert np.array_equal(one['inputs'][:, 0], before['inputs'][:, 0])
  counts = one['token_weight'] == 1
  assert np.array_equal(counts, np.arange(line.shape[1]) >= two['inputs'].shape[1] + 0 * counts)
  assert np.allclose(one['bytes'].sum(-1), before['bytes'].sum(-1))
  assert (one['bytes'][line >= 256] == 0).all()
  assert np.array_equal(one['bytes'][:, two['inputs'].shape[1] :], two['bytes'])


def test_lengths_are_those_that_t5_computes():
  # random_spans_helper(512): 568 tokens leave inputs of 512 and targets of 114, ends included.
  taken, count, _ = span_lengths(568)
  assert (568 - taken + count + 1, taken + count + 1) == (512, 114)
  assert span_lengths(512) == (77, 26, 564)  # 76.8 tokens, rounded.
  longer, more, _ = span_lengths(569)
  assert 569 - longer + more + 1 > 512


def test_all_ways_to_cut_a_text_are_alike():
  rows = 6000
  before = batch(6, rows)
  map_ = span_corruption(SENTINELS, density=0.5, span=1.5, layout='encoder_decoder')
  got = map_(before, draws(rows=rows))
  # 3 tokens stay and 3 go, each in two pieces: 2 ways by 2.
  marks = [np.argmax(got['inputs'] == 256, -1), np.argmax(got['targets'] == 257, -1)]
  _, counts = np.unique(np.stack(marks), axis=1, return_counts=True)
  assert len(counts) == 4
  assert np.allclose(counts / rows, 1 / 4, atol=0.03)


def unmoved(line, end):
  """Returns the three parts of a text that was rearranged, and how it was."""
  assert line[0] == PREFIX
  assert end is None or line.pop() == end
  suffix, middle = line.index(SUFFIX), line.index(MIDDLE)
  assert suffix < middle
  beginning, rest, last = line[1:suffix], line[suffix + 1 : middle], line[middle + 1 :]
  return beginning, last, rest


@pytest.mark.parametrize('end', [None, END])
@pytest.mark.parametrize('spm', [0.0, 1.0])
def test_a_text_is_recovered_from_its_rearrangement(spm, end):
  before, marks = batch(), 3 if end is None else 4
  got = fill_in_the_middle(PREFIX, SUFFIX, MIDDLE, rate=0.7, spm=spm, end=end)(before, draws())
  length = LENGTH + marks
  moved = (got['targets'] == PREFIX).any(-1)
  assert 24 < moved.sum() < 44
  assert np.array_equal(got['inputs'][:, 1:], got['targets'][:, :-1])
  assert np.array_equal(got['inputs'][:, 0], before['inputs'][:, 0])
  parts = []
  for row in range(ROWS):
    text = before['targets'][row].tolist()
    if moved[row]:
      beginning, last, rest = unmoved(got['targets'][row].tolist(), end)
      assert spm == 0 or not beginning
      assert beginning + last + rest == text
      assert (got['token_weight'][row] == 1).all()
      parts.append((len(beginning), len(rest)))
    else:
      assert got['targets'][row, :LENGTH].tolist() == text
      assert np.array_equal(got['token_weight'][row], np.arange(length) < LENGTH)
      assert np.array_equal(got['bytes'][row, :LENGTH], before['bytes'][row])
    added = got['targets'][row] >= PREFIX
    assert added.sum() == (marks if moved[row] else 0)
    assert (got['bytes'][row][added] == 0).all()
    assert got['bytes'][row].sum() == before['bytes'][row].sum()
  assert len(set(parts)) > 15


def test_bytes_follow_their_tokens():
  before = batch()
  before['bytes'] = before['targets'].astype(np.float32)
  maps = (fill_in_the_middle(PREFIX, SUFFIX, MIDDLE, rate=1), span_corruption(SENTINELS))
  for got in (map_(before, draws()) for map_ in maps):
    assert np.array_equal(got['bytes'], np.where(got['targets'] < 256, got['targets'], 0))
  plain = {key: before[key] for key in ('inputs', 'targets')}
  assert fill_in_the_middle(PREFIX, SUFFIX, MIDDLE)(plain, draws())['bytes'].max() == 1


def test_the_beginning_in_spm_precedes_the_middle():
  text = np.arange(1, 21, dtype=np.int32)[None]
  before = {'inputs': text - 1, 'targets': text}
  got = fill_in_the_middle(PREFIX, SUFFIX, MIDDLE, rate=1, spm=1)(before, draws(rows=1))
  line = got['targets'][0].tolist()
  assert line[:2] == [PREFIX, SUFFIX]
  middle = line.index(MIDDLE)
  assert line[middle + 1 :] + line[2:middle] == text[0].tolist()


@pytest.mark.parametrize('map_', [span_corruption(SENTINELS), MAPS['middle']])
def test_packed_text_goes_in(map_):
  rows = pack(arrays(text=['a text that is long enough'] * 9), 40)
  got = map_(rows.__getitems__(np.arange(4)), draws(rows=4))
  assert got['inputs'].shape == got['targets'].shape == got['token_weight'].shape
  assert got['inputs'].dtype == np.int32


@pytest.mark.parametrize(
  ('do', 'words'),
  [
    (lambda: token_dropout(1, 3), ['token_dropout', '3']),
    (lambda: token_dropout(1, key='tokens')(batch(), draws()), ["'tokens'", 'inputs, other']),
    (lambda: span_corruption(SENTINELS, density=1.5), ['density', '1.5']),
    (lambda: span_corruption(SENTINELS, span=0), ['span', 'span=0']),
    (lambda: span_corruption(SENTINELS, layout='t5'), ['layout', "'t5'"]),
    (lambda: span_corruption([256])(batch(), draws()), ['5 spans', 'got 1', 'give more']),
    (lambda: span_corruption(range(99))(batch(), draws()), ['holds 0', 'vocabulary']),
    (lambda: fill_in_the_middle(1, 2, 2), ['[1, 2, 2]']),
    (lambda: fill_in_the_middle(1, 2, 3)(batch(), draws()), ['holds 1', 'vocabulary']),
    (lambda: fill_in_the_middle(256, 257, 258, spm=2), ['spm', '2']),
    (
      lambda: MAPS['middle']({**batch(), 'segment_ids': batch()['inputs']}, draws()),
      ["'segment_ids'", 'drop'],
    ),
    (lambda: MAPS['spans']({'targets': batch()['targets']}, draws()), ["'inputs'", 'targets']),
    (
      lambda: MAPS['spans']({**batch(), 'targets': batch()['bytes']}, draws()),
      ["'targets'", 'float32', 'integers [B, L]'],
    ),
  ],
)
def test_a_sentence(do, words):
  with pytest.raises(ValueError, match=r'^data\.') as caught:
    do()
  assert [word for word in words if word not in str(caught.value)] == []
