"""ViT-S/16 on ImageNet for 90 epochs, after Beyer, Zhai and Kolesnikov (2022): 76.5 % there.

python -m experiments.vit_imagenet compile --topology=v5e:4x4
python -m experiments.vit_imagenet --workdir=gs://BUCKET/vit --images=FOLDER --workers=16

Compiled ahead of time in 97 s of 2 CPU cores, for v5e:4x4: 2.49 GB a device, a step of 1024 images
at least 0.028 s, MFU at most 32 %. It was not trained. Positions are learned, not sinusoidal.
"""

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def experiment(
  *,
  images: str = '',  # Folder of `train` and `val`, each of one folder a class; empty: to compile.
  classes: int = 1000,
  side: int = 224,  # Pixels.
  batch: int = 1024,  # Images per step, over all devices.
  depth: int = 12,
  width: int = 384,
  heads: int = 6,
  epochs: float = 90.0,
  lr: float = 1e-3,  # At the peak of the schedule.
  mixup: float = 0.2,  # Of Beta's distribution.
  workers: int = 0,  # Processes that decode and vary images.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""

  # Data.
  def pictures(part: str, size: int):
    if images:
      return data.image_folder(f'{images}/{part}', size=size)
    return data.described(image=((size, size, 3), 'uint8'), label=((), 'int32'))

  train, held_out = pictures('train', side * 8 // 7), pictures('val', side)
  vary = data.compose(
    data.random_resized_crop((side, side), area=(0.05, 1.0)),
    data.random_flip(),
    data.rand_augment(2, 10.0),
    data.mixup(mixup, classes=classes),
  )
  count = len(train) if images else 1_281_167
  steps = max(1, round(epochs * count / batch))

  # Architecture.
  model = architecture.ViT(
    classes=classes, patch=16, depth=depth, width=width, heads=heads, dtype='bfloat16'
  )

  # Schedule.
  schedule = tuning.warmup_cosine(lr, steps, warmup=min(10_000, steps // 10))

  objective = evaluation.softmax_cross_entropy
  return Experiment(
    data=data.forever(train, batch, seed=seed, map=vary, workers=workers),
    model=model,
    objective=objective,
    optimizer=tuning.adamw(schedule, decay=0.1, b2=0.999),
    schedule=schedule,
    steps=steps,
    evals={'held_out': Eval(data.once(held_out, batch, workers=workers), objective, every=5000)},
    seed=seed,
  )


if __name__ == '__main__':
  launch.run(experiment)
