"""What simple methods reach on exactly the splits that the experiments use: one table.

  python -m benchmarks.baselines                          (everything: about 5 minutes on 2 cores)
  python -m benchmarks.baselines digits shakespeare       (a second or two each)

An experiment whose result something here beats has nothing to show. So these are kept strong: the
n-gram model is modified Kneser-Ney, the classifiers' settings are the best of a few on held-out
data (digits) or known good ones (fashion), and what is small enough uses every training example.

Nothing is chosen on test data. The n-gram's order is not chosen at all: each order has its row.
"""

from __future__ import annotations

import argparse
import dataclasses
import lzma
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bigtrain import data

ORDERS = range(3, 9)
WINDOW = 64  # Characters of context in the `shakespeare` experiment and in nanoGPT's recipe.


STDLIB_HELD_OUT = 0.05  # As in experiments/stdlib_lm.py.


class Row(NamedTuple):
  data: str
  method: str
  value: float
  unit: str
  seconds: float


# --- Text: an n-gram model


@dataclasses.dataclass(frozen=True)
class Level:
  """One length of context: discounted counts, and what the discount leaves for shorter contexts.

  A gram is a uint64 whose lowest byte is the predicted symbol and whose next bytes are the context,
  the nearest first: eight bytes hold an 8-gram exactly, so nothing is hashed and nothing collides.
  """

  grams: np.ndarray  # uint64 [G], sorted.
  kept: np.ndarray  # float64 [G]: count less discount.
  contexts: np.ndarray  # uint64 [C], sorted.
  total: np.ndarray  # float64 [C]: undiscounted counts.
  left: np.ndarray  # float64 [C]: the sum of the discounts.

  @classmethod
  def of(cls, grams: np.ndarray, counts: np.ndarray) -> Level:
    """Discounts by how often counts of 1, 2, 3 and 4 occur (Chen and Goodman 1999, eq. 17)."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    y = n[1] / max(n[1] + 2 * n[2], 1)
    # Short contexts lack some of these counts: half the count is then as good as anything.
    discount = np.array([0, 0.5, 1.0, 1.5])
    for i in (1, 2, 3):
      if n[i] and n[i + 1]:
        discount[i] = np.clip(i - (i + 1) * y * n[i + 1] / n[i], 0.05, i - 0.05)
    discounts = discount[np.minimum(counts, 3)]
    contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
    return cls(
      grams=grams,
      kept=counts - discounts,
      contexts=contexts,
      total=np.add.reduceat(counts, starts).astype(float),
      left=np.add.reduceat(discounts, starts),
    )

  def interpolate(self, grams: np.ndarray, shorter: np.ndarray) -> np.ndarray:
    """Probability of each gram's symbol, given its probability under the shorter context."""
    at, seen = _find(self.grams, grams)
    kept = np.where(seen, self.kept[at], 0.0)
    at, seen = _find(self.contexts, grams >> np.uint64(8))
    return np.where(seen, (kept + self.left[at] * shorter) / self.total[at], shorter)


def _find(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  at = np.minimum(np.searchsorted(table, keys), len(table) - 1)
  return at, table[at] == keys


def _grams(windows_ML: np.ndarray, context: int) -> np.ndarray:
  """The last `context + 1` bytes of each window as one number."""
  grams = np.zeros(len(windows_ML), np.uint64)
  for column in range(windows_ML.shape[1] - context - 1, windows_ML.shape[1]):
    grams = grams << np.uint64(8) | windows_ML[:, column].astype(np.uint64)
  return grams


class NGram:
  """Interpolated modified Kneser-Ney over bytes, of every order from 1 to `order` at once.

  The longest context in use has plain counts; shorter ones count in how many different contexts a
  gram was seen (Chen and Goodman 1999, section 4.1.6). Where only k symbols of context exist, as at
  the start of a window, the model is the one whose longest context is k.
  """

  def __init__(self, text: np.ndarray, *, order: int, symbols: int):
    """Counts `text` (uint8 [N], N > order <= 8), whose alphabet holds `symbols` symbols."""
    if not 1 <= order <= 8 or len(text) <= order:
      raise ValueError(f'order must be 1 to 8 and below the length {len(text)}, got {order}')
    self.order, self.symbols = order, symbols
    counted = []
    for context in range(order):
      windows = np.lib.stride_tricks.sliding_window_view(text, context + 1)
      counted.append(np.unique(_grams(windows, context), return_counts=True))
    self.top = [Level.of(*level) for level in counted]
    self.lower = []
    for context, (longer, _) in enumerate(counted[1:]):
      nearest = np.uint64((1 << 8 * (context + 1)) - 1)
      self.lower.append(Level.of(*np.unique(longer & nearest, return_counts=True)))

  def probabilities(self, windows_ML: np.ndarray, reach_M: np.ndarray) -> np.ndarray:
    """Probability of each window's last byte under each order.

    Args:
      windows_ML: uint8 [M, order]: contexts, the oldest symbol first, then the symbol itself.
      reach_M: int [M]: how many of the context's symbols the model may see.

    Returns:
      float64 [order, M]; row k uses at most k symbols of context.
    """
    shorter = np.full(len(windows_ML), 1 / self.symbols)
    rows = []
    for context in range(self.order):
      grams = _grams(windows_ML, context)
      row = self.top[context].interpolate(grams, shorter)
      rows.append(np.where(reach_M >= context, row, rows[-1]) if rows else row)
      if context < len(self.lower):
        shorter = self.lower[context].interpolate(grams, shorter)
    return np.stack(rows)

  def nats(self, text: np.ndarray, *, window: int | None = None) -> np.ndarray:
    """Mean surprise of every symbol of `text` but the first.

    Args:
      text: uint8 [N].
      window: Forget everything before each consecutive stretch of this many inputs, as a model
        evaluated on consecutive windows does; None: one stream.

    Returns:
      float64 [order], nats per symbol.
    """
    reach = np.arange(1, len(text))
    if window is not None:
      reach = (reach - 1) % window + 1
    padded = np.concatenate([np.zeros(self.order - 1, np.uint8), text])
    windows = np.lib.stride_tricks.sliding_window_view(padded, self.order)[1:]
    return -np.log(self.probabilities(windows, reach)).mean(axis=1)


def xz_bits_per_byte(train: bytes, held_out: bytes) -> float:
  """What `held_out` adds to the compressed size of `train`, in bits per byte."""
  # The dictionary must reach over all of it: 64 MiB at this preset, 1.5 GiB at most.
  size = 1 << max(26, min(30, (len(train) + len(held_out)).bit_length()))
  filters = [{'id': lzma.FILTER_LZMA2, 'preset': 9 | lzma.PRESET_EXTREME, 'dict_size': size}]
  both, alone = (len(lzma.compress(x, filters=filters)) for x in (train + held_out, train))
  return 8 * (both - alone) / len(held_out)


def shakespeare() -> Iterator[Row]:
  source = data.shakespeare()
  train, held_out = (
    np.frombuffer(''.join(data.column(part, 'text')).encode(), np.uint8)
    for part in data.split_by_position(source, held_out=0.1)
  )
  start = time.perf_counter()
  model = NGram(train, order=max(ORDERS), symbols=data.Characters(source).vocab)
  for name, window in (('stream', None), (f'windows of {WINDOW}', WINDOW)):
    nats = model.nats(held_out, window=window)
    seconds = time.perf_counter() - start
    for n in ORDERS:
      yield Row('shakespeare', f'{n}-gram, {name}', nats[n - 1], 'nats/character', seconds)


def stdlib_lm() -> Iterator[Row]:
  train, held_out = (
    ''.join(f'\0{text}' for text in data.column(part, 'text')).encode()
    for part in data.split_by_document(data.stdlib(), held_out=STDLIB_HELD_OUT)
  )
  start = time.perf_counter()
  model = NGram(np.frombuffer(train, np.uint8), order=max(ORDERS), symbols=256)
  bits = model.nats(np.frombuffer(held_out, np.uint8)) / math.log(2)
  seconds = time.perf_counter() - start
  for n in ORDERS:
    yield Row('stdlib_lm', f'{n}-gram, stream', bits[n - 1], 'bits/byte', seconds)
  start = time.perf_counter()
  bits = xz_bits_per_byte(train, held_out)
  yield Row('stdlib_lm', 'xz, after train', bits, 'bits/byte', time.perf_counter() - start)


# --- Images: scikit-learn


def digits() -> Iterator[Row]:
  """The best setting of each kind on held-out data, scored on test."""
  from sklearn import linear_model, neighbors, neural_network, svm

  widths: list[Any] = [0.02, 0.05, 0.1]  # scikit-learn's stubs know only its names.
  kinds: dict[str, list[Any]] = {
    'logistic regression': [
      linear_model.LogisticRegression(C=c, max_iter=1000) for c in (0.1, 1, 10)
    ],
    'SVM, RBF': [svm.SVC(C=c, gamma=g) for c in (1, 10) for g in widths],
    'k-NN': [neighbors.KNeighborsClassifier(k, weights='distance') for k in (1, 3, 5)],
    'MLP': [
      neural_network.MLPClassifier((width,), alpha=alpha, max_iter=400, random_state=0)
      for width in (128, 512)
      for alpha in (1e-4, 1e-1)
    ],
  }
  train, held_out, test = map(_table, data.split_stratified(data.digits()))
  for kind, models in kinds.items():
    start = time.perf_counter()
    scores = [model.fit(*train).score(*held_out) for model in models]
    best = models[int(np.argmax(scores))]
    seconds = time.perf_counter() - start
    yield Row('digits', f'{kind}, held-out', max(scores), 'accuracy', seconds)
    yield Row('digits', f'{kind}, test', float(best.score(*test)), 'accuracy', seconds)


def fashion() -> Iterator[Row]:
  """Official train and test; the number in a name is the training examples used, if not all."""
  from sklearn import decomposition, ensemble, linear_model, neighbors, pipeline, svm

  boosting = ensemble.HistGradientBoostingClassifier(max_iter=100, max_bins=63, random_state=0)
  models: dict[str, tuple[Callable[[], Any], int]] = {
    'logistic regression': (
      lambda: linear_model.LogisticRegression(C=0.1, max_iter=300),
      60_000,
    ),
    'k-NN': (lambda: neighbors.KNeighborsClassifier(5, weights='distance'), 60_000),
    'SVM, RBF': (
      lambda: pipeline.make_pipeline(
        decomposition.PCA(100, random_state=0), svm.SVC(C=10, cache_size=1000)
      ),
      60_000,
    ),
    'boosted trees': (lambda: boosting, 20_000),
  }
  (x, y), test = _table(data.fashion(split='train')), _table(data.fashion(split='test'))
  order = np.random.default_rng(0).permutation(len(y))
  for kind, (make, most) in models.items():
    chosen = order[:most]
    start = time.perf_counter()
    accuracy = make().fit(x[chosen], y[chosen]).score(*test)
    name = kind if most >= len(y) else f'{kind} ({most:,})'
    seconds = time.perf_counter() - start
    yield Row('fashion', f'{name}, test', float(accuracy), 'accuracy', seconds)


def tables() -> Iterator[Row]:
  """Boosted trees at scikit-learn's own settings, on the splits of `experiments/tables.py`."""
  from sklearn import ensemble, metrics

  train, _, test = data.split_stratified(data.adult(), held_out=0.1, test=0.1)
  start = time.perf_counter()
  numbers = data.adult().column('features').shape[1]
  columns = [
    np.hstack([part.column('features'), part.column('categories')]) for part in (train, test)
  ]
  kinds: Any = list(range(numbers, columns[0].shape[1]))
  trees = ensemble.HistGradientBoostingClassifier(categorical_features=kinds, random_state=0)
  trees.fit(columns[0], train.column('label'))
  score = metrics.roc_auc_score(test.column('label'), trees.predict_proba(columns[1])[:, 1])
  yield Row('adult', 'boosted trees, test', float(score), 'ROC-AUC', time.perf_counter() - start)
  train, _, test = data.split_by_hash(data.california_housing(), held_out=0.1, test=0.1)
  start = time.perf_counter()
  regression = ensemble.HistGradientBoostingRegressor(random_state=0)
  regression.fit(data.column(train, 'features'), data.column(train, 'label'))
  error = regression.predict(data.column(test, 'features')) - data.column(test, 'label')
  seconds = time.perf_counter() - start
  yield Row('houses', 'boosted trees, test', float(np.mean(error**2)), 'squared error', seconds)


def _table(source: Any) -> tuple[np.ndarray, np.ndarray]:
  """Images as rows of floats in [0, 1], and labels."""
  images, labels = (np.asarray(data.column(source, key)) for key in ('image', 'label'))
  scale = 255 if images.dtype == np.uint8 else 1
  return images.reshape(len(images), -1).astype(np.float32) / scale, labels


TASKS = {
  'digits': digits,
  'shakespeare': shakespeare,
  'stdlib_lm': stdlib_lm,
  'fashion': fashion,
  'tables': tables,
}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('tasks', nargs='*', metavar='task', help=f'any of {", ".join(TASKS)}')
  tasks = parser.parse_args().tasks or list(TASKS)
  if unknown := set(tasks) - set(TASKS):
    parser.error(f'unknown {", ".join(sorted(unknown))}: choose from {", ".join(TASKS)}')
  print(f'{"data":12} {"method":32} {"value":>8}  {"unit":15} {"seconds":>7}')
  warnings.filterwarnings('ignore', message='lbfgs failed to converge')  # Good enough by then.
  for task in tasks:
    try:
      for row in TASKS[task]():
        print(f'{row.data:12} {row.method:32} {row.value:8.4f}  {row.unit:15} {row.seconds:7.1f}')
    except FileNotFoundError as error:
      print(f'{task:12} skipped: {error}')


if __name__ == '__main__':
  main()
