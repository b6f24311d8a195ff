"""Table variation: noise on features, features swapped with other rows', and features dropped.

Maps as in `augmentation`, over features [B, F] of float type; `data.mixup(key='features')` mixes
rows. B rows, F columns.
"""

from typing import Any

import numpy as np

from bigtrain.data.augmentation import Batch, Map, held, within
from bigtrain.data.draws import Draws


def feature_noise(deviation: Any, scale: float = 0.1, *, key: str = 'features') -> Map:
  """Returns a map that adds Gaussian noise to each feature (Bishop 1995).

  Args:
    deviation: the standard deviation of each column over the training rows, [F], or one number for
      all; 0 leaves a column (one of categories, say) as it is.
    scale: standard deviation of the noise, in units of the column's.
    key: features [B, F], floats.

  Raises:
    ValueError: for a negative scale or deviation; by the map, for features that are not floats
      [B, F], or not as many as deviations.
  """
  spread = np.asarray(deviation, np.float32) * np.float32(scale)
  if not (spread >= 0).all() or scale < 0:
    raise ValueError(
      f'data.feature_noise: scale and deviation must not be negative, got scale={scale} and '
      f'deviations from {np.min(deviation)}'
    )

  def noisy(batch: Batch, rng: Draws) -> Batch:
    values_BF = _features(batch, key, 'feature_noise', spread.shape)
    noise_BF = spread * rng.normal(values_BF.shape[1])
    return {**batch, key: (values_BF + noise_BF).astype(values_BF.dtype)}

  return noisy


def feature_swap(reference: Any, probability: float = 0.15, *, key: str = 'features') -> Map:
  """Returns a map that replaces features by those of other rows, each by one from its own column
  (Bahri et al. 2022, section 3).

  The other rows are drawn from `reference`, not from the batch, so that a row comes out the same
  however many hosts share a batch.

  Args:
    reference: features [N, F] of training rows, or of some thousands of them.
    probability: of each feature, to be replaced.
    key: features [B, F], floats.

  Raises:
    ValueError: for a probability out of range or a reference without rows; by the map, for features
      that are not floats [B, F], or not as many as the reference has.
  """
  table_NF = np.asarray(reference)
  if table_NF.ndim != 2 or not len(table_NF):
    raise ValueError(
      f'data.feature_swap: reference has shape {table_NF.shape}: give features [N, F] of at least '
      'one row'
    )
  within('feature_swap: probability', 0, 1, probability)

  def swapped(batch: Batch, rng: Draws) -> Batch:
    values_BF = _features(batch, key, 'feature_swap', table_NF.shape[1:])
    columns = values_BF.shape[1]
    chosen_BF = rng.random(columns) < probability
    other_BF = table_NF[rng.integers(0, len(table_NF), columns), np.arange(columns)]
    return {**batch, key: np.where(chosen_BF, other_BF, values_BF).astype(values_BF.dtype)}

  return swapped


def feature_dropout(probability: float = 0.1, *, fill: Any = 0.0, key: str = 'features') -> Map:
  """Returns a map that replaces features by a fixed value, as if they were missing (Vincent et al.
  2008, section 2.3).

  Args:
    probability: of each feature, to be replaced.
    fill: one number, or one for each column [F]; 0 is the mean where features are standardised.
    key: features [B, F], floats.

  Raises:
    ValueError: for a probability out of range; by the map, for features that are not floats [B, F],
      or not as many as fills.
  """
  within('feature_dropout: probability', 0, 1, probability)
  written = np.asarray(fill)

  def dropped(batch: Batch, rng: Draws) -> Batch:
    values_BF = _features(batch, key, 'feature_dropout', written.shape)
    chosen_BF = rng.random(values_BF.shape[1]) < probability
    return {**batch, key: np.where(chosen_BF, written, values_BF).astype(values_BF.dtype)}

  return dropped


def _features(batch: Batch, key: str, name: str, columns: tuple[int, ...]) -> np.ndarray:
  values_BF = held(batch, key, name)
  if values_BF.ndim != 2 or values_BF.dtype.kind != 'f':
    raise ValueError(
      f'data.{name}: {key!r} is {values_BF.dtype} of shape {values_BF.shape}: features are floats '
      '[B, F]'
    )
  if columns not in ((), values_BF.shape[1:]):
    raise ValueError(
      f'data.{name}: {key!r} has {values_BF.shape[1]} columns, got numbers for {columns}: give one '
      'for each column'
    )
  return values_BF
