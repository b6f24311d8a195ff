"""A decoder learns to write Python from the standard library's own source.

  python -m experiments.stdlib_lm --workdir=/tmp/stdlib_lm

1.258 bits a byte of 31 held-out files, one seed; 20 minutes on 2 CPU cores that other work shared,
35 minutes of processor time. An 8-gram (modified Kneser-Ney) reaches 1.638 on the same split, xz
after the training text 1.393.

What leaving near copies out is worth cannot be told from 0: +0.018 bits a byte (-0.048 to +0.084, 5
paired seeds of a small model of 250 steps; `python -m benchmarks.data_levers --only=copies`).
"""

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def experiment(
  *,
  vocab: int = 4096,  # Tokens of the byte-pair encoding; 0 is bytes.
  length: int = 512,  # Tokens of context.
  batch: int = 8,  # Windows per step, over all devices.
  depth: int = 4,
  width: int = 192,
  conv: int = 4,  # Width of the causal convolution before each layer; 0 is none.
  dropout: float = 0.0,
  epochs: float = 2.0,
  lr: float = 5e-3,  # At the peak of the schedule.
  newton: int = 3,  # Muon's steps of orthogonalisation.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""
  # Data: whole files are held out; the vocabulary is learned from the others.
  train, held_out = data.split_by_document(data.stdlib(), 0.05)
  tokenizer = data.bpe(train, vocab) if vocab else data.Bytes()
  train, held_out = (data.pack(part, length, tokenizer) for part in (train, held_out))
  steps = data.steps(train, batch, epochs=epochs)

  # Architecture.
  model = architecture.DecoderLM(
    vocab=tokenizer.vocab, depth=depth, width=width, conv=conv, dropout=dropout
  )

  # Schedule.
  schedule = tuning.warmup_linear(lr, steps, warmup=min(50, steps // 10))

  return Experiment(
    data=data.forever(train, batch, seed=seed),
    model=model,
    objective=evaluation.next_token,
    optimizer=tuning.muon(schedule, coefficients=tuning.polar_express(newton)),
    schedule=schedule,
    steps=steps,
    evals={'held_out': Eval(data.once(held_out, 32), evaluation.next_token, every=-(-steps // 4))},
    seed=seed,
  )


if __name__ == '__main__':
  launch.run(experiment)
