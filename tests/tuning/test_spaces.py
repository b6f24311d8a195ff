"""What SPACE holds: ranges and choices that say what is wrong with them, and where they end."""

import pytest

from bigtrain import tuning


@pytest.mark.parametrize(
  ('values', 'words'),
  [
    (tuning.uniform(1.0, 1.0), r'uniform\(1.0, 1.0\) is empty'),
    (tuning.log(1e-1, 1e-4), 'is empty: the lower end comes first'),
    (tuning.log(0.0, 1.0), 'must begin above 0'),
    (tuning.uniform(0.0, float('nan')), 'two finite numbers'),
    (tuning.integers(1, 2.5), 'two integers'),  # pyright: ignore[reportArgumentType]
    (tuning.integers(0, 8, log=True), 'must begin above 0'),
    (tuning.choice('adamw'), 'leaves no choice'),
    (tuning.choice(1, 2, 1), 'twice'),
  ],
)
def test_a_senseless_space_says_what_is_wrong(values, words):
  with pytest.raises(ValueError, match=words):
    values.check()


def test_what_makes_sense_passes():
  for values in (tuning.log(1e-4, 1e-1), tuning.uniform(-1, 1), tuning.integers(1, 8, log=True),
                 tuning.choice(True, False), tuning.choice(None, 'a')):  # fmt: skip
    values.check()


def test_an_edge_is_near_on_the_scale_of_the_range():
  rate = tuning.log(1e-4, 1e-1)
  assert [rate.edge(x) for x in (1e-4, 1.3e-4, 2e-4, 1e-2, 9e-2)] == [
    'lower', 'lower', '', '', 'upper',
  ]  # fmt: skip
  share = tuning.uniform(0.0, 1.0)
  assert [share.edge(x) for x in (0.04, 0.06, 0.96)] == ['lower', '', 'upper']
  depth = tuning.integers(1, 4)
  assert [depth.edge(x) for x in (1, 2, 3, 4)] == ['lower', '', '', 'upper']
