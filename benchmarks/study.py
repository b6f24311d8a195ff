"""Does `study` say the truth? Measured on experiments of a second (`study_tasks.py`).

  python -m benchmarks.study --file=/tmp/study.jsonl --seconds=480     (again until all is done)
  python -m benchmarks.study --file=/tmp/study.jsonl --seconds=0       (only the table)

null: studies of five levers that only draw other random numbers. planted: one defect, four or five
levers of which one undoes it. weak: no defect, levers that hardly matter. Whatever of these claims
a key is measured again on 40 seeds more (coverage). pruning: what a screening settles on, and what
it would have without giving up any run. sharing: processor time of a screening's runs together, and
of some of them one after another.
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from absl import app, flags, logging

from benchmarks import study_screening as screening
from benchmarks import study_tasks as tasks
from bigtrain.ablation import Plan, ablate
from bigtrain.build import Build
from bigtrain.cohort import Cohort
from bigtrain.trials import Trials
from bigtrain.verdict import lines

_FILE = flags.DEFINE_string('file', 'study.jsonl', 'where results are kept')
_SECONDS = flags.DEFINE_float('seconds', 480, 'processor time after which no study is begun')
_PARTS = flags.DEFINE_list(
  'parts', ['null', 'planted', 'weak', 'pruning', 'sharing'], 'what to measure, in this order'
)
_ONLY = flags.DEFINE_string('only', '', 'a part of the names of the studies to make')

_NULLS, _WEAK, _PLANTED, _PRUNED = 40, 30, 10, 12
_AGAIN = 40  # Seeds of the second measurement.
_MEASURED = 104  # Replicates of what was planted that are measured again end here.
_LATER = 500_000  # The first of them within its replicate.


Job = tuple[str, str, str, int]  # Part, task, defect and replicate.


def jobs(part: str) -> Iterator[Job]:
  """Yields what there is to do for a part of the table."""
  counts = {'null': _NULLS, 'weak': _WEAK, 'pruning': _PRUNED, 'sharing': len(tasks.TASKS)}
  if part != 'planted':
    for first, task in enumerate(tasks.TASKS):
      yield from ((part, task, '', i) for i in range(first, counts[part], len(tasks.TASKS)))
    return
  for defect in tasks.DEFECTS:
    for task in tasks.TASKS:
      if (task, defect) not in tasks.WITHOUT:
        yield from ((part, task, defect, 100 + i) for i in range(_PLANTED))


def do(job: Job, cohort: Cohort) -> dict[str, Any]:
  """Returns a job's row."""
  part, task, _, replicate = job
  if part == 'pruning':
    return screening.pruning(task, replicate, cohort)
  if part == 'sharing':
    return screening.sharing(task)
  return make_study(*job, cohort)


def make_study(part: str, task: str, defect: str, replicate: int, cohort: Cohort) -> dict[str, Any]:
  """Makes a study as the verb does; a key that it claims is measured again."""
  knobs, levers, right = tasks.plant(task, defect)
  if part == 'null':
    knobs['lr'] = tasks.TUNED[task]
    levers = {f'data: order {i}': dict(order=i) for i in range(1, 6)}
  build = Build.of(tasks.experiment, **knobs, seed=replicate * tasks.REPLICATE)
  trials, plan = Trials(build, cohort=cohort), Plan().fit(build)
  begin = time.process_time()
  study = ablate(trials, levers, plan, say=lambda _: None)
  row: dict[str, Any] = {
    'key': study.key, 'first': study.ranking[0] if study.ranking else None, 'right': right,
    'gates': {gate.name: gate.passed for gate in study.gates}, 'answer': study.answer,
    'screened': {c.name: [c.difference, dict(c.on), dict(c.off)] for c in study.screened},
    'effects': {name: [e.mean, e.low, e.high, e.p] for name, e in study.effects.items()},
    'tests': {name: [e.mean, e.low, e.high] for name, e in study.tests.items()},
    'seconds': round(time.process_time() - begin, 1), 'steps': trials.trained,
  }  # fmt: skip
  if study.key and replicate < _MEASURED:
    on, off = study.pairs[study.key][study.counted[study.key]]
    seeds = range(build.knobs['seed'] + _LATER, build.knobs['seed'] + _LATER + _AGAIN)
    found = trials.measure(
      [{**side, 'seed': seed} for side in (on, off) for seed in seeds], [plan.choosing]
    )
    values = [results[plan.choosing][plan.name] for results in found]
    row['again'] = (sum(values[:_AGAIN]) - sum(values[_AGAIN:])) / _AGAIN
  return row


def table(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
  """Yields claims, what was measured and what was aimed at."""
  of: dict[str, list[dict[str, Any]]] = {}
  for row in rows:
    of.setdefault(row['job'][0], []).append(row)
  null = of.get('null', [])
  yield 'null: a key claimed', ratio([row['key'] is not None for row in null]), 'at most 5 %'
  for defect in tasks.DEFECTS:
    for task in tasks.TASKS:
      some = [row for row in of.get('planted', []) if row['job'][1:3] == [task, defect]]
      if some:
        key = ratio([named(row) for row in some])
        first = ratio([str(row['first']).startswith(row['right']) for row in some])
        yield f'{defect}, {task}', f'key {key}, first in the screening {first}', '9 of 10'
  every = [row for part in ('null', 'planted', 'weak') for row in of.get(part, [])]
  for part in ('planted', 'weak'):
    some = [inside(row) for row in of.get(part, []) if 'again' in row]
    yield f'coverage, {part}', ratio(some), ''
  yield 'coverage', ratio([inside(row) for row in every if 'again' in row]), 'at least 90 %'
  yield from screening.table(of.get('pruning', []), of.get('sharing', []))
  spent = sum(row['seconds'] for row in rows) / 60
  yield 'all of it', f'{spent:.0f} minutes of processor time', ''


def ratio(found: list[bool]) -> str:
  """Returns a count as text."""
  return f'{sum(found)} of {len(found)}' + (f' ({sum(found) / len(found):.0%})' if found else '')


def named(row: dict[str, Any]) -> bool:
  """Whether a study named what was planted: a lever as the key, or a gate."""
  if row['right'] in row['gates']:
    return row['gates'][row['right']] is False
  return row['key'] is not None and row['key'].startswith(row['right'])


def inside(row: dict[str, Any]) -> bool:
  """Whether the key's effect on other seeds lies in the interval that was claimed."""
  _, low, high, _ = row['effects'][row['key']]
  return low <= row['again'] <= high


def resume(file: pathlib.Path) -> dict[tuple[Any, ...], dict[str, Any]]:
  """Returns the results so far."""
  rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
  return {tuple(row['job']): row for row in rows}


def main(_: list[str]) -> None:
  """Goes on where the file ends, for some time, and prints the table."""
  logging.set_verbosity(logging.WARNING)
  file = pathlib.Path(_FILE.value)
  known = resume(file)
  cohort, of = Cohort(), None
  for job in (job for part in _PARTS.value for job in jobs(part)):
    if time.process_time() > _SECONDS.value:
      break
    if job in known or _ONLY.value not in ' '.join(map(str, job)):
      continue
    if of != job[:3]:  # Compiled steps are shared between the replicates.
      cohort, of = Cohort(), job[:3]
    known[job] = row = {'job': list(job), **do(job, cohort)}
    with file.open('a') as out:
      out.write(json.dumps(row) + '\n')
    print(*job, row['seconds'], row['steps'], row['answer'], flush=True)
  print(lines(('claim', 'measured', 'aim'), list(table(list(known.values())))))


if __name__ == '__main__':
  app.run(main)
