"""Pictures that come with a package: handwritten digits, Fashion-MNIST."""

import gzip
import importlib.util
import pathlib
import zlib
from typing import Literal

import numpy as np

from bigtrain.data import places, sources

_FASHION = {
  'train': ('train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'),
  'test': ('t10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'),
}
_FASHION_CLASSES = (
  *('T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat'),
  *('Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'),
)
_FASHION_CURE = (
  'bring it by `sudo apt-get install dataset-fashion-mnist`, or put the four .gz files there'
)


def digits() -> sources.Arrays:
  """Returns 1,797 handwritten digits as scikit-learn ships them (Alpaydin and Kaynak, UCI, 1998).

  Returns:
    'image' float32 [8, 8, 1] in [0, 1] (the data has 17 grey levels) and 'label' int32 in [0, 10).

  Raises:
    FileNotFoundError: where scikit-learn is not installed.
    ValueError: its file is damaged.
  """
  # Only the file is read: importing scikit-learn takes a second of every start.
  spec = importlib.util.find_spec('sklearn')
  folders = [] if spec is None else spec.submodule_search_locations or []
  path = places.find(
    'data.digits',
    ['digits.csv.gz'],
    [str(pathlib.Path(folder) / 'datasets' / 'data') for folder in folders],
    'bring it by `pip install scikit-learn`',
  )
  raw = path.read_bytes()
  try:
    values = np.array(
      gzip.decompress(raw).replace(b'\n', b',').rstrip(b',').split(b','), np.float32
    )
    table = values.reshape(-1, 65)
  except (OSError, EOFError, ValueError) as error:
    raise ValueError(
      f'data.digits: cannot read {path} ({error}): install scikit-learn again'
    ) from None
  columns = {
    'image': table[:, :64].reshape(-1, 8, 8, 1) / np.float32(16),
    'label': table[:, 64].astype(np.int32),
  }
  about = {'name': 'digits', 'digest': places.digest([raw]), 'licence': 'BSD-3-Clause'}
  return sources.Arrays(columns, {**about, 'classes': tuple(map(str, range(10)))})


def fashion(split: Literal['train', 'test'] = 'train') -> sources.Arrays:
  """Returns Fashion-MNIST, official split (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747).

  Args:
    split: 'train' (60,000 pictures) or 'test' (10,000).

  Returns:
    'image' uint8 [28, 28, 1] and 'label' int32 in [0, 10).

  Raises:
    FileNotFoundError: where the files are neither in $BIGTRAIN_DATA nor where Debian's package puts
      them.
    ValueError: for another split, or a damaged file.
  """
  if split not in _FASHION:
    raise ValueError(f'data.fashion: split must be train or test, got {split!r}')
  columns, raws = {}, []
  for key, name in zip(('image', 'label'), _FASHION[split], strict=True):
    path = places.find(
      'data.fashion',
      [name, f'fashion-mnist/{name}'],
      ['/usr/share/datasets/fashion-mnist'],
      _FASHION_CURE,
    )
    raws.append(path.read_bytes())
    columns[key] = _idx(path, raws[-1])
  name, own = f'fashion_{split}', places.digest(raws)
  about = {'name': name, 'digest': own, 'licence': 'MIT', 'classes': _FASHION_CLASSES}
  return sources.Arrays(
    {'image': columns['image'][..., None], 'label': columns['label'].astype(np.int32)}, about
  )


def _idx(path: pathlib.Path, raw: bytes) -> np.ndarray:
  """Reads the IDX format of MNIST: two zeros, the type (8: uint8), the number of axes, their sizes,
  the values."""
  try:
    content = gzip.decompress(raw)
    if content[:3] != b'\0\0\x08':
      raise ValueError('not an IDX file of bytes')
    axes = content[3]
    shape = np.frombuffer(content, '>i4', axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
  except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
    raise ValueError(f'data.fashion: cannot read {path} ({error}): {_FASHION_CURE}') from None
