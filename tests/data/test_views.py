"""Views: what is looked at is what the model gets."""

import numpy as np
import toys

from bigtrain import data
from bigtrain.data import views


def test_rows_are_those_that_the_first_step_trains_on():
  for batch in (8, 99, 29):  # Fewer than wanted; a divisor; a prime.
    batches = data.forever(toys.source(), batch, seed=3, map=toys.jitter, workers=1)
    rows = views.first_rows(batches)
    whole = batches[0]
    assert len(rows['label']) == {8: 8, 99: 33, 29: 29}[batch]
    for key, values in rows.items():
      np.testing.assert_array_equal(values, whole[key][: len(values)])


def test_padding_is_not_shown():
  rows = views.first_rows(data.once(toys.source(5), 8))
  np.testing.assert_array_equal(rows['image'], toys.source(5).columns['image'])


def test_a_row_is_the_runs_of_its_documents():
  source = data.arrays(text=['ab', 'cde', 'f' * 30])
  for packed in (data.pack(source, 12), data.pack_documents(source, 12, method='best_fit')):
    for row in range(len(packed)):
      record_ = packed[row]
      found = views.runs(record_['inputs'], 256, 0, record_.get('segment_ids'))
      np.testing.assert_array_equal(np.concatenate([r.tokens for r in found]), record_['inputs'])
      for run in found:
        if run.kind == 'text':  # No two documents in one run: each has letters of its own.
          kinds = {'ab', 'cde', 'f'}
          spelled = bytes(run.tokens.tolist()).decode()
          assert sum(set(spelled) <= set(kind) for kind in kinds) == 1
  first = views.runs(data.pack(source, 12)[0]['inputs'], 256, 0)
  assert [run.kind for run in first] == ['end', 'text', 'end', 'text', 'end', 'text']
  assert [run.document for run in first] == [1, 1, 2, 2, 3, 3]
  row = data.pack_documents(data.arrays(text=['ab', 'cde']), 12)[0]
  last = views.runs(row['inputs'], 256, 0, row['segment_ids'])[-1]
  assert (last.kind, len(last.tokens)) == ('padding', 5)


def test_a_token_outside_of_the_vocabulary_is_shown_as_its_number():
  found = views.runs(np.array([5, 300, 300, 6]), 256, None)
  assert [(run.kind, len(run.tokens)) for run in found] == [
    ('text', 1), ('special', 1), ('special', 1), ('text', 1)
  ]  # fmt: skip


def test_lengths_of_documents_are_those_that_were_packed():
  texts = ['a' * n for n in (1, 3, 3, 70)]
  packed = data.pack(data.arrays(text=texts), 8)
  np.testing.assert_array_equal(views.document_lengths(packed), [1, 3, 3, 70])
  assert views.document_lengths(data.pack(data.arrays(text=texts), 8, data.Characters('a'))) is None
  assert views.histogram(np.array([0, 1, 2, 3, 4, 7, 8])) == {
    '0': 1, '1': 1, '2 to 3': 2, '4 to 7': 2, '8 to 15': 1
  }  # fmt: skip


def test_pictures_keep_bytes_and_spread_other_numbers():
  raw = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
  np.testing.assert_array_equal(views.pictures(raw)[0], raw)
  shares = np.array([0.0, 0.5]).reshape(1, 1, 2, 1)
  assert views.pictures(shares)[0].tolist() == [[[0, 128]]]
  pixels, ends = views.pictures(np.array([-2.0, 1.0, 4.0]).reshape((1, 1, 3, 1)))
  assert (pixels.tolist(), ends) == ([[[0, 128, 255]]], (-2.0, 4.0))


def test_a_tone_is_dark_at_its_frequency():
  seconds = np.arange(16_000) / 16_000
  shown = views.spectrogram(np.sin(2 * np.pi * 2_000 * seconds).astype(np.float32))
  assert shown.shape[0] == 257
  row = shown.mean(axis=1).argmin()
  assert (256 - row) * 16_000 / 512 == 2_000
  assert (views.spectrogram(np.zeros(10, np.float32)) == 255).all()


def test_statistics_of_a_column_leave_out_what_is_missing():
  values = np.array([[1, np.nan], [3, np.nan]], np.float32)
  first, second = views.statistics(values, ['a', 'b'])
  assert first == ('a', 1, 2, 3, 0)
  assert second[4] == 2
  assert np.isnan(second[1])
