"""Types, texts and comments: how a signature reads as flags."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigtrain import flags
from bigtrain.kinds import kind_of, nearest, text

WORDS = st.text(st.characters(blacklist_categories=['Cs'], blacklist_characters='\r\n\0'))
VALUES = [
  (bool, st.booleans()),
  (int, st.integers()),
  (float, st.floats(allow_nan=False)),
  (str, WORDS),
  (Literal['adam', 'muon', 3, None], st.sampled_from(['adam', 'muon', 3, None])),
  (int | None, st.none() | st.integers()),
  (Optional[bool], st.none() | st.booleans()),  # noqa: UP045  # Allowed too.
  (tuple[int, ...], st.lists(st.integers()).map(tuple)),
  (tuple[str, ...], st.lists(WORDS).map(tuple)),
  (tuple[float, int], st.tuples(st.floats(allow_nan=False), st.integers())),
  (tuple[int | None, ...], st.lists(st.none() | st.integers()).map(tuple)),
  (tuple[int, ...] | None, st.none() | st.lists(st.integers(), min_size=1).map(tuple)),
]


@pytest.mark.parametrize(('kind', 'values'), VALUES, ids=[str(kind) for kind, _ in VALUES])
def test_what_is_written_reads_back_equal(kind, values):
  @given(values)
  def check(value):
    again = kind_of(kind).read(text(value))
    assert again == value
    assert type(again) is type(value)

  check()


@pytest.mark.parametrize(
  ('kind', 'word', 'value'),
  [
    (int, '2_000', 2000),
    (int, '1e3', 1000),
    (int, '-4', -4),
    (float, '3e-4', 3e-4),
    (float, '1', 1.0),
    (bool, 'True', True),
    (bool, '0', False),
    (int | None, 'None', None),
    (tuple[int, ...], '', ()),
    (tuple[int, ...], '1e3,2', (1000, 2)),
    (tuple[str, ...], 'a,"b,c"', ('a', 'b,c')),
  ],
)
def test_reads(kind, word, value):
  assert kind_of(kind).read(word) == value


def test_nan_is_a_float():
  assert math.isnan(kind_of(float).read('nan'))


@pytest.mark.parametrize(
  ('kind', 'word', 'sentence'),
  [
    (int, '4.5', 'an int is expected'),
    (int, '1e-3', 'an int is expected'),
    (int, '1e400', 'an int is expected'),
    (int, '1e17', 'an int is expected'),
    (int, 'nan', 'an int is expected'),
    (int, '', 'an int is expected'),
    (float, 'fast', 'a float is expected'),
    (bool, 'maybe', 'true or false'),
    (int | None, 'nothing', 'an int is expected'),
    (tuple[int, int], '1', '2 values'),
    (tuple[int, int], '1,2,3', '2 values'),
    (tuple[int, ...], '1,b', 'an int is expected'),
    (
      Literal['vit', 'convnet'],
      'convnets',
      'one of vit, convnet is expected: did you mean convnet',
    ),
  ],
)
def test_refuses_text(kind, word, sentence):
  with pytest.raises(ValueError, match=sentence):
    kind_of(kind).read(word)


@pytest.mark.parametrize(
  'kind',
  [
    list[int], dict, complex, int | str, int | float | None, tuple, tuple[tuple[int, ...], ...],
    Callable, Any, object, list, bytes,
  ],
)  # fmt: skip
def test_refuses_type(kind):
  with pytest.raises(TypeError, match='cannot be a flag; a flag is bool, int, float, str'):
    kind_of(kind)


def test_a_value_is_of_its_type_only():
  assert kind_of(Literal[1, 2]).holds(1)
  assert not kind_of(Literal[1, 2]).holds(True)
  assert not kind_of(tuple[int, ...]).holds([1])
  assert not kind_of(tuple[int, int]).holds((1,))


def test_near_names_are_suggested_and_far_ones_are_not():
  assert nearest('evalute', ['train', 'evaluate']) == ': did you mean evaluate?'
  assert nearest('zzz', ['train', 'evaluate']) == ''


# fmt: off
def commented(
  *,
  length: int = 256,  # Tokens of context,
  #   to the left of each.
  # Architecture.
  width: tuple[int, ...] = (
    1,
    2,
  ),  # Widths.
  plain: int = 1,
  one: int = 1, two: str = '#no',  # Two's.
  rate: float = 1,  # Per second.
  last: int = 1,  #   Last.
) -> Experiment:  # noqa: F821  # Of no argument.
  # Of the body.
  return locals()
# fmt: on


def test_trailing_comments_are_the_help():
  assert {name: knob.help for name, knob in flags.knobs(commented).items()} == {
    'length': 'Tokens of context, to the left of each.',
    'width': 'Widths.',
    'plain': '',
    'one': '',
    'two': "Two's.",
    'rate': 'Per second.',
    'last': 'Last.',
  }


def test_types_in_quotes_are_types_and_a_return_type_unknown_at_run_time_is_no_obstacle():
  assert flags.knobs(commented)['width'].kind.read('3,4') == (3, 4)


def test_an_int_is_a_default_for_a_float_and_becomes_one():
  assert type(flags.knobs(commented)['rate'].default) is float


def wrong_default(*, depth: int = '4'): ...  # type: ignore


def no_type(*, depth=4): ...


def bad_type(*, sizes: list[int] = []): ...  # noqa: B006


def unknown_type(*, size: Size = 4): ...  # type: ignore  # noqa: F821


def bool_for_int(*, depth: int = True): ...


@pytest.mark.parametrize(
  ('function', 'sentence'),
  [
    (wrong_default, r"wrong_default\(depth\) has the default '4', which is not of its type int"),
    (bool_for_int, r'bool_for_int\(depth\) has the default True'),
    (no_type, r'no_type\(depth\) has no type'),
    (bad_type, r'bad_type\(sizes\): .*list.* cannot be a flag'),
    (unknown_type, r'unknown_type\(size\): Size cannot be a flag'),
  ],
)
def test_refuses_signature(function, sentence):
  with pytest.raises(TypeError, match=sentence):
    flags.knobs(function)


def test_the_last_of_two_wins_and_booleans_have_a_no():
  def function(*, depth: int = 1, clean: bool = True, cap: bool | None = None): ...

  knobs = flags.knobs(function)
  given, rest = flags.parse(knobs, ['--depth=2', 'word', '-depth', '3', '--noclean', '--cap'])
  assert given == {'depth': 3, 'clean': False, 'cap': True}
  assert rest == ['word']
  assert flags.parse(knobs, [])[0] == {}


def test_a_flagfile_goes_in_front_wherever_it_stands(tmp_path):
  inner, outer = tmp_path / 'inner', tmp_path / 'outer'
  inner.write_text('# A comment.\n\n--depth=5\n  --name=a b \n')
  outer.write_text(f'// Another.\n--flagfile={inner}\n--width=6\n')
  words = flags.expand(['train', '--depth=1', f'--flagfile={outer}', '--x'])
  assert words == ['--depth=5', '--name=a b ', '--width=6', 'train', '--depth=1', '--x']
  assert flags.expand(['--flagfile', str(inner)]) == ['--depth=5', '--name=a b ']


def test_a_flagfile_that_is_absent_or_reads_itself_is_refused(tmp_path):
  loop = tmp_path / 'loop'
  loop.write_text(f'--flagfile={loop}\n')
  with pytest.raises(ValueError, match='loop reads itself'):
    flags.expand([f'--flagfile={loop}'])
  with pytest.raises(ValueError, match=r'--flagfile=.*nowhere cannot be read: No such file'):
    flags.expand([f'--flagfile={tmp_path}/nowhere'])
