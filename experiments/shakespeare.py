"""A character transformer learns tiny-shakespeare.

  python -m experiments.shakespeare --workdir=/tmp/shakespeare --steps=500

1.777 nats a character on windows of 64; 0.8 minutes on 2 CPU cores. Longer runs are not measured
yet. An interpolated 7-gram reaches 1.542 on the same windows, and is still better.
"""

from typing import Any, Literal

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def experiment(
  *,
  length: int = 64,  # Characters of context.
  batch: int = 12,  # Windows per step, over all devices.
  depth: int = 4,
  width: int = 128,
  modern: bool = True,  # Rotary positions, RMS norms, ReLU squared; or GPT-2's choices.
  conv: int = 3,  # Width of the causal convolution before each layer; 0 is none.
  dropout: float = 0.0,
  optimizer: Literal['muon', 'adamw'] = 'muon',
  steps: int = 2_000,
  lr: float = 3e-3,  # At the peak of the schedule.
  ratio: float = 7.0,  # Muon's rate, in units of lr.
  newton: int = 5,  # Muon's steps of orthogonalisation.
  every: int = 500,  # Steps between evaluations.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""
  # Data: windows anywhere in the first 90 % of the text, and consecutive ones in the rest.
  text = data.shakespeare()
  train, held_out = data.split_by_position(text, 0.1)
  characters = data.Characters(text)
  train = data.pack(train, length, characters, stride=1)
  held_out = data.pack(held_out, length, characters)

  # Architecture.
  model = architecture.DecoderLM(
    vocab=characters.vocab,
    depth=depth,
    width=width,
    length=length,
    conv=conv,
    dropout=dropout,
  )
  if not modern:
    model = model.clone(
      position='learned', norm='layer', feed='gelu', qk_norm=False, tied=True, init_scale=0.02
    )

  # Schedule.
  if optimizer == 'muon':
    schedule = tuning.warmup_linear(lr, steps, warmup=min(20, steps // 10))
    chain = tuning.polar_express(newton)
    update = tuning.muon(schedule, ratio=ratio, coefficients=chain)
  else:
    schedule = tuning.warmup_cosine(lr, steps, end=0.1)
    update = tuning.adamw(schedule, b2=0.99)

  return Experiment(
    data=data.forever(train, batch, seed=seed),
    model=model,
    objective=evaluation.next_token,
    optimizer=update,
    schedule=schedule,
    steps=steps,
    evals={'held_out': Eval(data.once(held_out, 128), evaluation.next_token, every=every)},
    seed=seed,
  )


# nanoGPT's recipe for a CPU, and what reaches its loss in the shortest time.
NANOGPT: dict[str, Any] = dict(modern=False, conv=0, optimizer='adamw', lr=1e-3, steps=2_000)
RACE: dict[str, Any] = dict(steps=600, every=600)

if __name__ == '__main__':
  launch.run(experiment)
