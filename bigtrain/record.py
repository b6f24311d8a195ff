"""What a run leaves in its workdir about where it came from, and what may go on there.

- `record.json`: the experiment's name and knobs, and for every start the time, command line, git
  revision, changed files and package versions. Written first: a folder with it is a run.
- `flags.txt`: every knob, and the options of the verb, to be read with `--flagfile=`.
- a copy of the experiment's file, which can be run as it is.

`check` and `recorded` only read, so every host of many may call them. `Record.write` is for the
first host alone, which nobody knows before JAX has started: the verb calls it then. Each file is
written beside its place and renamed, so that a reader sees all of it or nothing.

A workdir belongs to one experiment with one set of knobs, and to one code: a file that differs from
its copy in more than comments, docstrings and TABLES is another hypothesis.
"""

import ast
import dataclasses
import datetime
import json
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bigtrain.folders import check_folder
from bigtrain.kinds import text
from bigtrain.masking import masked, masked_value
from bigtrain.provenance import packages, revision

if TYPE_CHECKING:
  from etils import epath

RECORD = 'record.json'
FLAGS = 'flags.txt'
TABLES = {'LEVERS', 'SPACE', 'STUDY'}  # For verbs that train many; no run depends on them.


@dataclasses.dataclass(frozen=True)
class Record:
  """One start of a training run: `check` before anything is touched, `write` on the first host.

  Attributes:
    name: the experiment's, which is its file's without `.py`.
    file: the experiment's file, as the process found it.
    source: what stood in that file when the run began; None where there is no file.
    knobs: the value of every knob.
    options: the value of every option of the verb.
    workdir: a local folder, or a place such as gs://bucket/folder.
    command: the command line, for a person to read.
  """

  name: str
  file: str
  source: str | None
  knobs: Mapping[str, Any]
  options: Mapping[str, Any]
  workdir: str
  command: str

  @classmethod
  def of(
    cls, name: str, file: str, knobs: Mapping[str, Any], options: Mapping[str, Any], *, command: str
  ) -> 'Record':
    """Takes note of the experiment's file as it is now; options hold the workdir."""
    path = pathlib.Path(file)
    source = path.read_text(encoding='utf-8') if path.is_file() else None
    options = {option: masked_value(option, value) for option, value in options.items()}
    knobs = {knob: masked_value(knob, value) for knob, value in knobs.items()}
    workdir = options.pop('workdir')
    return cls(name, file, source, knobs, options, workdir, masked(command))

  def check(self) -> None:
    """Raises ValueError unless the workdir is new, or a run of this experiment with these knobs."""
    for name, value in {**self.knobs, **self.options, 'workdir': self.workdir}.items():
      if '\n' in text(value) or '\r' in text(value):
        raise ValueError(f'--{name} holds a line break, which {FLAGS} cannot keep: leave it out')
    where, copy = f'--workdir={self.workdir}', self._copy()
    found = read(self.workdir)
    if found is None:
      _check_new(self.workdir)
      return
    again = f'choose another --workdir, or add --flagfile={_path(self.workdir) / FLAGS}'
    _check_name(found, self.name, self.workdir)
    old = found['knobs']
    for name in [*self.knobs, *(name for name in old if name not in self.knobs)]:
      mine, theirs = _shown(self.knobs, name), _shown(old, name)
      if name in old and name in self.knobs and _plain(old[name]) == _plain(self.knobs[name]):
        continue
      if name not in old or name not in self.knobs:
        again = f'choose another --workdir, or run the copy: python {copy}'
      raise ValueError(f'{where} was trained with {theirs}, not {mine}: {again}')
    if self.source is None or not copy.exists():
      return
    if code(copy.read_text()) != code(self.source):
      raise ValueError(
        f'{where} was begun with other code than {self.file} holds now: choose another --workdir, '
        f'or run the copy (python {copy}), or delete the copy to go on with the new code'
      )

  def write(self) -> None:
    """Writes the record; on the first host only, before anything else goes into the workdir."""
    folder = _path(self.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    found = read(self.workdir) or {}
    start = {
      'at': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
      'command': self.command,
      'folder': os.getcwd(),
      'host': platform.node(),
      'python': platform.python_version(),
      'options': dict(self.options),
      'git': {'experiment': revision(self.file), 'bigtrain': revision(__file__)},
      'packages': packages(),
    }
    content = {
      'experiment': self.name,
      'file': os.path.basename(self.file),
      'knobs': dict(self.knobs),
      'starts': [*found.get('starts', []), start],
    }
    _write(folder / RECORD, json.dumps(content, indent=2) + '\n')
    _write(folder / FLAGS, self.flags())
    if self.source is not None and not self._copy().exists():
      _write(self._copy(), self.source)

  def flags(self) -> str:
    """Returns the text of flags.txt."""
    lines = [
      f'# {self.command}',
      f'# Once more: add --flagfile={_path(self.workdir) / FLAGS} and another --workdir.',
      *(f'--{name}={text(value)}' for name, value in self.knobs.items()),
    ]
    if self.options:
      # Another verb reads this file too, and must not stumble over what only this one has.
      lines += ['# Options; a verb that does not have them passes over them.']
      lines += [f'--undefok={",".join(self.options)}']
      lines += [f'--{name}={text(value)}' for name, value in self.options.items()]
    return '\n'.join(lines) + '\n'

  def _copy(self) -> 'epath.Path':
    return _path(self.workdir) / os.path.basename(self.file)


def read(workdir: str) -> dict[str, Any] | None:
  """Returns what record.json of a workdir holds, None where there is no such file.

  Raises:
    ValueError: it is damaged.
  """
  path = _path(workdir) / RECORD
  try:
    if not path.exists():
      return None
  except ImportError as error:
    # Each kind of remote place has a package of its own, and the error says which.
    raise ValueError(f'--workdir={workdir} cannot be reached: {error}') from None
  try:
    found = json.loads(path.read_text())
    if isinstance(found['experiment'], str) and isinstance(found['knobs'], dict):
      return found
  except (ValueError, KeyError, TypeError):
    pass
  raise ValueError(f'{path} is damaged: restore it, or choose another --workdir')


def recorded(
  workdir: str, name: str, explicit: Mapping[str, Any], knobs: Sequence[str]
) -> dict[str, Any]:
  """Returns the knobs that the run in a workdir was trained with; none where there is no run.

  Args:
    workdir: of the run.
    name: of the experiment that asks.
    explicit: knobs that the command line gives; they may repeat what is recorded.
    knobs: names that the experiment has now.

  Raises:
    ValueError: the run is of another experiment, or was trained with another value of a knob.
  """
  found = read(workdir)
  if found is None:
    return {}
  _check_name(found, name, workdir)
  values = {knob: _tuples(value) for knob, value in found['knobs'].items()}
  copy = _path(workdir) / found.get('file', f'{name}.py')
  for knob in values:
    if knob not in knobs:
      raise ValueError(
        f'--workdir={workdir} was trained with {_shown(values, knob)}, which {name} no longer has: '
        f'run the copy, python {copy}'
      )
  for knob, value in explicit.items():
    if knob in values and values[knob] == masked_value(knob, value):
      values[knob] = value  # Whole again, where a secret was masked.
    elif knob in values:
      raise ValueError(
        f'--workdir={workdir} was trained with {_shown(values, knob)}, '
        f'not {_shown(explicit, knob)}: leave --{knob} out, or choose another --workdir'
      )
  return values


def code(source: str) -> str:
  """Returns what a file does, as text: its syntax tree without comments, docstrings and TABLES."""
  tree = ast.parse(source)
  for node in ast.walk(tree):
    body = getattr(node, 'body', None)
    if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and body:
      first = body[0]
      if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        del body[0]
  tables = [n for n in tree.body if isinstance(n, ast.Assign) and TABLES & {*map(_name, n.targets)}]
  tree.body = [node for node in tree.body if node not in tables]
  return ast.dump(tree)


def _path(place: str) -> 'epath.Path':
  from etils import epath

  return epath.Path(place)


def _write(path: 'epath.Path', content: str) -> None:
  # Hidden, so that what a killed process leaves does not make the folder look used.
  beside = path.parent / f'.{path.name}.{os.getpid()}'
  beside.write_text(content)
  beside.replace(path)


def _check_new(workdir: str) -> None:
  check_folder(workdir)
  path = _path(workdir)
  if not path.exists():
    return
  used = sorted(child.name for child in path.iterdir() if not child.name.startswith('.'))
  if used:
    raise ValueError(
      f'--workdir={workdir} holds {used[0]} but no {RECORD}, so it is not a run: '
      'choose an empty or a new folder'
    )


def _check_name(found: Mapping[str, Any], name: str, workdir: str) -> None:
  if found['experiment'] != name:
    raise ValueError(
      f'--workdir={workdir} holds a run of {found["experiment"]}, not of {name}: '
      'choose another --workdir'
    )


def _shown(knobs: Mapping[str, Any], name: str) -> str:
  return f'--{name}={text(knobs[name])}' if name in knobs else f'no --{name}'


def _tuples(value: Any) -> Any:
  """Undoes what JSON does to tuples."""
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
  """Makes values comparable that went through JSON or not; NaN, unlike itself, becomes a word."""
  value = _tuples(value)
  return 'nan' if value != value else value


def _name(target: ast.expr) -> str:
  return target.id if isinstance(target, ast.Name) else ''
