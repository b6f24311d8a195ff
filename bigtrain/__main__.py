"""`python -m bigtrain [FOLDER]`: which experiments, runs and verbs there are.

Experiments are those that came with bigtrain and the files of the current folder that hand one to
`launch.run`; runs are the folders in FOLDER (`runs`, where launch puts them, unless given). Nothing
is imported or started: files are read.
"""

from __future__ import annotations

import ast
import datetime
import importlib.util
import os
import pathlib
import sys
from collections.abc import Iterator

from bigtrain import flags, launch, record
from bigtrain.json_lines import entries

_TAIL = 1 << 16  # Bytes of the end of a journal, which hold its last lines.
_SHOWN = 30  # Runs, the newest.


def experiments(folder: pathlib.Path, prefix: str) -> Iterator[tuple[str, str]]:
  """Yields (how to run it, the first line of its header) of each experiment of a folder."""
  for path in sorted(folder.glob('*.py')):
    try:
      text = path.read_text(encoding='utf-8')
      if 'launch.run(' in text:
        line = (ast.get_docstring(ast.parse(text)) or '').split('\n')[0]
        yield (f'{prefix}{path.stem}' if prefix else path.name), line
    except (OSError, SyntaxError, UnicodeDecodeError):
      continue  # No experiment; a folder of one's own holds anything.


def runs(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields (folder, how far it is) of each run in a folder, the newest first."""
  found = [path.parent for path in folder.glob(f'*/{record.RECORD}')]
  found += [folder] if (folder / record.RECORD).exists() else []
  for path in sorted(found, key=_changed, reverse=True)[:_SHOWN]:
    try:
      kept = record.read(str(path)) or {}
    except ValueError:
      yield str(path), f'{record.RECORD} is damaged'
      continue
    when = datetime.datetime.fromtimestamp(_changed(path)).strftime('%Y-%m-%d %H:%M')
    yield str(path), f'{kept["experiment"]}, {when}{_last(path / "metrics.jsonl")}'


def _changed(path: pathlib.Path) -> float:
  journal = path / 'metrics.jsonl'
  return (journal if journal.exists() else path / record.RECORD).stat().st_mtime


def _last(journal: pathlib.Path) -> str:
  if not journal.exists():
    return ', not begun'
  with journal.open('rb') as file:
    file.seek(max(0, journal.stat().st_size - _TAIL))
    content = file.read()
  said, step = {}, 0
  for row in entries(content):  # The first line is cut, and the last may be.
    step = row['step']
    said.update({k: v for k, v in row.items() if k.endswith('/loss') and not k.startswith('train')})
  return f', step {step:,}' + ''.join(f', {name} {value:.4g}' for name, value in said.items())


def main() -> None:
  """Prints the page."""
  words = sys.argv[1:]
  if len(words) > 1 or any(word.startswith('-') for word in words):
    asked = words[0] in launch.HELP
    print((__doc__ or '').strip() if asked else f'error: {words[-1]} is no folder: see --help')
    sys.exit(0 if asked else 2)
  folder = pathlib.Path(words[0] if words else 'runs')
  if words and not folder.is_dir():
    print(f'error: {folder} is no folder: give one that holds runs', file=sys.stderr)
    sys.exit(2)
  spec = importlib.util.find_spec('experiments')
  house = pathlib.Path(next(iter(spec.submodule_search_locations or ['']))) if spec else None
  here = pathlib.Path.cwd()
  sections = {
    'Experiments, python -m NAME [VERB] --flags': experiments(house, 'experiments.')
    if house
    else [],
    f'In {here}, python FILE [VERB] --flags': experiments(here, ''),
    'Verbs (train, unless said; --help after one shows its options)': launch.verbs().items(),
    f'Runs in {folder}{os.sep}, the newest first': runs(folder),
  }
  for title, rows in sections.items():
    lines = [flags.row(name, note, 100) for name, note in rows]
    if lines:
      print(f'{title}:\n' + '\n'.join(lines) + '\n')


if __name__ == '__main__':
  main()
