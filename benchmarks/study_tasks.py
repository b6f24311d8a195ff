"""The small experiments on which `study` is judged, and the defects that are planted in them.

Digits (8x8), Fashion-MNIST (2,000 images, halved to 14x14) and the standard library's source (the
byte behind 8 others, of 32,000 places), each learned by a small MLP within a second of one core.
What a real experiment would leave alone is drawn anew for each replicate of a study: the split, the
subset, the wrong labels. A seed says both: its replicate is seed // REPLICATE.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import flax.linen as nn
import numpy as np

from bigtrain import architecture, data, evaluation, tuning
from bigtrain.experiment import Eval, Experiment

REPLICATE = 1_000_000  # Seeds of one replicate.
ORDER = 10_000  # Between the seeds of two orders; a study uses those below 3,000 of each.
CONTEXT = 8
TASKS = ('digits', 'fashion', 'source')
WITHOUT = {('source', 'wrong normalisation')}  # Bytes have no scale.
RATES = {'digits': 5e-3, 'fashion': 5e-3, 'source': 5e-3}
# The best rate of the grid around those: where a study could find a better one, no study is a null.
TUNED = {'digits': 1.5e-2, 'fashion': 5e-3, 'source': 1.5e-2}

# Defect: what it changes, the lever that undoes it and that lever's knobs. The lever that undoes a
# rate is found by `study` itself.
DEFECTS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
  '30 % label noise': (dict(noise=0.3), 'data: clean labels', dict(noise=0.0)),
  'rate / 30': ({}, 'tuning: lr', {}),
  # With its steps: at equal compute a wide model would take 9, and be no cure.
  'tiny width': (dict(width=4), 'architecture: width of 64', dict(width=64, steps=160)),
  'no regularisation, 200 examples': (
    dict(records=200, dropout=0.0, decay=0.0),
    'tuning: dropout of a half',
    dict(dropout=0.5),
  ),
  'leaked split': (dict(leaked=True), 'no record of an evaluation is trained on', {}),
  'no warm-up': (dict(warmup=0.0), 'tuning: warm-up of a tenth', dict(warmup=0.1)),
  'wrong normalisation': (dict(raw=True), 'data: normalised', dict(raw=False)),
}
# Levers that any study has beside: changes that one would try and that hardly matter.
MILD: dict[str, dict[str, Any]] = {
  'data: another order': dict(order=1),
  'architecture: width of 48': dict(width=48),
  'tuning: more decay': dict(decay=0.03),
  'tuning: warm-up of a twentieth': dict(warmup=0.05),
}


def plant(task: str, defect: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]], str]:
  """Returns a task's knobs with a defect ('' for none), a study's levers, and the right one.

  Levers that turn the defect's own knob are left out, for each of them may be right.
  """
  knobs: dict[str, Any] = dict(task=task, lr=RATES[task])
  if not defect:
    return knobs, dict(MILD), ''
  changed, right, cure = DEFECTS[defect]
  if defect == 'rate / 30':
    knobs['lr'] /= 30
  mild = {name: change for name, change in MILD.items() if not set(change) & set(changed)}
  return {**knobs, **changed}, {**mild, **({right: cure} if cure else {})}, right


class Net(nn.Module):
  """An MLP on pixels, or on the embeddings of bytes."""

  width: int
  classes: int
  dropout: float

  @nn.compact
  def __call__(self, x, *, train: bool):
    if x.dtype == np.uint8:
      x = nn.Embed(256, 16)(x)
    return architecture.MLP((self.width,) * 2, self.classes, self.dropout)(x, train=train)


@functools.cache
def _images(task: str) -> data.Arrays:
  if task == 'digits':
    return data.digits()
  source = data.fashion('train')
  kept = np.arange(20_000)
  image = source.column('image')[kept].reshape(-1, 14, 2, 14, 2, 1).mean((2, 4)) / 255
  return data.arrays(image=image.astype(np.float32), label=source.column('label')[kept])


@functools.cache
def _bytes() -> np.ndarray:
  train, _ = data.split_by_document(data.stdlib(), 0.05)
  return np.frombuffer(''.join(train.column('text')[:200]).encode(), np.uint8)


@functools.lru_cache(64)
def parts(
  task: str, replicate: int, noise: float, records: int, leaked: bool, raw: bool
) -> tuple[data.Arrays, ...]:
  """Returns training, held-out and test records of a replicate."""
  rng = np.random.default_rng(replicate)
  if task == 'source':
    text = _bytes()
    held = rng.permutation(len(text) // 4_096)[:48] * 4_096  # Stretches far from each other.
    places = [
      rng.permutation((some[:, None] + np.arange(4_096 - CONTEXT)).ravel())[:size]
      for some, size in ((held[:32], 32_000), (held[32:40], 4_000), (held[40:], 4_000))
    ]
    x = [text[some[:, None] + np.arange(CONTEXT)] for some in places]
    y = [text[some + CONTEXT].astype(np.int32) for some in places]
    known = {row.tobytes() for row in x[0]}
    for part in (1, 2):  # Short texts repeat, and what was trained on is not judged by.
      new = np.array([row.tobytes() not in known for row in x[part]])
      x[part], y[part] = x[part][new][:2_000], y[part][new][:2_000]
    key, classes = 'tokens', 256
  else:
    source = _images(task)
    image, label = source.column('image'), source.column('label')
    order = rng.permutation(len(image))
    sizes = (1_100, 300, 397) if task == 'digits' else (2_000, 1_000, 1_000)
    cuts = np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])
    image = image * 255 if raw else (image - image.mean()) / image.std()
    x, y = [image[cut] for cut in cuts], [label[cut] for cut in cuts]
    key, classes = 'image', 10
  if leaked:
    x[1], y[1] = (np.concatenate([a[0][:100], a[1][100:]]) for a in (x, y))
  wrong = rng.random(len(y[0])) < noise
  y[0] = np.where(wrong, rng.integers(0, classes, len(wrong)), y[0]).astype(np.int32)
  if records:
    x[0], y[0] = x[0][:records], y[0][:records]
  return tuple(data.arrays(**{key: a, 'label': b}) for a, b in zip(x, y, strict=True))


def experiment(
  *,
  task: Literal['digits', 'fashion', 'source'] = 'digits',
  noise: float = 0.0,  # Share of the training labels that are random.
  records: int = 0,  # Training records; 0 is all.
  leaked: bool = False,  # Whether some held-out records are trained on.
  raw: bool = False,  # Whether pixels are fed as 0 ... 255.
  order: int = 0,  # Other random numbers: of initialisation, order and dropout.
  batch: int = 32,
  width: int = 64,
  dropout: float = 0.1,
  warmup: float = 0.1,  # Share of the steps.
  decay: float = 0.01,
  smoothing: float = 0.0,
  steps: int = 160,
  lr: float = 5e-3,
  seed: int = 0,
) -> Experiment:
  """Returns the experiment."""
  train, held_out, test = parts(task, seed // REPLICATE, noise, records, leaked, raw)
  schedule = tuning.warmup_cosine(lr, steps, warmup=round(warmup * steps))
  seed += ORDER * order
  objective = evaluation.softmax_cross_entropy
  return Experiment(
    data=data.forever(train, batch, seed=seed),
    model=Net(width, 256 if task == 'source' else 10, dropout),
    objective=functools.partial(objective, smoothing=smoothing),
    optimizer=tuning.adamw(schedule, decay=decay),
    steps=steps,
    evals={
      name: Eval(data.once(part, 500), objective)
      for name, part in (('held_out', held_out), ('test', test))
    },
    seed=seed,
  )
