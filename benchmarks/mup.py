"""Does the best rate hold as a model grows wider? muP against the standard parametrisation.

  python -m benchmarks.mup --workdir=/tmp/mup
  python -m benchmarks.mup --workdir=/tmp/mup_lm --model=decoder

An MLP of two hidden layers on `digits`, or a decoder of one block on the characters of
`shakespeare`; Adam at a rate that rises and falls linearly, over a 16-fold range of widths and a
grid of rates half an octave apart. The loss is that over all training images, or over held-out
text, after the last step; its logarithm is averaged over seeds. The best rate is the vertex of a
parabola through the five rates around the lowest mean. Runs are kept in the workdir: the same
command goes on where it was.
"""

from __future__ import annotations

import functools
import os
import time
from typing import Any

import numpy as np
from absl import app, flags

from bigtrain import architecture, data, evaluation, tuning
from bigtrain.build import Build
from bigtrain.experiment import Eval, Experiment
from bigtrain.trials import Trials
from bigtrain.verdict import lines

_WORKDIR = flags.DEFINE_string('workdir', 'runs/mup', 'where runs and the picture are kept')
_MODEL = flags.DEFINE_enum('model', 'mlp', ['mlp', 'decoder'], 'what is trained')
_SEEDS = flags.DEFINE_integer('seeds', 6, 'of each width and rate', lower_bound=1)
_WIDTHS = flags.DEFINE_list('widths', ['1', '2', '4', '8', '16'], 'in units of the base')
_RATES = {'mlp': (-20, -4), 'decoder': (-18, -5)}  # In half octaves: from 2 ** (-20 / 2).


def mlp(
  *, times: int = 1, lr: float = 1e-3, mup: bool = True, steps: int = 120, seed: int = 0
) -> Experiment:
  """Returns a run on digits, `times` as wide as 64."""
  train, _, _ = data.split_stratified(data.digits(), held_out=0.1, test=0.1)
  stream = data.forever(train, 64, seed=seed)
  models = [architecture.MLP((width, width), 10) for width in (64, 64 * times)]
  tested = {'loss': Eval(data.once(train, 480), evaluation.softmax_cross_entropy, every=steps)}
  return _run(stream, 'image', models, evaluation.softmax_cross_entropy, tested, lr, mup, steps)


@functools.cache
def _texts() -> tuple[Any, Any, int]:
  text = data.shakespeare()
  train, held_out = data.split_by_position(text, 0.1)
  characters = data.Characters(text)
  held_out = data.pack(held_out, 32, characters)
  some = data.select(held_out, np.linspace(0, len(held_out) - 1, 512, dtype=int))
  return data.pack(train, 32, characters, stride=1), some, characters.vocab


def decoder(
  *, times: int = 1, lr: float = 1e-3, mup: bool = True, steps: int = 100, seed: int = 0
) -> Experiment:
  """Returns a run on characters, `times` as wide as 16, with as many heads of 16."""
  train, held_out, vocab = _texts()
  stream = data.forever(train, 8, seed=seed)
  models = [architecture.DecoderLM(vocab, 1, 16 * n, heads=n) for n in (1, times)]
  tested = {'loss': Eval(data.once(held_out, 128), evaluation.next_token, every=steps)}
  return _run(stream, 'inputs', models, evaluation.next_token, tested, lr, mup, steps)


def _run(
  stream: Any, key: str, models: list[Any], objective: Any, tested: Any, lr: float, mup: bool,
  steps: int,
) -> Experiment:  # fmt: skip
  rules = tuning.mup(models[0], stream.spec[key])
  schedule = tuning.warmup_linear(lr, steps, warmup=steps // 10)
  adam = tuning.adamw(schedule, decay=0.0, clip=None)
  return Experiment(
    data=stream,
    model=models[1],
    objective=objective,
    optimizer=rules.optimizer(adam) if mup else adam,
    schedule=schedule,
    steps=steps,
    evals=tested,
    initial=rules.initial if mup else None,
    seed=stream.seed,
  )


def best_rate(rates: np.ndarray, losses: np.ndarray) -> float:
  """Returns the logarithm to base 2 of the best rate, from mean log losses [R]."""
  lowest = int(np.argmin(losses))
  near = slice(max(0, lowest - 2), lowest + 3)
  curve = np.polyfit(np.log2(rates[near]), losses[near], 2)
  inside = 2 <= lowest < len(rates) - 2 and curve[0] > 0
  return float(-curve[1] / (2 * curve[0])) if inside else float(np.log2(rates[lowest]))


def draw(rates: np.ndarray, found: dict[str, dict[int, np.ndarray]], path: str) -> None:
  """Draws the loss by the rate, a line a width, a panel a parametrisation."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 3.8), layout='constrained')
  panels = figure.subplots(1, 2, sharey=True)
  for panel, (name, widths) in zip(panels, found.items(), strict=True):
    for index, (width, losses) in enumerate(widths.items()):
      grey = str(0.7 * (1 - index / max(1, len(widths) - 1)))
      panel.plot(rates, np.exp(losses), color=grey, label=f'width {width}')
      best = best_rate(rates, losses)
      panel.plot(2**best, np.exp(losses.min()), 'o', color=grey, markeredgecolor='tab:red')
    panel.set_title(name)
    panel.set_xscale('log', base=2)
    panel.set_yscale('log')
    panel.set_xlabel('learning rate')
    panel.spines[['top', 'right']].set_visible(False)
  panels[0].set_ylabel('loss at the end')
  panels[0].legend(frameon=False, fontsize=8)
  figure.savefig(path, dpi=120)


def main(argv: list[str]) -> None:
  """Prints the best rate of each width, and by how many octaves it moves."""
  del argv
  begin = time.process_time()
  trials = Trials(
    Build.of({'mlp': mlp, 'decoder': decoder}[_MODEL.value]),
    os.path.join(_WORKDIR.value, 'trials.jsonl'),
  )
  low, high = _RATES[_MODEL.value]
  rates = 2.0 ** (np.arange(low, high + 1) / 2)
  base = {'mlp': 64, 'decoder': 16}[_MODEL.value]
  found: dict[str, dict[int, np.ndarray]] = {}
  rows = []
  for name, mup in (('muP', True), ('standard', False)):
    found[name] = {}
    for times in map(int, _WIDTHS.value):
      width = times * base
      runs = [
        {'times': times, 'mup': mup, 'lr': float(rate), 'seed': seed}
        for rate in rates
        for seed in range(_SEEDS.value)
      ]
      results = trials.measure(runs, ['loss'], stage=f'{name} {width}')
      loss = np.array([r['loss']['loss'] for r in results]).reshape(len(rates), -1)
      found[name][width] = np.log(np.where(np.isfinite(loss), loss, 1e3)).mean(axis=1)
      best = best_rate(rates, found[name][width])
      rows.append([name, str(width), f'{2**best:.3g}', f'{np.exp(found[name][width].min()):.3g}'])
      print(f'{rows[-1]} {(time.process_time() - begin) / 60:.1f} minutes', flush=True)
  print(lines(('parametrisation', 'width', 'best rate', 'loss there'), rows))
  for name, widths in found.items():
    best = [best_rate(rates, losses) for losses in widths.values()]
    print(
      f'{name}: from the narrowest to the widest the best rate moves by {best[-1] - best[0]:+.2f} '
      f'octaves; over all widths it spans {max(best) - min(best):.2f}'
    )
  path = os.path.join(_WORKDIR.value, 'mup.png')
  draw(rates, found, path)
  print(f'{path}; {(time.process_time() - begin) / 60:.1f} minutes of processor time')


if __name__ == '__main__':
  app.run(main)
