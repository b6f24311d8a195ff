"""A small vision transformer, a convnet or an MLP reads handwritten digits.

  python -m experiments.digits --workdir=/tmp/digits
  python -m experiments.digits --workdir=/tmp/convnet --model=convnet --epochs=50

Test accuracy on 179 images: the transformer 1.000 in each of 5 seeds, in 1.0 minutes on 2 CPU
cores; the convnet 0.999 (mean of 5 seeds, 0.994 to 1.000) in 0.4 minutes. scikit-learn's best on
the same split, an SVM and k-NN, have 0.989.
"""

import functools
from typing import Literal

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def experiment(
  *,
  batch: int = 64,  # Images per step, over all devices.
  model: Literal['vit', 'convnet', 'mlp'] = 'vit',
  depth: int = 4,  # Of the transformer; twice as many layers as of the MLP.
  width: int = 64,
  dropout: float = 0.1,
  augment: bool = True,  # Turn, scale, slant and shift a little.
  epochs: int = 100,
  lr: float = 2e-3,  # At the peak of the schedule.
  decay: float = 0.1,
  smoothing: float = 0.0,  # Of the labels, in training.
  ema: float = 0.99,  # Of the parameters.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""
  # Data: the split does not depend on the seed, so that seeds can be compared.
  train, held_out, test = data.split_stratified(data.digits(), held_out=0.1, test=0.1)
  steps = data.steps(train, batch, epochs=epochs)
  change = data.random_affine(rotate=15, scale=0.1, shear=0.15, shift=1) if augment else None

  # Architecture.
  if model == 'vit':
    net = architecture.ViT(10, 2, overlap=True, depth=depth, width=width, dropout=dropout)
  elif model == 'convnet':
    widths = width // 2, width
    net = architecture.Convnet(classes=10, widths=widths, halve_first=False, dropout=dropout)
  else:
    net = architecture.MLP(classes=10, widths=(2 * width,) * (depth // 2), dropout=dropout)

  # Schedule, and metrics: training smooths the labels, evaluation does not.
  schedule = tuning.warmup_cosine(lr, steps)
  metrics = evaluation.softmax_cross_entropy, evaluation.Classification()
  return Experiment(
    data=data.forever(train, batch, seed=seed, map=change),
    model=net,
    objective=functools.partial(evaluation.softmax_cross_entropy, smoothing=smoothing),
    optimizer=tuning.muon(schedule, decay=decay),
    schedule=schedule,
    steps=steps,
    evals={
      'held_out': Eval(data.once(held_out, 64), *metrics, every=500),
      'test': Eval(data.once(test, 64), *metrics),
    },
    ema=ema,
    seed=seed,
  )


# What decides the result? One lever a room, tried on runs short enough for a coffee break.
LEVERS = {
  'data: no augmentation': dict(augment=False),
  'compute: half the batch': dict(batch=32),
  'architecture: half the depth': dict(depth=2),
  'tuning: a third of the rate': dict(lr=7e-4),
  'evaluation: smoothed labels': dict(smoothing=0.1),
  'iteration: no average': dict(ema=0.0),
}
STUDY = {'epochs': 8}
SPACE = {'lr': tuning.log(1e-4, 1e-1), 'decay': tuning.uniform(0, 0.5)}  # For tune.

if __name__ == '__main__':
  launch.run(experiment)
