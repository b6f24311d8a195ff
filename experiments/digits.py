"""A small vision transformer, a convnet or an MLP reads handwritten digits.

  python -m experiments.digits --workdir=/tmp/digits
  python -m experiments.digits --workdir=/tmp/convnet --model=convnet --lr=5e-3 --epochs=30

Test accuracy on 179 images, one seed: the transformer 0.983 in 1.0 minutes on 2 CPU cores, the
convnet 0.983 in 0.3 minutes (held out 0.961 and 0.994). scikit-learn's best (an SVM, and k-NN) has
0.989: one seed of neither beats it.
"""

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
  augment: bool = True,  # Shift by up to one pixel.
  epochs: int = 100,
  lr: float = 3e-3,  # At the peak of the schedule.
  decay: float = 0.1,
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""
  # Data: the split does not depend on the seed, so that seeds can be compared.
  train, held_out, test = data.split_stratified(data.digits(), held_out=0.1, test=0.1)
  steps = data.steps(train, batch, epochs=epochs)

  # Architecture.
  if model == 'vit':
    net = architecture.ViT(classes=10, patch=2, depth=depth, width=width, dropout=dropout)
  elif model == 'convnet':
    net = architecture.Convnet(classes=10, widths=(width // 2, width), dropout=dropout)
  else:
    net = architecture.MLP(classes=10, widths=(2 * width,) * (depth // 2), dropout=dropout)

  # Schedule.
  schedule = tuning.warmup_cosine(lr, steps)

  # Metrics: the loss is one of them.
  metrics = evaluation.softmax_cross_entropy, evaluation.Classification()

  return Experiment(
    data=data.forever(train, batch, seed=seed, map=data.random_crop(1) if augment else None),
    model=net,
    objective=evaluation.softmax_cross_entropy,
    optimizer=tuning.adamw(schedule, decay=decay),
    schedule=schedule,
    steps=steps,
    evals={
      'held_out': Eval(data.once(held_out, 64), *metrics, every=500),
      'test': Eval(data.once(test, 64), *metrics),
    },
    ema=0.99,
    seed=seed,
  )


# What decides the result? One entry a lever.
LEVERS = {
  'data: no augmentation': dict(augment=False),
  'architecture: half the depth': dict(depth=2),
  'tuning: a third of the rate': dict(lr=1e-3),
}

if __name__ == '__main__':
  launch.run(experiment)
