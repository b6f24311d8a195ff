"""`crossvalidate`: the whole experiment once a fold, so that every record is held out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.build import Build


def crossvalidate(
  build: Build,
  *,
  workdir: str = '',  # A folder for each fold, and folds.json.
  folds: int = 5,  # Parts that training and held-out records are dealt into.
  evaluation: str = 'held_out',  # The one that judges; a test split stays untouched.
  stratify: str = '',  # Key each fold has its share of; empty is label if an integer, none is none.
  group: str = '',  # Key of what must not be on both sides, such as a patient.
  mesh: str = '',  # Devices by axis, such as data:2,fsdp:-1; empty is all on fsdp.
  save_every: int = 0,  # Steps between checkpoints; 0 is about three minutes. The end always saves.
) -> dict[str, list[float]]:
  """Trains once for each fold, and prints each metric by fold with its mean and interval."""
  import json
  import os
  import shlex
  import sys

  import jax
  import numpy as np
  from etils import epath

  from bigtrain import folding, record
  from bigtrain.attempts import attempt
  from bigtrain.build import origin
  from bigtrain.checks import check_save_every
  from bigtrain.evaluation import fold_interval
  from bigtrain.verdict import lines

  if folds < 2:
    raise ValueError(f'--folds must be at least 2, got {folds}: 5 and 10 are usual')
  check_save_every(save_every)
  if record.read(workdir) is not None:
    raise ValueError(f'--workdir={workdir} holds a single run: choose another for the folds')
  experiments = folding.deal(build, folds, evaluation=evaluation, stratify=stratify, group=group)
  dealt = {} if folding.own_folds(build) else {'stratify': stratify, 'group': group}
  records = [
    record.Record.of(
      build.name, origin(build.function)[0], {**build.knobs, 'fold': (fold, folds), **dealt},
      {'workdir': os.path.join(workdir, f'fold_{fold}')}, command=shlex.join(sys.argv),
    )
    for fold in range(folds)
  ]  # fmt: skip
  for own in records:
    own.check()
  results = []
  for fold, (experiment, own) in enumerate(zip(experiments, records, strict=True)):
    _, run = attempt(experiment, own.workdir, own, mesh=mesh, save_every=save_every, leaks='off')
    if run.stopped:
      print(f'Stopped in fold {fold} and saved. The same command goes on from there.')
      sys.exit(run.stopped)
    results.append(run.results[evaluation])
  metrics = [name for name in results[0] if not name.endswith(('_low', '_high'))]
  found = {name: [result[name] for result in results] for name in metrics}
  rows, kept = [], {}
  for name, values in found.items():
    low, high = fold_interval(np.array(values))
    mean = float(np.mean(values))
    kept[name] = {'mean': mean, 'low': low, 'high': high, 'folds': values}
    rows.append([name, f'{mean:.4f} ({low:.4f} to {high:.4f})', *(f'{v:.4f}' for v in values)])
  if jax.process_index() == 0:
    place = epath.Path(workdir) / 'folds.json'
    place.write_text(json.dumps({'evaluation': evaluation, 'metrics': kept}, indent=1) + '\n')
    print(lines(['metric', 'mean', *(f'fold {fold}' for fold in range(folds))], rows))
    print(f'Intervals of 95 % allow for records that folds share. Kept in {place}')
  return found
