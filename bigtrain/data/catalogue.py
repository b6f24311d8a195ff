"""TensorFlow Datasets by name, prepared and read without TensorFlow wherever TFDS can."""

import difflib
import os
import re
from typing import Any

from bigtrain.data import sources


def tfds(name: str, split: str, data_dir: str | os.PathLike[str] | None = None) -> sources.Decoded:
  """Returns a split of any dataset of TensorFlow Datasets, downloaded and prepared at the first
  use.

  TFDS encodes pictures by TensorFlow, so a dataset with pictures must be prepared once where
  TensorFlow is installed; reading them needs none.

  Args:
    name: as TFDS names it, such as 'mnist', 'glue/cola' or 'mnist:3.0.1'.
    split: such as 'train', 'test' or 'train[:80%]'.
    data_dir: where datasets are prepared; None takes $TFDS_DATA_DIR, else ~/tensorflow_datasets.

  Returns:
    A source of the dataset's records; texts as str, nested features with '/' in their keys.

  Raises:
    ValueError: for an unknown dataset, configuration or split, or where preparing fails.
  """
  import tensorflow_datasets as library

  place = f'data.tfds({name!r})'
  folder = None if data_dir is None else os.fspath(data_dir)
  try:
    builder: Any = library.builder(name, data_dir=folder, file_format='array_record')
  except library.core.DatasetNotFoundError:
    # TFDS answers with all its names, thousands of characters.
    known = library.list_builders(with_community_datasets=False)
    raise ValueError(f'{place}: no such dataset{_nearest(name, known)}') from None
  except (ValueError, AssertionError) as error:
    raise ValueError(f'{place}: {_first_line(error)}') from None
  try:
    builder.download_and_prepare()
  except ImportError as error:
    raise ValueError(
      f'{place}: preparing it needs the module {error.name!r}: `pip install '
      f'{_package(error.name)}` for this one time, '
      f'or pass data_dir= of a place where it is prepared'
    ) from None
  except Exception as error:
    # Whatever went wrong (no network, no space, a checksum), the cure is the same, and the cause
    # stays attached.
    raise ValueError(
      f'{place}: cannot be prepared in {builder.data_dir} ({_first_line(error)}): '
      'check network and disk, or pass data_dir= of a place where it is prepared'
    ) from error
  known = list(builder.info.splits)
  base = re.match(r'[\w\-.]*', split)
  if base is None or base[0] not in known:
    raise ValueError(f'{place}: no split {split!r}{_nearest(split, known)}')
  try:
    records = builder.as_data_source(split=split)
  except (ValueError, NotImplementedError, AssertionError) as error:
    raise ValueError(f'{place}: split {split!r} cannot be read ({_first_line(error)})') from None
  about: dict[str, Any] = {
    'name': f'{builder.info.full_name}/{split}',
    'version': str(builder.version),
  }
  features = builder.info.features
  if 'label' in features and (names := getattr(features['label'], 'names', None)):
    about['classes'] = tuple(names)
  return sources.Decoded(records, _flat, about)


def _flat(record: Any, prefix: str = '') -> dict[str, Any]:
  flat = {}
  for key, value in record.items():
    if isinstance(value, dict):
      flat |= _flat(value, f'{prefix}{key}/')
    else:
      flat[prefix + key] = value.decode('utf-8', 'replace') if isinstance(value, bytes) else value
  return flat


def _nearest(name: str, known: list[str]) -> str:
  near = difflib.get_close_matches(re.split('[/:]', name)[0], known, 1)
  if near:
    return f': did you mean {near[0]!r}?'
  return (
    f': use one of {", ".join(known)}'
    if len(known) < 20
    else ': see https://www.tensorflow.org/datasets/catalog'
  )


def _package(module: str | None) -> str:
  return (module or 'tensorflow').split('.')[0]


def _first_line(error: BaseException) -> str:
  return (str(error).strip().split('\n')[0] or type(error).__name__)[:200]
