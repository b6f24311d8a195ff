"""What the soaks train: a tiny language model with everything on that resuming could break.

  python -m benchmarks.soak.subject --workdir=/tmp/subject

Dropout, shuffling, augmentation, a mixture along a curriculum, packed documents, an average of
parameters, and evaluations on the way, over several epochs of each source.
"""

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def _texts(word: str, count: int) -> data.Arrays:
  return data.arrays(text=[f'{word} {i} ' * (1 + i * 7 % 5) for i in range(count)])


def experiment(
  *,
  steps: int = 600,
  width: int = 16,
  workers: int = 0,  # Processes that read.
  every: int = 100,  # Steps between evaluations.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment."""
  parts = {name: data.pack(_texts(name, n), 32) for name, n in (('a', 170), ('bb', 90), ('c', 50))}
  curriculum = {0: {'a': 1, 'bb': 1}, steps // 2: {'a': 1, 'bb': 2, 'c': 3}}
  mixture = data.mix(parts, schedule=curriculum, between='linear')
  schedule = tuning.warmup_cosine(1e-3, steps)
  held_out = data.once(data.pack(_texts('d', 20), 32), 8)
  return Experiment(
    data=data.forever(mixture, 8, seed=seed, map=data.token_dropout(0, 0.1), workers=workers),
    model=architecture.DecoderLM(vocab=256, width=width, depth=1, heads=2, dropout=0.1),
    objective=evaluation.next_token,
    optimizer=tuning.adamw(schedule),
    schedule=schedule,
    steps=steps,
    evals={'held_out': Eval(held_out, evaluation.next_token, every=every)},
    ema=0.99,
    seed=seed,
  )


if __name__ == '__main__':
  launch.run(experiment)
