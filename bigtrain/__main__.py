"""`python -m bigtrain [FOLDER]`: the experiments, the verbs, and the runs in a folder."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import sys
from collections.abc import Sequence

from bigtrain import flags, launch

_RUNS = 'runs'  # Where a run goes without --workdir.


def main(arguments: Sequence[str]) -> int:
  """Prints what there is, and returns the exit code."""
  if len(arguments) > 1 or any(word.startswith('-') for word in arguments):
    print(f'usage: python -m bigtrain [FOLDER of runs, {_RUNS} otherwise]', file=sys.stderr)
    return 2
  folder = arguments[0] if arguments else _RUNS
  print('bigtrain trains models from one small file: python -m experiments.NAME [VERB] --flags\n')
  parts = {
    'Experiments': experiments(), 'Verbs': launch.verbs(), f'Runs in {folder}': runs(folder)
  }  # fmt: skip
  for title, rows in parts.items():
    lines = [flags.row(name, said, 100) for name, said in rows.items()] or ['  none yet']
    print(f'{title}:\n' + '\n'.join(lines) + '\n')
  print('python -m experiments.NAME --help says more of one.')
  return 0


def experiments() -> dict[str, str]:
  """Returns the first line of each experiment's file, importing none."""
  spec = importlib.util.find_spec('experiments')
  found = {}
  for folder in (spec and spec.submodule_search_locations) or ():
    for path in sorted(pathlib.Path(folder).glob('*.py')):
      if path.stem != '__init__':
        text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        found.setdefault(path.stem, text.split('\n')[0])
  return found


def runs(folder: str) -> dict[str, str]:
  """Returns how far each run in a folder is, and its first metric."""
  if not pathlib.Path(folder).is_dir():
    return {}
  from bigtrain import comparison, record
  from bigtrain.workdirs import Shelf, runs_in

  places = [place for place in runs_in(folder) if record.read(place) is not None]
  found = {}
  for run in Shelf(places).read():
    first = [f'{name} {comparison.shown(run, name)}' for name in comparison.measured([run])[:1]]
    found[run.name] = ', '.join([f'step {run.step:,.0f}', *first])
  return found


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
