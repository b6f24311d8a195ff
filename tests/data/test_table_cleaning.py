"""A table is cleaned by what its training rows say, as scikit-learn would, and by nothing else."""

import json
from typing import Any

import numpy as np
import pytest
import toys
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.preprocessing import RobustScaler, StandardScaler

from bigtrain import data
from bigtrain.data.table_cleaning import FittedTable, fit_table

NAMES = ('age', 'height', 'income', 'flag')


def table(seed=0, rows=120, gaps=0.1):
  """Columns of differing units, the last a rare flag; gaps in all but the second."""
  rng = np.random.default_rng(seed)
  values = rng.normal(size=(rows, 4)) * [20, 0.1, 1e4, 0] + [40, 1.7, 3e4, 0]
  values[:, 3] = rng.random(rows) < 0.1
  values[rng.random((rows, 4)) < np.array([gaps, 0, gaps, gaps])] = np.nan
  source = data.arrays(features=values.astype(np.float32), label=np.arange(rows))
  source.about = {'name': 'people', 'features': NAMES}
  return source


def features(source):
  return data.column(source, 'features')


def replaced(source, row, column, value):
  values = features(source).copy()
  values[row, column] = value
  return data.Arrays({**source.columns, 'features': values}, source.about)


CLEANINGS: dict[str, dict[str, Any]] = {
  'median': {'outliers': 'clip', 'indicator': True},
  'mean': {'missing': 'mean', 'scale': 'robust', 'outliers': 'clip', 'rule': 'z', 'width': 2.0},
  'neighbours': {'missing': 'neighbours', 'outliers': 'drop', 'indicator': True},
  'drop': {'missing': 'drop', 'scale': None, 'outliers': 'drop'},
}


@pytest.mark.parametrize('how', CLEANINGS)
def test_no_statistic_of_another_split_leaks(how):
  train, test = table(0), table(1)
  fitted = fit_table(train, **CLEANINGS[how])
  alone = fitted.apply(train)
  first = fitted.apply(test)
  # Every other row of the test split is another, a hundred times as far: the rest stays.
  values = features(test).copy()
  values[1::2] *= 100
  other = fitted.apply(data.Arrays({**test.columns, 'features': values}, test.about))
  assert np.array_equal(features(fitted.apply(train)), features(alone))
  rows = [dict(zip(s.column('label').tolist(), features(s), strict=True)) for s in (first, other)]
  shared = [i for i in rows[0] if i % 2 == 0]
  assert len(shared) > 20
  assert all(np.array_equal(rows[0][i], rows[1][i]) for i in shared)
  # And one row alone is cleaned as it is among others.
  one = fitted.apply(data.select(test, np.array(shared[:1])))
  assert np.array_equal(features(one)[0], rows[0][shared[0]])
  # Training rows do count.
  moved = fit_table(data.select(train, np.arange(60)), **CLEANINGS[how]).apply(test)
  if how != 'drop':
    assert not np.array_equal(features(moved), features(first))


@pytest.mark.parametrize('missing', ['mean', 'median', 'neighbours'])
@pytest.mark.parametrize('scale', [None, 'standard', 'robust'])
def test_values_are_those_of_scikit_learn(missing: Any, scale: Any):
  train, test = table(0), table(1)
  fitted = fit_table(train, missing=missing, scale=scale, indicator=True, neighbours=3)
  before, want = (features(s).astype(np.float64) for s in (train, test))
  if scale:
    scaler = {'standard': StandardScaler, 'robust': RobustScaler}[scale]().fit(before)
    before, want = scaler.transform(before), scaler.transform(want)
  simple = missing != 'neighbours'
  filler: Any = SimpleImputer(strategy=missing) if simple else KNNImputer(n_neighbors=3)
  flags: Any = MissingIndicator().fit(before).transform(want)
  want = np.concatenate([filler.fit(before).transform(want), flags], 1)
  got = fitted.apply(test)
  assert features(got).dtype == np.float32
  assert want.shape == (120, 7)
  assert np.allclose(features(got), want, rtol=1e-5, atol=1e-5)
  flagged = tuple(f'{name} is missing' for name in ('age', 'income', 'flag'))
  assert got.about['features'] == NAMES + flagged
  assert np.array_equal(got.column('label'), test.column('label'))
  assert np.isnan(features(test)).any()  # The source is as it was.


@pytest.mark.parametrize('how', CLEANINGS)
def test_what_is_fitted_survives_json(how):
  fitted = fit_table(table(0), **CLEANINGS[how])
  text = json.dumps(fitted.to_dict(), allow_nan=False)
  again = FittedTable.from_dict(json.loads(text))
  assert np.array_equal(features(again.apply(table(1))), features(fitted.apply(table(1))))
  assert again.apply(table(1)).about == fitted.apply(table(1)).about


def test_bounds_are_those_of_tukey_and_of_z():
  values = np.array([[0], [1], [2], [3], [4], [5], [6], [7], [100]], np.float32)
  source = data.arrays(features=values)
  cases: Any = (('iqr', 1.5, 12), ('iqr', 1, 10), ('z', 2, 14.2222 + 2 * 30.4037))
  for rule, width, high in cases:
    fitted = fit_table(source, outliers='clip', rule=rule, width=width, scale=None)
    assert features(fitted.apply(source)).max() == pytest.approx(high, rel=1e-4)
    mirrored = data.arrays(features=-values)
    fitted = fit_table(mirrored, outliers='clip', rule=rule, width=width, scale=None)
    assert features(fitted.apply(mirrored)).min() == pytest.approx(-high, rel=1e-4)
    dropped = fit_table(source, outliers='drop', rule=rule, width=width, scale=None).apply(source)
    assert features(dropped).max() == 7
  # What was dropped or clipped widens no scale.
  assert fit_table(source, outliers='drop').spread[0] == pytest.approx(np.std(np.arange(8)))
  assert fit_table(source, outliers='clip').spread[0] == pytest.approx(np.std([*range(8), 12]))
  gap = data.arrays(features=np.array([[0, 1], [2, 1], [99, np.nan]]))
  assert fit_table(gap, missing='drop').centre.tolist() == [1, 1]


@pytest.mark.parametrize('rule', ['iqr', 'z'])
def test_flags_and_constants_stay_what_they_are(rule: Any):
  values = np.zeros((100, 2), np.float32)
  values[:10, 0] = 1
  values[:, 1] = 0.1
  source = data.arrays(features=values)
  fitted = fit_table(source, outliers='clip', rule=rule, scale=None)
  assert np.array_equal(features(fitted.apply(source)), values)
  other = data.arrays(features=values + np.array([0, 1], np.float32))
  assert np.array_equal(features(fitted.apply(other)), features(other))
  assert (features(fit_table(source).apply(source))[:, 1] == 0).all()


def test_the_report_accounts_for_every_record_and_value():
  train = replaced(table(0, gaps=0), slice(0, 3), 0, np.nan)
  train = replaced(train, slice(2, 7), 1, 99.0)
  report = fit_table(train, outliers='clip', width=9).apply(train).about['table_cleaning']
  assert json.loads(json.dumps(report)) == report
  assert report['filled'] == {'age': 3}
  assert report['clipped'] == {'height': 5}
  assert (report['records'], report['kept']) == (120, 120)
  cleaned = fit_table(train, missing='drop', outliers='drop', width=9).apply(train)
  report = cleaned.about['table_cleaning']
  assert report['dropped for outliers'] == 5  # Record 2 is both, and counted once.
  assert report['dropped for missing values'] == 2
  assert report['clipped'] == report['filled'] == {}
  assert report['kept'] == len(cleaned) == 113
  assert cleaned.about['name'] == 'people'
  assert cleaned.column('label').tolist() == list(range(7, 120))


def test_records_may_lie_behind_another_source():
  rows = [{'features': row, 'name': str(i)} for i, row in enumerate(features(table()))]
  got = fit_table(toys.Records(*rows)).apply(toys.Records(*rows))
  assert np.array_equal(features(got), features(fit_table(table()).apply(table())))
  assert got.column('name').tolist() == [row['name'] for row in rows]
  assert got.about['features'] == ('column 0', 'column 1', 'column 2', 'column 3')


FITTED = fit_table(table())
NARROW = data.Arrays({'features': features(table())[:, :3]}, {'features': NAMES[:3]})
SWAPPED = data.Arrays(table().columns, {'features': NAMES[::-1]})
LONE = data.arrays(features=np.array([*([i, np.nan] for i in range(9)), [99, 1], [99, 2]]))
CROSSED = data.arrays(features=np.array([[i, (i + 4) % 8] for i in range(8)], float))
BAD = {
  'infinite': (lambda: fit_table(replaced(table(), 7, 2, -np.inf)), ["'income'", 'record 7']),
  'infinite later': (lambda: FITTED.apply(replaced(table(), 8, 0, np.inf)), ["'age'", 'record 8']),
  'all missing': (
    lambda: fit_table(replaced(table(), slice(None), 1, np.nan)),
    ["'height'", '120 training rows', 'leave the column out'],
  ),
  'other columns': (lambda: FITTED.apply(SWAPPED), ['column 0', "'flag'", "'age'", 'order']),
  'fewer columns': (
    lambda: FITTED.apply(NARROW),
    ['column 3', "'flag'", 'None'],
  ),
  'refused': (lambda: fit_table(table(), missing=None), ["'age'", 'record 5', 'missing=None']),
  'refused later': (
    lambda: fit_table(table(gaps=0), missing=None).apply(replaced(table(gaps=0), 7, 1, np.nan)),
    ["'height'", 'record 7', 'missing=None'],
  ),
  'no features': (lambda: fit_table(table(), key='label'), ["'label'", 'int32', '[F]']),
  'integers': (lambda: fit_table(data.arrays(features=np.eye(3, dtype=int))), ['int32[3]']),
  'missing': (lambda: fit_table(table(), missing='zero'), ['missing', 'median', "'zero'"]),  # type: ignore
  'scale': (lambda: fit_table(table(), scale='max'), ['scale', 'robust', "'max'"]),  # type: ignore
  'width': (lambda: fit_table(table(), outliers='clip', width=-1), ['width', '-1']),
  'neighbours': (lambda: fit_table(table(), neighbours=0), ['neighbours', 'got 0']),
  'indicator': (lambda: fit_table(table(), missing='drop', indicator=True), ['indicator', 'drop']),
  'nothing to fit': (
    lambda: fit_table(replaced(table(), slice(0, 120, 1), 0, np.nan), missing='drop'),
    ["'age'", 'no value'],
  ),
  'no row': (
    lambda: fit_table(CROSSED, outliers='drop', width=1e-6),
    ['no training row is left', 'widen'],
  ),
  'all dropped': (
    lambda: fit_table(table(), missing='drop').apply(replaced(table(), slice(None), 0, np.nan)),
    ['all 120 records', 'fill'],
  ),
  'lost with outliers': (
    lambda: fit_table(
      LONE,
      outliers='drop',
    ),
    ["'column 1'", '9 training rows'],
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  toys.check_sentence(do, words, r'^data\.')
