"""A character transformer learns tiny-shakespeare.

  python -m experiments.shakespeare --workdir=/tmp/shakespeare

1.488 nats a character on consecutive windows of 256 of the last tenth, one seed; 12 minutes on 2
CPU cores that other work shared, 16 minutes of processor time. The best n-gram (order 7, modified
Kneser-Ney) reaches 1.517 there, as a stream.
"""

from typing import Any, Literal

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def experiment(
  *,
  length: int = 256,  # Characters of context.
  batch: int = 16,  # Windows per step, over all devices.
  depth: int = 4,
  width: int = 192,
  hidden: int | None = None,  # Inside the feed-forward layers; none is four times the width.
  modern: bool = True,  # Rotary positions, RMS norms, ReLU squared; or GPT-2's choices.
  conv: int = 4,  # Width of the causal convolution before each layer; 0 is none.
  dropout: float = 0.1,
  optimizer: Literal['muon', 'adamw'] = 'muon',
  steps: int = 900,
  lr: float = 5e-3,  # At the peak of the schedule.
  ratio: float = 7.0,  # Muon's rate, in units of lr.
  newton: int = 3,  # Muon's steps of orthogonalisation.
  every: int = 300,  # Steps between evaluations.
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
  look = {} if modern else GPT2
  model = architecture.DecoderLM(
    characters.vocab, depth, width, hidden=hidden, length=length, conv=conv, dropout=dropout, **look
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


# GPT-2's choices; nanoGPT's recipe for a CPU; what gets there soonest, with no more parameters.
Knobs = dict[str, Any]
GPT2: Knobs = dict(
  position='learned', norm='layer', feed='gelu', qk_norm=False, tied=True, init_scale=0.02
)
SMALL: Knobs = dict(length=64, batch=12, width=128, dropout=0.0)
NANOGPT: Knobs = SMALL | dict(modern=False, conv=0, optimizer='adamw', lr=1e-3, steps=2_000)
RACE: Knobs = SMALL | dict(hidden=504, lr=2e-2, ratio=3.0, steps=240, every=240)

if __name__ == '__main__':
  launch.run(experiment)
