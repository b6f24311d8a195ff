"""Categories as numbers."""

import numpy as np
import pytest

from bigtrain import data


def source(categories):
  about = {'features': ('age',), 'categories': {'kind': ('a', 'b', 'c'), 'sex': ('f', 'm')}}
  columns = {
    'features': np.array([[1.0], [2.0]], np.float32),
    'categories': np.array(categories, np.int32),
    'label': np.array([0, 1], np.int32),
  }
  return data.Arrays(columns, about)


def test_each_value_of_each_category_is_a_feature():
  got = data.one_hot(source([[2, 0], [0, 1]]))
  np.testing.assert_array_equal(got.column('features'), [[1, 0, 0, 1, 1, 0], [2, 1, 0, 0, 0, 1]])
  assert got.about['features'] == ('age', 'kind: a', 'kind: b', 'kind: c', 'sex: f', 'sex: m')
  assert set(got[0]) == {'features', 'label'}


def test_what_is_not_listed_is_refused():
  with pytest.raises(ValueError, match=r"'sex' must be in 0 \.\.\. 1, got 2"):
    data.one_hot(source([[2, 0], [0, 2]]))
  with pytest.raises(ValueError, match="lacks 'categories'"):
    data.one_hot(data.arrays(features=np.zeros((2, 1))))
