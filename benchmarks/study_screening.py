"""What a screening gives up for its haste, and what running side by side saves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks import study_tasks as tasks
from bigtrain.ablation import Plan
from bigtrain.ablation import scores as scores_of
from bigtrain.arms import make_arms, run_screening
from bigtrain.build import Build
from bigtrain.cohort import Cohort
from bigtrain.program import Program
from bigtrain.train import fit
from bigtrain.trials import Trials

# Levers that matter, beside those that hardly do: their arms like other rates.
_STRONG: dict[str, dict[str, Any]] = {
  'data: label noise': dict(noise=0.3),
  'data: 200 examples': dict(records=200),
  'architecture: tiny': dict(width=4),
  'tuning: no warm-up': dict(warmup=0.0),
}


def pruning(task: str, replicate: int, cohort: Cohort) -> dict[str, Any]:
  """Screens as `study` does, then trains to the end whatever the screening looked at."""
  knobs, mild, _ = tasks.plant(task, '')
  knobs['lr'] *= 3.0 ** (replicate % 3 - 1)  # So that the best is not always in the middle.
  build = Build.of(tasks.experiment, **knobs, seed=replicate * tasks.REPLICATE)
  trials, plan = Trials(build, cohort=cohort), Plan().fit(build)
  arms = make_arms(trials, {**mild, **_STRONG}, plan.rate)
  seeds = range(build.knobs['seed'], build.knobs['seed'] + plan.screen)
  score = scores_of(trials, plan)
  begin = time.process_time()
  found = run_screening(trials, arms, rate=plan.rate, spread=plan.spread, seeds=seeds, score=score)
  pruned, seconds = trials.trained, time.process_time() - begin
  pairs = [(arm, rate) for arm in arms for rate in found.tried[arm.name]]
  runs = [{**arm.knobs, plan.rate: rate, 'seed': seed} for arm, rate in pairs for seed in seeds]
  values = iter(score(runs, 1.0))
  full: dict[str, dict[str, list[float]]] = {arm.name: {} for arm in arms}
  for arm, rate in pairs:
    full[arm.name][str(rate)] = [next(values) for _ in seeds]
  whole = sum(build(**{**run, 'seed': 0}).steps for run in runs)
  return {
    'steps': pruned, 'whole': whole, 'seconds': round(seconds, 1), 'full': full,
    'chosen': {name: str(rate) for name, rate in found.rates.items()}, 'answer': '',
  }  # fmt: skip


def sharing(task: str, every: int = 5) -> dict[str, Any]:
  """Trains a screening's runs side by side; then some of them one by one, as `train` does.

  Both compile for themselves: JAX's cache is off.
  """
  jax.config.update('jax_enable_compilation_cache', False)
  knobs, mild, _ = tasks.plant(task, '')
  build = Build.of(tasks.experiment, **knobs)
  changes: list[dict[str, Any]] = [{}, *mild.values()]
  runs = [
    {**change, 'lr': knobs['lr'] * 3.0**power, 'seed': seed}
    for change in changes
    for power in range(-2, 3)
    for seed in range(2)
  ]
  build(**runs[0])  # Reads the data.
  begin = time.process_time()
  together = Trials(build).measure(runs, ['held_out', 'test'])
  middle = time.process_time()
  some = [fit(Program(build(**run)), progress=False) for run in runs[::every]]
  end = time.process_time()
  worst = max(
    abs(run.results['held_out']['loss'] - results['held_out']['loss'])
    for run, results in zip(some, together[::every], strict=True)
  )
  return {
    'runs': len(runs), 'together': middle - begin, 'alone': (end - middle) * len(runs) / len(some),
    'seconds': round(end - begin, 1), 'steps': sum(build(**run).steps for run in runs),
    'answer': f'losses differ by at most {worst:.2g}',
  }  # fmt: skip


def table(
  pruned: list[dict[str, Any]], shared: list[dict[str, Any]]
) -> Iterator[tuple[str, str, str]]:
  """Yields claims, what was measured and what was aimed at."""
  found = [judge(row['full'][arm], rate) for row in pruned for arm, rate in row['chosen'].items()]
  if found:
    kept, near, count = sum(f[0] for f in found), sum(f[1] for f in found), len(found)
    share = sum(row['steps'] for row in pruned) / sum(row['whole'] for row in pruned)
    yield 'pruning: the best rate of an arm kept', f'{kept} of {count} ({kept / count:.0%})', '95 %'
    yield 'pruning: it, or one as good', f'{near} of {count} ({near / count:.0%})', '95 %'
    yield 'pruning: share of the steps', f'{share:.0%}', '40 %'
  for row in shared:
    times = row['alone'] / row['together']
    yield f'sharing, {row["job"][1]}', f'{times:.1f} times cheaper', 'at least 3'


def judge(full: dict[str, list[float]], chosen: str) -> tuple[bool, bool]:
  """Whether a rate is the best at the end; and whether it is, within the seeds' standard error."""
  best = min(full, key=lambda rate: sum(full[rate]))
  a, b = (full[rate] for rate in (chosen, best))
  differences = [x - y for x, y in zip(a, b, strict=True)]
  mean = sum(differences) / len(differences)
  error = (sum((d - mean) ** 2 for d in differences) / (len(a) - 1) / len(a)) ** 0.5
  return chosen == best, mean <= error
