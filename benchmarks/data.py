"""Input: batches a second against other loaders, packing, and cleaning with near copies.

  python -m benchmarks.data
  python -m benchmarks.data --tf_python=/path/to/python --only=images

All loaders read the same 60,000 images in memory, 28x28 uint8, shuffled without end, and give
batches of 128, each image cropped out of itself padded by four and mirrored at random. They run a
block each in turn, from an iterator of its own that is closed again, so that none reads ahead while
another is timed; the table shows medians of the rounds. tf.data runs in the Python that
`--tf_python` (or $BIGTRAIN_TF_PYTHON) names, where TensorFlow is installed.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import app, flags

from bigtrain import data

BATCH, PAD, SIZE = 128, 4, 28
_WARM = 4  # Batches that are not timed: threads, processes and buffers start.
_ONLY = flags.DEFINE_enum('only', None, ['images', 'packing', 'cleaning'], 'one table alone')
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'blocks of each side', lower_bound=1)
_SECONDS = flags.DEFINE_float('seconds', 0.5, 'how long a block takes', lower_bound=0.01)
_IMAGES = flags.DEFINE_integer('images', 60_000, 'records', lower_bound=BATCH)
_TF = flags.DEFINE_string('tf_python', os.environ.get('BIGTRAIN_TF_PYTHON'), 'a Python with tf')

Block = Callable[[float], float]  # From seconds to the batches a second meanwhile.


def timed(make: Callable[[], Iterator[Any]]) -> Block:
  """Returns a function that reads a new iterator for some seconds and gives the rate."""

  def block(seconds: float) -> float:
    batches: Any = make()
    for _ in range(_WARM):
      first = next(batches)
    image = first['image'] if isinstance(first, dict) else first[0]
    assert tuple(image.shape) == (BATCH, SIZE, SIZE, 1), image.shape
    assert 'uint8' in str(image.dtype), image.dtype
    begin, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - begin) < seconds:
      next(batches)
      count += 1
    batches.close()
    return count / taken

  return block


def bigtrain_side(image: np.ndarray, label: np.ndarray) -> Iterator[Any]:
  """Whole batches, as an experiment reads them."""
  change = data.compose(data.random_flip(), data.random_crop(PAD))
  return data.forever(data.arrays(image=image, label=label), BATCH, map=change).iterator()


def crop_and_flip(image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """One image, as a transform per example writes it."""
  padded = np.pad(image_HWC, ((PAD, PAD), (PAD, PAD), (0, 0)))
  top, left = rng.integers(0, 2 * PAD + 1, 2)
  cut = padded[top : top + SIZE, left : left + SIZE]
  return cut[:, ::-1] if rng.random() < 0.5 else cut


def grain_side(image: np.ndarray, label: np.ndarray) -> Iterator[Any]:
  """A transform per record, and Grain's own threads."""
  import grain

  def change(index: int, rng: np.random.Generator) -> dict[str, Any]:
    return {'image': crop_and_flip(image[index], rng), 'label': label[index]}

  records = grain.MapDataset.range(len(image)).seed(0).shuffle().repeat().random_map(change)
  return iter(records.batch(BATCH, drop_remainder=True).to_iter_dataset())


def torch_side(
  image: np.ndarray, label: np.ndarray, *, whole: bool, workers: int = 0
) -> Iterator[Any]:
  """DataLoader: a transform per example, or of whole batches in the collate function."""
  import torch  # pyright: ignore[reportMissingImports]
  from torch.utils import data as torch_data  # pyright: ignore[reportMissingImports]

  torch.set_num_threads(1)  # Its threads wait for each other longer than a batch takes.
  images, labels = torch.from_numpy(image), torch.from_numpy(label)
  rng = np.random.default_rng(0)

  def example(index: int) -> tuple[Any, Any]:
    return torch.from_numpy(crop_and_flip(image[index], rng).copy()), labels[index]

  def collate(indices: list[int]) -> tuple[Any, Any]:
    chosen = torch.tensor(indices)
    padded = torch.nn.functional.pad(images[chosen], (0, 0, PAD, PAD, PAD, PAD))
    corner = torch.randint(0, 2 * PAD + 1, (2, len(indices), 1))
    down, across = (corner + torch.arange(SIZE)).unbind()
    across = torch.where(torch.rand(len(indices), 1) < 0.5, across.flip(1), across)
    rows = torch.arange(len(indices))
    return padded[rows[:, None, None], down[:, :, None], across[:, None, :]], labels[chosen]

  class Examples(torch_data.Dataset):
    def __len__(self) -> int:
      return len(image)

    def __getitem__(self, index: int) -> Any:
      return index if whole else example(index)

  loader = torch_data.DataLoader(
    Examples(),
    BATCH,
    shuffle=True,
    drop_last=True,
    collate_fn=collate if whole else None,
    num_workers=workers,
  )
  while True:
    yield from loader


class TfData:
  """tf.data in another process, by the blocks it is asked for."""

  def __init__(self, python: str, folder: str, image: np.ndarray, label: np.ndarray):
    paths = [os.path.join(folder, f'{name}.npy') for name in ('image', 'label')]
    for path, values in zip(paths, (image, label), strict=True):
      np.save(path, values)
    script = str(pathlib.Path(__file__).with_name('tf_data.py'))
    self._process = subprocess.Popen(
      [python, script, *paths, str(BATCH), str(PAD)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )

  def __call__(self, seconds: float) -> float:
    stdin, stdout = self._process.stdin, self._process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(f'{seconds}\n')
    stdin.flush()
    return float(stdout.readline())

  def close(self) -> None:
    """Ends the process."""
    if self._process.stdin is not None:
      self._process.stdin.close()
    self._process.wait()


def interleaved(blocks: dict[str, Block]) -> dict[str, np.ndarray]:
  """Returns the examples a second [rounds] of each side, which take a block each in turn."""
  rates = {name: np.zeros(_ROUNDS.value) for name in blocks}
  for turn in range(_ROUNDS.value):
    for name, block in blocks.items():
      rates[name][turn] = BATCH * block(_SECONDS.value)
  return rates


def images() -> None:
  """Prints examples a second of each loader."""
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (_IMAGES.value, SIZE, SIZE, 1), np.uint8)
  label = rng.integers(0, 10, _IMAGES.value).astype(np.int32)
  sides: dict[str, Callable[..., Iterator[Any]]] = {
    'bigtrain': bigtrain_side,
    'Grain, per record': grain_side,
  }
  if importlib.util.find_spec('torch') is not None:
    sides |= {
      'torch, whole batches': functools.partial(torch_side, whole=True),
      'torch, per example': functools.partial(torch_side, whole=False),
      'torch, per example, 2 workers': functools.partial(torch_side, whole=False, workers=2),
    }
  else:
    print('torch: not installed')
  blocks: dict[str, Block] = {
    name: timed(functools.partial(side, image, label)) for name, side in sides.items()
  }
  with tempfile.TemporaryDirectory() as folder:
    other = TfData(_TF.value, folder, image, label) if _TF.value else None
    if other is None:
      print('tf.data: left out, name a Python that has TensorFlow by --tf_python')
    else:
      blocks['tf.data, whole batches'] = other
    rates = interleaved(blocks)
    if other is not None:
      other.close()
  print(f'{"loader":32} {"examples/s":>12} {"lowest":>12} {"highest":>12}')
  for name, rate in sorted(rates.items(), key=lambda each: -np.median(each[1])):
    print(f'{name:32} {np.median(rate):12,.0f} {rate.min():12,.0f} {rate.max():12,.0f}')


def packing() -> None:
  """Prints tokens a second: from texts to rows, and from rows to batches."""
  texts = data.stdlib()
  size, batch, steps = 512, 32, 200
  makes: dict[str, Callable[[], Any]] = {
    'pack': lambda: data.pack(texts, size),
    'pack_documents, concat': lambda: data.pack_documents(texts, size),
    'pack_documents, best_fit': lambda: data.pack_documents(texts, size, method='best_fit'),
  }
  rates: dict[str, list[tuple[float, float]]] = {name: [] for name in makes}
  for _ in range(_ROUNDS.value):
    for name, make in makes.items():
      begin = time.perf_counter()
      rows = make()
      middle = time.perf_counter()
      iterator = data.forever(rows, batch).iterator()
      for _ in range(steps):
        next(iterator)
      end = time.perf_counter()
      packed = rows.about['tokens'] / (middle - begin)
      rates[name].append((packed, steps * batch * size / (end - middle)))
  print(f'{"bytes of the standard library":32} {"packed/s":>12} {"read/s":>12}   tokens')
  for name, both in rates.items():
    packed, read = np.median(both, axis=0)
    print(f'{name:32} {packed:12,.0f} {read:12,.0f}')


def cleaning() -> None:
  """Prints megabytes of source text a second, cleaned and freed of near copies."""
  texts = data.stdlib(clean=False)
  steps = data.repair_unicode(), data.remove_licence_header(), data.drop_unparsable()
  size = texts.about['bytes'] / 1e6
  rates, kept = [], 0
  for _ in range(max(1, _ROUNDS.value // 2)):
    begin = time.perf_counter()
    cleaned = data.clean(texts, *steps, workers=2)
    middle = time.perf_counter()
    kept = len(data.drop_duplicates(cleaned))
    end = time.perf_counter()
    rates.append([size / (middle - begin), size / (end - middle), size / (end - begin)])
  print(f'{size:.1f} MB of source in {len(texts):,} files, of which {kept:,} are left')
  print(f'{"step":32} {"MB/s":>12}')
  for name, rate in zip(('cleaning', 'near copies', 'both'), np.median(rates, axis=0), strict=True):
    print(f'{name:32} {rate:12.2f}')


def main(argv: list[str]) -> None:
  """Prints the tables."""
  del argv
  for table in (images, packing, cleaning):
    if _ONLY.value in (None, table.__name__):
      table()


if __name__ == '__main__':
  app.run(main)
