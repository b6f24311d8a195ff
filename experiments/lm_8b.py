"""A decoder in the shape of Llama 3.1 8B (Grattafiori et al. 2024).

python -m experiments.lm_8b compile --topology=v5e:16x16
python -m experiments.lm_8b --workdir=gs://BUCKET/lm_8b --records=FOLDER

Compiled ahead of time in 352 s of processor time on 2 CPU cores, for v5e:16x16: 5.03 GB a device, a
step of 2,097,152 tokens at least 2.83 s, MFU at most 76 %. It was not trained.
"""

import functools

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment


def experiment(
  *,
  records: str = '',  # Folder of `train` and `held_out`, by data.write_records; empty: to compile.
  vocab: int = 128_256,
  length: int = 4096,  # Tokens of context.
  batch: int = 512,  # Windows per step, over all devices.
  depth: int = 32,
  width: int = 4096,
  heads: int = 32,
  kv_heads: int = 8,
  hidden: int = 14_336,
  scan: bool = True,  # Layers compiled once.
  remat: str = 'full',  # What the backward pass computes again: none, dots, weight_dots, full.
  quantise: str = '',  # Products of 8-bit numbers, through qwix: int8 or fp8; empty is bfloat16.
  chunks: int = 16,  # Pieces of the sequence whose logits exist at a time.
  steps: int = 76_500,  # 160 billion tokens, 20 a parameter (Hoffmann et al. 2022).
  lr: float = 3e-4,  # At the peak of the schedule.
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
    feed='swiglu', qk_norm=False, rotary_base=500_000.0, norm_epsilon=1e-5, init_scale=0.02,
    scan=scan, remat=remat, dtype='bfloat16',
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
