"""A mixture of experts: 3.5 billion parameters, of which a token uses 1.1 billion.

python -m experiments.moe_lm compile --topology=v5p:2x2x4 --mesh=fsdp:2,expert:8
python -m experiments.moe_lm --workdir=gs://BUCKET/moe_lm --records=FOLDER

Traced in 4 s on 2 CPU cores. On v5e:4x4 (--mesh=fsdp:2,expert:8) the compiler asked for 36.05 GiB a
device before sorted tokens were spread over the devices; it was not compiled since, nor trained.
"""

import functools

from bigtrain import architecture, compute, data, evaluation, launch, tuning
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
  hidden: int = 4096,  # Of each expert.
  experts: int = 8,
  active: int = 2,  # Experts of a token.
  scan: bool = True,  # Layers compiled once.
  remat: str = 'full',  # What the backward pass computes again: none, dots, weight_dots, full.
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
    experts=experts, active=active, feed='swiglu', qk_norm=False, init_scale=0.02,
    scan=scan, remat=remat, dtype='bfloat16',
  )  # fmt: skip

  # Schedule.
  schedule = tuning.warmup_cosine(lr, steps, warmup=min(2000, steps // 10))

  # Metrics: the loss is one of them.
  predict = functools.partial(evaluation.next_token, chunks=chunks)
  objective = evaluation.with_sown(predict, load_balance=0.01, router_z=0.001)

  return Experiment(
    data=data.forever(windows('train'), batch, seed=seed),
    model=model,
    objective=objective,
    optimizer=tuning.adamw(schedule, decay=0.1),
    schedule=schedule,
    steps=steps,
    evals={'held_out': Eval(data.once(windows('held_out'), batch), objective, every=2000)},
    partition=compute.expert,
    seed=seed,
  )


if __name__ == '__main__':
  launch.run(experiment)
