"""Tables: missing values, outliers and scales, fitted on training rows and applied to any.

In this order, each fitted on what the one before leaves of the training rows:

- outliers: a value beyond the bounds of its column is clipped to them, or its row dropped. By the
  interquartile range (Tukey 1977): 1.5 of it beyond the quartiles. By the z-score: 3 standard
  deviations from the mean, which outliers themselves widen: of n rows none scores above
  sqrt(n - 1). A column whose middle half (or, for z-scores, all) is one value has no bounds: a flag
  or a count of rare things would become constant.
- scale: before missing values are filled, so that neighbours are near in every column alike and
  filled values do not narrow a spread. Known values alone count.
- missing values (NaN): filled, or the row dropped.

Letters in shapes: N rows, F columns.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from bigtrain.data import sources

_CHOICES: dict[str, tuple] = {
  'missing': (None, 'drop', 'mean', 'median', 'neighbours'),
  'scale': (None, 'standard', 'robust'),
  'outliers': (None, 'clip', 'drop'),
  'rule': ('iqr', 'z'),
}
_WIDTH = {'iqr': 1.5, 'z': 3.0}
_ENDLESS = np.finfo(np.float64).max  # No bound, as a number that JSON has.


@dataclasses.dataclass(frozen=True, eq=False)
class FittedTable:
  """What `fit_table` learned from training rows; `apply` uses it, and changes nothing in it.

  Attributes:
    key: what of a record holds the features.
    columns: names of the F columns.
    missing, outliers, neighbours: as given to `fit_table`.
    low, high: bounds of each column, float64 [F].
    centre, spread: subtracted, then divided by, float64 [F].
    fill: scaled values that fill gaps, float64 [F]; of 'neighbours' all scaled training rows
      [N, F], NaN where one lacks a value; otherwise [0].
    indicated: columns that have an indicator, int64.
  """

  key: str
  columns: tuple[str, ...]
  missing: str | None
  outliers: str | None
  neighbours: int
  low: np.ndarray
  high: np.ndarray
  centre: np.ndarray
  spread: np.ndarray
  fill: np.ndarray
  indicated: np.ndarray

  def apply(self, source: sources.Source) -> sources.Arrays:
    """Returns the records of any split, cleaned, in memory.

    Dropping rows from held-out or test data leaves the hard ones out of the measurement: `about`
    says how many. Takes 24 bytes for each value while at work. 'neighbours' compares each row that
    lacks a value with all training rows: 2 s for 1,000 of 20,000 rows and 14 columns.

    Returns:
      A source with features float32 [F], then 0 or 1 for each indicated column, and a report under
      `about['table_cleaning']`: 'records', 'kept', 'dropped for outliers', 'dropped for missing
      values', and by column the values 'clipped' and 'filled'; for JSON.

    Raises:
      ValueError: for other columns than the training rows had, an infinite value, a missing value
        where `missing` is None, or where no row is left.
    """
    values_NF, columns = _features('FittedTable.apply', source, self.key, self.missing)
    if columns != self.columns:
      pairs = itertools.zip_longest(self.columns, columns)
      i, (fitted, got) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
      raise ValueError(
        f'data.FittedTable.apply: column {i} of {self.key!r} is {got!r}, and was {fitted!r} in '
        'training: give the same columns in the same order'
      )
    beyond_NF = (values_NF < self.low) | (values_NF > self.high)
    missing_NF = np.isnan(values_NF)
    far_N = beyond_NF.any(1) & (self.outliers == 'drop')
    gap_N = missing_NF.any(1) & (self.missing == 'drop') & ~far_N
    kept = np.flatnonzero(~far_N & ~gap_N)
    if not len(kept):
      raise ValueError(
        f'data.FittedTable.apply: all {len(values_NF)} records are dropped: fill missing values, '
        'clip outliers, or widen the bounds'
      )
    values_NF, missing_NF = values_NF[kept].clip(self.low, self.high), missing_NF[kept]
    values_NF = self._filled((values_NF - self.centre) / self.spread, missing_NF)
    features = np.concatenate([values_NF, missing_NF[:, self.indicated]], axis=1, dtype=np.float32)
    left = sources.in_memory(sources.select(source, kept))
    flags = tuple(f'{columns[i]} is missing' for i in self.indicated)
    about = {**left.about, 'features': (*columns, *flags)}
    report = {
      'records': len(source),
      'kept': len(kept),
      'dropped for outliers': int(far_N.sum()),
      'dropped for missing values': int(gap_N.sum()),
      'clipped': _by_column(columns, beyond_NF[kept]),
      'filled': _by_column(columns, missing_NF),
    }
    result = sources.Arrays({**left.columns, self.key: features}, about)
    return sources.with_report(result, 'table_cleaning', report)

  def _filled(self, values_NF: np.ndarray, missing_NF: np.ndarray) -> np.ndarray:
    if self.missing != 'neighbours':
      return np.where(missing_NF, self.fill, values_NF) if len(self.fill) else values_NF
    if (rows := missing_NF.any(1)).any():
      from sklearn.impute import KNNImputer

      values_NF[rows] = (
        KNNImputer(n_neighbors=self.neighbours).fit(self.fill).transform(values_NF[rows])
      )
    return values_NF

  def to_dict(self) -> dict[str, Any]:
    """Returns all of it as what JSON can hold, a missing value as None."""
    plain = {**vars(self), 'columns': list(self.columns)}
    for name, value in plain.items():
      if isinstance(value, np.ndarray):
        listed = value.astype(object)
        listed[np.isnan(value)] = None
        plain[name] = listed.tolist()
    return plain

  @classmethod
  def from_dict(cls, plain: Mapping[str, Any]) -> 'FittedTable':
    """Returns what `to_dict` made `plain` of; TypeError or KeyError where it lacks a part."""
    floats = ('low', 'high', 'centre', 'spread', 'fill')
    arrays = {name: np.array(plain[name], np.float64) for name in floats}
    indicated = np.array(plain['indicated'], np.int64)
    return cls(**{**plain, **arrays, 'columns': tuple(plain['columns']), 'indicated': indicated})


def fit_table(
  train: sources.Source,
  *,
  missing: Literal['drop', 'mean', 'median', 'neighbours'] | None = 'median',
  indicator: bool = False,
  scale: Literal['standard', 'robust'] | None = 'standard',
  outliers: Literal['clip', 'drop'] | None = None,
  rule: Literal['iqr', 'z'] = 'iqr',
  width: float | None = None,
  neighbours: int = 5,
  key: str = 'features',
) -> FittedTable:
  """Learns from training rows how to clean a table, for `.apply` to any split.

  `data.csv(..., missing=math.nan)` and `data.parquet` likewise keep missing numbers as NaN.

  Args:
    train: records with features, floats [F], NaN where a value is missing. Some thousands of them
      are enough, and for 'neighbours' advisable.
    missing: fill by the 'mean' or the 'median' of the column, by the mean of the 'neighbours'
      (Troyanskaya et al. 2001: Euclidean over what both rows have), or 'drop' the record; None
      refuses one.
    indicator: append, for each column that lacks values in training, whether it lacked this one.
    scale: 'standard' gives mean 0 and standard deviation 1, 'robust' median 0 and interquartile
      range 1; a constant column becomes 0.
    outliers: 'clip' or 'drop' what lies beyond the bounds; None has no bounds.
    rule: whether bounds go by interquartile ranges or by z-score.
    width: in interquartile ranges beyond the quartiles, None for 1.5, or in standard deviations
      from the mean, None for 3.
    neighbours: how many fill a gap.
    key: the features.

  Raises:
    ValueError: for features that are not floats [F], an infinite value, a column without any value,
      a missing value where `missing` is None, an unknown choice, a width or neighbours that are not
      positive, an indicator where nothing is filled, or where no row is left.
  """
  place = 'fit_table'
  given = {'missing': missing, 'scale': scale, 'outliers': outliers, 'rule': rule}
  for name, value in given.items():
    if value not in _CHOICES[name]:
      raise ValueError(
        f'data.{place}: {name} must be one of {", ".join(map(str, _CHOICES[name]))}, got {value!r}'
      )
  width = _WIDTH[rule] if width is None else width
  for name, value in {'width': width, 'neighbours': neighbours}.items():
    if not value > 0:
      raise ValueError(f'data.{place}: {name} must be positive, got {value}')
  if indicator and missing in (None, 'drop'):
    raise ValueError(
      f'data.{place}: indicator=True tells of filled values, and missing={missing!r} fills none: '
      "use missing='median'"
    )
  values_NF, columns = _features(place, train, key, missing)
  _refuse_empty(place, values_NF, columns)
  low, high = _bounds(values_NF, rule, width) if outliers else _unbounded(values_NF)
  if outliers == 'drop':
    values_NF = values_NF[~((values_NF < low) | (values_NF > high)).any(1)]
  if missing == 'drop':
    values_NF = values_NF[~np.isnan(values_NF).any(1)]
  if not len(values_NF):
    raise ValueError(
      f'data.{place}: no training row is left: fill missing values, clip outliers, or widen the '
      'bounds'
    )
  _refuse_empty(place, values_NF, columns)
  values_NF = values_NF.clip(low, high)
  centre, spread = _scale(values_NF, scale)
  values_NF = (values_NF - centre) / spread
  fill = np.empty(0)
  if missing == 'neighbours':
    fill = values_NF
  elif missing in ('mean', 'median'):
    from sklearn.impute import SimpleImputer

    fill = np.asarray(SimpleImputer(strategy=missing).fit(values_NF).statistics_, np.float64)
  indicated = np.flatnonzero(np.isnan(values_NF).any(0)) if indicator else np.empty(0, np.int64)
  settings = (key, columns, missing, outliers, neighbours)
  return FittedTable(*settings, low, high, centre, spread, fill, indicated)


def _features(
  place: str, source: sources.Source, key: str, missing: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns features float64 [N, F] and the names of their columns."""
  values_NF = sources.column(source, key)
  if values_NF.ndim != 2 or values_NF.dtype.kind != 'f':
    raise ValueError(
      f'data.{place}: {key!r} is {values_NF.dtype}{list(values_NF.shape[1:])}: features are floats '
      '[F]'
    )
  named = getattr(source, 'about', {}).get('features', ())
  count = values_NF.shape[1]
  columns = tuple(named) if len(named) == count else tuple(f'column {i}' for i in range(count))
  if (endless := np.isinf(values_NF)).any():
    row, column = np.argwhere(endless)[0]
    raise ValueError(
      f'data.{place}: {columns[column]!r} is infinite in record {row}: make it NaN, which is a '
      'missing value, or mend what divides by 0'
    )
  if missing is None and (gaps := np.isnan(values_NF)).any():
    row, column = np.argwhere(gaps)[0]
    raise ValueError(
      f'data.{place}: {columns[column]!r} is missing in record {row}, which missing=None refuses: '
      "fill it by fit_table(..., missing='median')"
    )
  return values_NF.astype(np.float64), columns


def _refuse_empty(place: str, values_NF: np.ndarray, columns: tuple[str, ...]) -> None:
  empty_F = np.isnan(values_NF).all(0)
  if empty_F.any():
    raise ValueError(
      f'data.{place}: {columns[empty_F.argmax()]!r} has no value in any of {len(values_NF)} '
      'training rows: leave the column out'
    )


def _bounds(values_NF: np.ndarray, rule: str, width: float) -> tuple[np.ndarray, np.ndarray]:
  if rule == 'iqr':
    near, far = np.nanquantile(values_NF, [0.25, 0.75], axis=0)
    reach = far - near
  else:
    near = far = np.nanmean(values_NF, 0)
    reach = np.nanstd(values_NF, 0)
  bounded = reach > 0
  low, high = _unbounded(values_NF)
  low = np.where(bounded, near - width * reach, low)
  return low, np.where(bounded, far + width * reach, high)


def _unbounded(values_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  high = np.full(values_NF.shape[1], _ENDLESS)
  return -high, high


def _scale(values_NF: np.ndarray, scale: str | None) -> tuple[np.ndarray, np.ndarray]:
  if scale is None:
    return np.zeros(values_NF.shape[1]), np.ones(values_NF.shape[1])
  from sklearn import preprocessing

  kind: Any = preprocessing.StandardScaler if scale == 'standard' else preprocessing.RobustScaler
  scaler = kind().fit(values_NF)
  return scaler.mean_ if scale == 'standard' else scaler.center_, scaler.scale_


def _by_column(columns: tuple[str, ...], chosen_NF: np.ndarray) -> dict[str, int]:
  return {columns[i]: int(n) for i, n in enumerate(chosen_NF.sum(0)) if n}
