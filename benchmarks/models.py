"""A training step of each family, through train.py's own loop, against the same model in PyTorch.

  python -m benchmarks.models                    (PyTorch is needed: `pip install torch`)
  python -m benchmarks.models --only=vit --only=decoder

Both sides have the same parameters, batch and optimiser (AdamW), without dropout; bigtrain reads
its data and writes its journal meanwhile. Each side stays in a process of its own and rests while
another runs a block of steps; the order turns round with each round. Ratios are PyTorch's seconds
over bigtrain's, of neighbouring blocks, and their median counts where other processes took under a
tenth of the CPU. PyTorch runs in float32 with two threads, eager and
compiled; eager with bfloat16 products is named beside.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.nanogpt_race import Worker, note

SIDES = ('bigtrain', 'eager', 'compiled', 'bfloat16')
BLOCK_SECONDS = 1.0  # About, of each side.


class Family(NamedTuple):
  """One model on both sides.

  Attributes:
    ours: Makes it from the module `bigtrain.architecture`.
    theirs: Makes it from `benchmarks.models_torch`.
    shape: Of an input.
    batch: Examples a step.
    vocab: Tokens there are; 0 is an input of floats.
  """

  ours: Callable[[Any], Any]
  theirs: Callable[[Any], Any]
  shape: tuple[int, ...]
  batch: int
  vocab: int = 0


def _decoder(a: Any) -> Any:
  return a.DecoderLM(
    vocab=2048, depth=6, width=256, heads=4, length=256, position='learned', norm='layer_bias',
    feed='gelu', qk_norm=False, tied=True, init_scale=0.02,
  )  # fmt: skip


FAMILIES = {
  'mlp': Family(lambda a: a.MLP((512, 512), 10), lambda t: t.mlp((512, 512), 10, 784), (784,), 128),
  'resnet': Family(
    lambda a: a.ResNet(10, (1, 1, 1), bottleneck=False, width=32, small=True),
    lambda t: t.resnet(32, 3),
    (32, 32, 3),
    32,
  ),
  'convnext': Family(
    lambda a: a.ConvNeXt(10, (2, 2), (64, 128), patch=2, out_epsilon=1e-6),
    lambda t: t.convnext((64, 128), 2),
    (32, 32, 3),
    32,
  ),
  'vit': Family(  # ViT-Ti/4.
    lambda a: a.ViT(10, 4, depth=12, width=192, heads=3),
    lambda t: t.vit(12, 192, 3, 32),
    (32, 32, 3),
    64,
  ),
  'mixer': Family(
    lambda a: a.Mixer(10, 4, depth=4, width=192), lambda t: t.mixer(4, 192, 32), (32, 32, 3), 32
  ),
  'lstm': Family(
    lambda a: a.RecurrentClassifier(10, 'lstm', 2, 128, pool='last'),
    lambda t: t.recurrent('lstm', 28, 2, 128),
    (28, 28),
    128,
  ),
  'gru': Family(
    lambda a: a.RecurrentClassifier(10, 'gru', 2, 128, pool='last'),
    lambda t: t.recurrent('gru', 28, 2, 128),
    (28, 28),
    128,
  ),
  'decoder': Family(_decoder, lambda t: t.decoder(2048, 6, 256, 4, 256), (256,), 4, 2048),
  'encoder': Family(
    lambda a: a.Encoder(2048, 6, 256, heads=4, length=128, classes=10, pool='mean', use_bias=False),
    lambda t: t.encoder(2048, 6, 256, 4, 128),
    (128,),
    8,
    2048,
  ),
}


def records(name: str, count: int) -> dict[str, np.ndarray]:
  """Returns noise, as a source of the family's examples and the first batch of PyTorch."""
  family, rng = FAMILIES[name], np.random.default_rng(0)
  if name == 'decoder':
    text = rng.integers(0, family.vocab, (count, family.shape[0] + 1)).astype(np.int32)
    return {'inputs': text[:, :-1], 'targets': text[:, 1:]}
  if family.vocab:
    given = {'tokens': rng.integers(0, family.vocab, (count, *family.shape)).astype(np.int32)}
  else:
    given = {'image': rng.normal(size=(count, *family.shape)).astype(np.float32)}
  return {**given, 'label': rng.integers(0, 10, count).astype(np.int32)}


def experiment(name: str) -> Any:
  """Returns the experiment that trains a family on noise."""
  import optax

  from bigtrain import architecture, data, evaluation
  from bigtrain.experiment import Experiment

  family = FAMILIES[name]
  return Experiment(
    data=data.forever(data.arrays(**records(name, 4 * family.batch)), family.batch, seed=0),
    model=family.ours(architecture),
    objective=evaluation.next_token if name == 'decoder' else evaluation.softmax_cross_entropy,
    optimizer=optax.adamw(1e-3, weight_decay=0.01),
    steps=1,
  )


class Bigtrain:
  """Through train.py's loop."""

  def __init__(self, name: str):
    from benchmarks.blocks import Loop

    self.loop = Loop(experiment(name))

  def steps(self, count: int) -> dict[str, float]:
    seconds = self.loop.steps(count)
    loop = self.loop
    return {
      'seconds': seconds, 'parameters': loop.parameters, 'per_dispatch': loop.per_dispatch
    }  # fmt: skip

  def close(self) -> None:
    self.loop.close()


class Torch:
  """A plain loop over one batch in memory."""

  def __init__(self, name: str, side: str):
    torch: Any = importlib.import_module('torch')
    torch.set_num_threads(2)
    torch.manual_seed(0)
    net = FAMILIES[name].theirs(importlib.import_module('benchmarks.models_torch'))
    self.torch, self.half = torch, side == 'bfloat16'
    self.parameters = sum(p.numel() for p in net.parameters())
    self.net = torch.compile(net, dynamic=False) if side == 'compiled' else net
    self.optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    given, label = records(name, FAMILIES[name].batch).values()
    self.given, self.label = torch.from_numpy(given.copy()), torch.from_numpy(label).long().view(-1)

  def steps(self, count: int) -> dict[str, float]:
    torch = self.torch
    begin = time.perf_counter()
    for _ in range(count):
      with torch.autocast('cpu', torch.bfloat16, enabled=self.half):
        loss = torch.nn.functional.cross_entropy(self.net(self.given).float(), self.label)
      loss.backward()
      self.optimizer.step()
      self.optimizer.zero_grad()
      loss.item()
    return {'seconds': time.perf_counter() - begin, 'parameters': self.parameters}

  def close(self) -> None:
    pass


def work(name: str) -> None:
  """A worker: answers each line of standard input, a family and a count, with a line of JSON."""
  answers = os.fdopen(os.dup(1), 'w')  # Whatever else is printed goes to standard error.
  os.dup2(2, 1)
  held: tuple[str, Any] | None = None
  for line in sys.stdin:
    family, count = line.split()
    try:
      if held is None or held[0] != family:
        if held:
          held[1].close()
        held = (family, Bigtrain(family) if name == 'bigtrain' else Torch(family, name))
      answer = held[1].steps(int(count))
    except Exception as error:
      answer = {'error': f'{type(error).__name__}: {error}'.splitlines()[0]}
    print(json.dumps(answer), file=answers, flush=True)
  if held:
    held[1].close()


def measure(family: str, workers: list[Worker], rounds: int) -> None:
  """Prints a line for each side."""
  blocks: dict[str, list[dict]] = {}
  counts: dict[str, int] = {}
  for worker in workers:
    # A block is of whole dispatches: what lies half-way would be counted to the next one.
    whole = 10 if worker.name == 'bigtrain' else 1
    answers = [worker.ask(f'{family} {whole}') for _ in range(2)]  # The first compiles.
    if 'error' in answers[1]:
      print(f'{family:9} {worker.name}: left out ({answers[1]["error"]})', flush=True)
      continue
    if answers[1].get('per_dispatch') == 1:
      whole, answers[1]['seconds'] = 1, answers[1]['seconds'] / whole
    counts[worker.name] = whole * max(1, round(BLOCK_SECONDS / answers[1]['seconds']))
    blocks[worker.name] = []
  for turn in range(rounds):
    for worker in workers[:: -1 if turn % 2 else 1]:
      if worker.name in counts:
        time.sleep(0.3)  # The last side's threads stop spinning.
        blocks[worker.name].append(worker.ask(f'{family} {counts[worker.name]}'))
  times = {n: [b['seconds'] / counts[n] for b in all] for n, all in blocks.items()}
  for name, all in blocks.items():
    ratio = '-'
    if 'bigtrain' in times:
      ratios = [a / b for a, b in zip(times[name], times['bigtrain'], strict=True)]
      ratio = f'{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})'
    others = statistics.median(b['others'] for b in all)
    print(
      f'{family:9} {name:9} {1e3 * statistics.median(times[name]):9.1f} {ratio:>18} '
      f'{all[0]["parameters"]:10,d} {note(others)}',
      flush=True,
    )


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--only', action='append', choices=list(FAMILIES), help='may be repeated')
  parser.add_argument('--rounds', type=int, default=4, help='blocks of steps for each side')
  parser.add_argument('--worker', choices=SIDES, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.worker:
    return work(options.worker)
  if importlib.util.find_spec('torch') is None:
    print('Nothing to compare with: PyTorch is not installed (`pip install torch` brings it).')
    return None
  workers = [Worker(name, 'benchmarks.models') for name in SIDES]
  print(f'{"family":9} {"side":9} {"ms a step":>9} {"to bigtrain":>18} {"parameters":>10} others')
  try:
    for family in options.only or FAMILIES:
      measure(family, workers, options.rounds)
  finally:
    for worker in workers:
      worker.end()
  return None


if __name__ == '__main__':
  main()
