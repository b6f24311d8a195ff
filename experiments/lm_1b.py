"""A decoder of 1.1 billion parameters in Llama's form (Touvron et al. 2023).

python -m experiments.lm_1b compile --topology=v5e:4x4
python -m experiments.lm_1b --workdir=gs://BUCKET/lm_1b --records=FOLDER

Compiled ahead of time in 165 s of processor time on 2 CPU cores, for v5e:4x4: 2.55 GB a device, a
step of 131,072 tokens at least 0.42 s, MFU at most 69 %. It was not trained.
"""

import functools

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def experiment(
  *,
  records: str = '',  # Folder of `train` and `held_out`, by data.write_records; empty: to compile.
  vocab: int = 32_000,
  length: int = 2048,  # Tokens of context.
  batch: int = 64,  # Windows per step, over all devices.
  depth: int = 16,
  width: int = 2048,
  heads: int = 16,  # Of 128 channels, which fill a TPU's lanes.
  kv_heads: int = 4,
  hidden: int = 8192,
  scan: bool = True,  # Layers compiled once.
  remat: str = 'full',  # What the backward pass computes again: none, dots, weight_dots, full.
  quantise: str = '',  # Products of 8-bit numbers, through qwix: int8 or fp8; empty is bfloat16.
  chunks: int = 8,  # Pieces of the sequence whose logits exist at a time.
  steps: int = 167_000,  # 22 billion tokens, 20 a parameter (Hoffmann et al. 2022).
  lr: float = 4e-4,  # At the peak of the schedule.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""

  # Data: windows of tokens, packed and written beforehand.
  def windows(part: str):
    if records:
      return data.read_records(f'{records}/{part}')
    return data.described(inputs=((length,), 'int32'), targets=((length,), 'int32'))

  # Architecture.
  model = architecture.DecoderLM(
    vocab=vocab, depth=depth, width=width, heads=heads, kv_heads=kv_heads, hidden=hidden,
    feed='swiglu', qk_norm=False, init_scale=0.02, scan=scan, remat=remat, dtype='bfloat16',
  )  # fmt: skip
  model = architecture.quantised(model, quantise)

  # Schedule.
  schedule = tuning.warmup_cosine(lr, steps, warmup=min(2000, steps // 10))

  # Metrics: the loss is one of them.
  objective = functools.partial(evaluation.next_token, chunks=chunks)

  return Experiment(
    data=data.forever(windows('train'), batch, seed=seed),
    model=model,
    objective=objective,
    optimizer=tuning.adamw(schedule, decay=0.1),
    schedule=schedule,
    steps=steps,
    evals={'held_out': Eval(data.once(windows('held_out'), batch), objective, every=2000)},
    seed=seed,
  )


if __name__ == '__main__':
  launch.run(experiment)
