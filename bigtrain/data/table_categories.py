"""Tables: categories as numbers that a model takes."""

import numpy as np

from bigtrain.data import sources


def one_hot(source: sources.Source, *, key: str = 'categories') -> sources.Arrays:
  """Returns records whose categories are part of the features, 0 or 1 for each value of each.

  Args:
    source: records of 'features' float32 [F] and categories int32 [K], numbered as
      `about['categories']` lists the values of each, which `data.csv` and `data.parquet` record
      before anything is split.
    key: the categories.

  Returns:
    A source in memory without `key`, and with features float32 [F + values of all categories].

  Raises:
    ValueError: where `about` does not list the values, or a number is beyond them.
  """
  whole = sources.in_memory(source)
  listed = whole.about.get('categories')
  if not listed or key not in whole.columns:
    raise ValueError(
      f"data.one_hot: the source lacks {key!r} or about['categories']: read it by data.csv or "
      'data.parquet'
    )
  numbers_NK = whole.columns[key]
  columns, names = [whole.columns['features']], list(whole.about.get('features', ()))
  for index, (name, values) in enumerate(listed.items()):
    number_N = numbers_NK[:, index]
    if number_N.min() < 0 or number_N.max() >= len(values):
      raise ValueError(
        f'data.one_hot: {name!r} must be in 0 ... {len(values) - 1}, got {number_N.max()}'
      )
    columns.append(np.eye(len(values), dtype=np.float32)[number_N])
    names += [f'{name}: {value}' for value in values]
  left = {name: values for name, values in whole.columns.items() if name != key}
  left['features'] = np.concatenate(columns, axis=1)
  return sources.Arrays(left, {**whole.about, 'features': tuple(names)})
