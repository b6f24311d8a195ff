"""What cleaning and variation are worth: two arms of one experiment, seed by seed.

  python -m benchmarks.data_levers --only=augmentation
  python -m benchmarks.data_levers --only=labels --seeds=5

augmentation: the convnet of `fashion` on 2,000 training images, without and with it.
labels: the same with 20 % of the labels wrong, all kept or cleaned by confident learning.
copies: the decoder of `stdlib_lm` on bytes, on text with near copies or without them, scored on
held-out files of which no near copy is in either training text.

Arms of a seed share the data, the order and the initialisation as far as they can, and take the
same number of steps, so that differences are taken in pairs; the interval is Student's t over
seeds, 95 %.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import app, flags

from bigtrain import architecture, data, evaluation, tuning
from bigtrain.experiment import Eval, Experiment

_ONLY = flags.DEFINE_enum('only', None, ['augmentation', 'labels', 'copies'], 'one comparison')
_SEEDS = flags.DEFINE_integer('seeds', 5, 'runs of each arm', lower_bound=2)
_IMAGES = flags.DEFINE_integer('images', 2_000, 'training images', lower_bound=100)
_TESTED = flags.DEFINE_integer('tested', 10_000, 'test images', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 0, 'of every run; 0 is 600 for images, 250 for text')
_NOISE = flags.DEFINE_float('noise', 0.2, 'share of the labels that are wrong')
_WIDTH = flags.DEFINE_integer('width', 0, 'of the model; 0 is 12 for images, 96 for text')

Arms = dict[str, Experiment]  # Two, of which the first is the plain one.


def pictures(train: Any, seed: int, change: Any = None) -> Experiment:
  """The convnet on some images, tested on official test images."""
  steps, width = _STEPS.value or 600, _WIDTH.value or 12
  schedule = tuning.warmup_linear(6e-3, steps, warmup=max(1, steps // 5))
  test = data.select(data.fashion('test'), np.arange(_TESTED.value))
  return Experiment(
    data=data.forever(train, 64, seed=seed, map=change),
    model=architecture.Convnet(classes=10, widths=(width, 2 * width, 4 * width)),
    objective=functools.partial(evaluation.softmax_cross_entropy, smoothing=0.05),
    optimizer=tuning.muon(schedule, decay=0.1, coefficients=tuning.polar_express(3)),
    schedule=schedule,
    steps=steps,
    evals={'test': Eval(data.once(test, 250), evaluation.softmax_cross_entropy)},
    ema=0.99,
    seed=seed,
  )


def chosen(seed: int) -> data.Arrays:
  """Returns training images, other ones for each seed."""
  source = data.fashion('train')
  order = np.random.default_rng(seed).permutation(len(source))
  return data.select(source, order[: _IMAGES.value])


def augmentation(seed: int) -> Arms:
  """Without and with mirroring and shifting."""
  train = chosen(seed)
  change = data.compose(data.random_flip(), data.random_crop(2))
  return {'without': pictures(train, seed), 'with': pictures(train, seed, change)}


def labels(seed: int) -> Arms:
  """Wrong labels, planted uniformly over the other classes: kept, or cleaned out of fold."""
  train, rng = chosen(seed), np.random.default_rng(seed + 1_000)
  label = train.column('label')
  wrong = rng.random(len(label)) < _NOISE.value
  label = np.where(wrong, (label + rng.integers(1, 10, len(label))) % 10, label)
  noisy = data.arrays(image=train.column('image'), label=label)
  probabilities = data.out_of_fold(noisy, data.logistic_regression(), seed=seed)
  found = data.find_label_errors(probabilities, label)
  hits = wrong[found.indices].sum()
  print(
    f'  seed {seed}: {wrong.sum()} labels are wrong, {len(found.indices)} suspected, {hits} '
    'of them rightly',
    flush=True,
  )
  cleaned = data.drop_label_errors(noisy, found)
  return {'kept': pictures(noisy, seed), 'cleaned': pictures(cleaned, seed)}


def copies(seed: int) -> Arms:
  """The standard library with its own near copies, or without them."""
  source = data.stdlib(clean=False)
  train, held_out = data.split_by_document(source, 0.05, seed=seed)
  train = data.drop_leaks(train, held_out)  # For both arms: held-out files are new to them.
  clean = data.drop_duplicates(train)
  print(f'  seed {seed}: {len(train)} files, {len(clean)} without near copies', flush=True)
  return {'with copies': text(train, held_out, seed), 'without': text(clean, held_out, seed)}


def text(train: Any, held_out: Any, seed: int) -> Experiment:
  """A small decoder over bytes."""
  steps, width = _STEPS.value or 250, _WIDTH.value or 96
  schedule = tuning.warmup_linear(5e-3, steps, warmup=max(1, steps // 10))
  rows, tested = (data.pack(part, 256) for part in (train, held_out))
  # Spread over all held-out files; the same windows for both arms.
  tested = data.select(tested, np.linspace(0, len(tested) - 1, min(512, len(tested)), dtype=int))
  return Experiment(
    data=data.forever(rows, 8, seed=seed),
    model=architecture.DecoderLM(vocab=256, depth=3, width=width, conv=4),
    objective=evaluation.next_token,
    optimizer=tuning.muon(schedule, coefficients=tuning.polar_express(3)),
    schedule=schedule,
    steps=steps,
    evals={'test': Eval(data.once(tested, 32), evaluation.next_token)},
    seed=seed,
  )


# What is compared, and the metric; a difference above 0 speaks for the second arm where it is an
# accuracy, below 0 where it is bits.
COMPARISONS: dict[str, tuple[Callable[[int], Arms], str]] = {
  'augmentation': (augmentation, 'accuracy'),
  'labels': (labels, 'accuracy'),
  'copies': (copies, 'bits_per_byte'),
}


def interval(values: np.ndarray) -> tuple[float, float]:
  """Returns the mean and half the width of its 95 % interval, Student's t."""
  from scipy import stats

  half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
  return float(values.mean()), float(half)


def runs(make: Callable[[int], Arms], metric: str) -> Iterator[tuple[tuple[str, str], list[float]]]:
  """Yields the arms' names and their metric, seed after seed."""
  from bigtrain.program import Program
  from bigtrain.train import fit

  for seed in range(_SEEDS.value):
    arms = make(seed)
    values = []
    for arm in arms.values():
      values.append(fit(Program(arm), progress=False).results['test'][metric])
    first, second = arms
    yield (first, second), values


def main(argv: list[str]) -> None:
  """Prints each run, then mean and interval of the paired difference."""
  del argv
  for name, (make, metric) in COMPARISONS.items():
    if _ONLY.value not in (None, name):
      continue
    begin, table, arms = time.perf_counter(), [], ('', '')
    print(f'{name}: {metric}', flush=True)
    for arms, values in runs(make, metric):
      print(
        f'  seed {len(table)}: {arms[0]} {values[0]:.4f}, {arms[1]} {values[1]:.4f}', flush=True
      )
      table.append(values)
    both = np.array(table)
    for which, arm in enumerate(arms):
      mean, half = interval(both[:, which])
      print(f'  {arm:12} {mean:.4f} +- {half:.4f}')
    mean, half = interval(both[:, 1] - both[:, 0])
    print(f'  {arms[1]} minus {arms[0]}: {mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})')
    print(f'  {(time.perf_counter() - begin) / 60:.1f} minutes')


if __name__ == '__main__':
  app.run(main)
