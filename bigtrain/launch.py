"""The front door: `python -m experiments.NAME [VERB] --flags` calls a verb with an experiment.

`run(experiment)` reads the command line, builds the experiment and hands it to the verb. A notebook
or a test needs none of this: it calls `experiment(depth=2)` and the verb's function itself.

Which value of a knob wins, strongest first:

1. a flag on the command line (the last one, if given twice);
2. a flag in `--flagfile=FILE`, wherever on the command line that stands;
3. for a verb other than `train`, what the run in `--workdir` was trained with. Here 1 and 2 may
   repeat the recorded value but not change it: the parameters belong to it;
4. the default in the experiment's signature.

A verb is a file `bigtrain/verbs/VERB.py` with a function of that name:

    def VERB(experiment: Experiment, *, option: int = 1, workdir: str = '', record=None): ...

- Its keyword-only arguments are flags, as an experiment's are. Only the chosen verb's file is
  imported, and before flags are parsed, so heavy imports belong inside the function.
- `workdir` is special: empty means `runs/NAME` in the current folder; launch fills that in.
- `record` is special: not a flag. A verb that has it trains, so `--workdir` must be new or hold
  this very experiment; the verb calls `record.write()` on the first host, before it writes anything
  else. Until then nothing was touched, and other hosts only read, so there is nothing to race for.
- A verb whose first argument is `build` gets what makes experiments, a `Build`; its `workdir` is
  its own: empty means `runs/NAME-VERB`, and rule 3 does not hold. With neither, nothing is built.
- `prepare()`, where the file has one, is called before the experiment is built: for what must be
  set before JAX starts a backend.

What ends a run: 0 done, 1 an error, 2 a command line that makes no sense, 130 Ctrl-C, 141 a reader
of its output that left. A ValueError, TypeError, OSError or FloatingPointError that bigtrain or the
experiment's file raised on purpose is printed as its one sentence, any other exception with its
traceback, as all are with `--verbosity=1`. Of libraries only warnings are logged.
"""

import ast
import dataclasses
import importlib
import inspect
import linecache
import os
import pathlib
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from bigtrain import flags, record
from bigtrain.build import Build, origin
from bigtrain.kinds import kind_of, nearest

HOUSE = pathlib.Path(__file__).resolve().parent
VERBS = HOUSE / 'verbs'
DEFAULT_VERB = 'train'
FLAGFILE = 'Reads more flags from a file, one a line.'
VERBOSITY = 'Of the log: -1 warns, 0 informs, 1 debugs, with tracebacks.'
EVERYWHERE = {
  'flagfile': flags.Knob('flagfile', kind_of(str), '', FLAGFILE),
  'verbosity': flags.Knob('verbosity', kind_of(int), 0, VERBOSITY),
}
RESERVED = {*EVERYWHERE, 'help', 'helpfull', 'helpshort', 'undefok', 'record'}
HELP = {'-h', '-help', '--help', '--helpfull', '--helpshort'}


class UsageError(Exception):
  """The command line makes no sense; the message says why in one sentence."""


@dataclasses.dataclass(frozen=True)
class Front:
  """An experiment as the command line sees it: its function, file, name and how it was started."""

  function: Callable[..., Any]
  file: str
  name: str
  program: str

  @classmethod
  def of(cls, function: Callable[..., Any]) -> 'Front':
    """Raises TypeError for what is not a function of keyword-only arguments."""
    plain = inspect.unwrap(function) if callable(function) else None
    if not inspect.isfunction(plain):
      raise TypeError(f'launch.run takes the function that makes an experiment, got {function!r}')
    for parameter in inspect.signature(plain).parameters.values():
      if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(
          f'{plain.__name__}({parameter.name}) must be keyword-only to be a flag: put `*` before it'
        )
    file, name = origin(plain)
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    program = f'python -m {spec.name}' if spec else f'python {sys.argv[0]}'
    return cls(function, file, name, program)


def run(experiment: Callable[..., Any], argv: Sequence[str] | None = None) -> Any:
  """Does what the command line asks of an experiment, and returns what the verb returned.

  Args:
    experiment: a function of typed keyword-only arguments that returns an Experiment.
    argv: the command line after the program's name; None takes the process's own.

  Raises:
    SystemExit: with what the top of this file says.
  """
  arguments = list(sys.argv[1:] if argv is None else argv)
  verbose = re.search(r'-verbosity[= ][1-9]', ' '.join(arguments)) is not None
  try:
    return _run(Front.of(experiment), arguments)
  except UsageError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    sys.exit(130)
  except BrokenPipeError:  # What read the output, such as `head`, has ended.
    os._exit(141)
  except (ValueError, TypeError, OSError, FloatingPointError) as error:
    file = getattr(getattr(experiment, '__code__', None), 'co_filename', '')
    if verbose or not deliberate(error, file):
      raise
    print(f'error: {_sentence(error)}', file=sys.stderr)
    for line in _place(error, file):
      print(line, file=sys.stderr)
    sys.exit(1)


def _run(front: Front, arguments: list[str]) -> Any:
  knobs = flags.knobs(front.function)
  asked_help = any(word in HELP for word in arguments)
  try:
    words = [] if asked_help else flags.expand(arguments)
    verb = find_verb(arguments if asked_help else words, knobs, front.program)
  except ValueError as error:
    raise UsageError(error) from None
  module = importlib.import_module(f'bigtrain.verbs.{verb}')
  function = getattr(module, verb)
  options = flags.knobs(function, skip=['record'])
  for name in [*knobs, *options]:
    if name in RESERVED or (name in knobs and name in options):
      owner = f'an option of {verb}' if name in options else 'a flag of every experiment'
      raise TypeError(f'{front.name}: the knob {name} is already {owner}: rename it')
  first, *others = inspect.signature(function).parameters
  builds, trains = first == 'build', 'record' in others
  if 'workdir' in options and options['workdir'].default == '':
    folder = f'runs/{front.name}{f"-{verb}" * builds}'
    options['workdir'] = dataclasses.replace(options['workdir'], default=folder)
  if asked_help:
    print(describe(front, verb, knobs, options))
    sys.exit(0)

  try:
    given, stray = flags.parse({**knobs, **options, **EVERYWHERE}, words)
    stray = stray[1:] if stray[:1] == [verb] else stray
    if stray:
      raise ValueError(_stray(stray[0], front.program))
  except ValueError as error:
    raise UsageError(error) from None
  chosen = flags.defaults(options) | {name: given[name] for name in options if name in given}
  if 'workdir' in chosen and chosen['workdir'] is not None:
    chosen['workdir'] = os.path.expanduser(chosen['workdir'] or options['workdir'].default)
  explicit = {name: given[name] for name in knobs if name in given}
  values = flags.defaults(knobs) | explicit
  workdir = chosen.get('workdir')
  if not trains and not builds and workdir is not None:
    values |= record.recorded(workdir, front.name, explicit, list(knobs))
  for name, value in {**values, **chosen}.items():
    if value is flags.REQUIRED:
      raise UsageError(f'--{name} must be given: see {front.program} {verb} --help')
  if trains:
    chosen['record'] = record.Record.of(
      front.name, front.file, values, chosen, command=f'{front.program} {shlex.join(arguments)}'
    )
    chosen['record'].check()

  # Grain's worker processes read absl's global flags, which nobody else parses.
  absl_flags.FLAGS.mark_as_parsed()
  _log(given.get('verbosity', EVERYWHERE['verbosity'].default), front.file)
  if hasattr(module, 'prepare'):
    module.prepare()
  build = Build(front.function, values, frozenset(explicit), front.name)
  return function(*([build] if builds else [build()] if first == 'experiment' else []), **chosen)


def _log(verbosity: int, file: str) -> None:
  """Lets absl's handler show the log, on standard error."""
  from absl import logging

  def wanted(line: Any) -> bool:
    # Orbax says fifty things a checkpoint, by the very logger that bigtrain uses; one as a warning.
    chatter = line.levelname == 'INFO' or str(line.msg).startswith('Metadata file does not exist')
    ours = line.pathname == file or line.pathname.startswith(f'{HOUSE}{os.sep}')
    return ours or verbosity > 0 or not chatter

  absl_flags.FLAGS.logtostderr = True  # As it is now: a notebook replaces it.
  logging.use_absl_handler()
  logging.set_verbosity(verbosity)
  logging.get_absl_handler().filters[:] = [wanted]


def verbs() -> dict[str, str]:
  """Returns every verb with the first line of its docstring, importing none."""
  result = {}
  for path in sorted(VERBS.glob('*.py')):
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
      if isinstance(node, ast.FunctionDef) and node.name == path.stem:
        result[path.stem] = (ast.get_docstring(node) or '').split('\n')[0]
  return result


def find_verb(words: Sequence[str], knobs: Mapping[str, flags.Knob], program: str) -> str:
  """Returns the verb, which is the first word that is neither a flag nor a flag's value.

  Raises:
    ValueError: the first such word is not a verb.
  """
  switches = {name for name, knob in knobs.items() if knob.kind.boolean}
  switches |= {f'no{name}' for name in switches} | {'help', 'helpfull', 'helpshort', 'h'}
  before = ''
  for word in words:
    # `--workdir evaluate` may be a folder called so: a flag's value comes first.
    value = before.startswith('-') and '=' not in before and before.lstrip('-') not in switches
    if not word.startswith('-') and not value:
      if word not in verbs():
        raise ValueError(_stray(word, program))
      return word
    before = word
  return DEFAULT_VERB


def _stray(word: str, program: str) -> str:
  if '=' in word:
    return f'{word} has no dashes, so it would be ignored: write --{word.lstrip("-")}'
  known = verbs()
  if word in known:
    return f'{word} comes too late: write the verb first, {program} {word} --flag=value'
  hint = nearest(word, known) or f'; the verbs are {", ".join(known)}'
  return f'{word} is neither a flag nor a verb{hint}'


def describe(
  front: Front, verb: str, knobs: Mapping[str, flags.Knob], options: Mapping[str, flags.Knob]
) -> str:
  """Returns the page that --help shows."""
  width = min(shutil.get_terminal_size().columns, 100)
  # Stripped only: inspect.cleandoc would take the indent of commands for the page's own.
  doc = inspect.unwrap(front.function).__globals__.get('__doc__') or front.function.__doc__ or ''
  names = '\n'.join(flags.row(name, note, width) for name, note in verbs().items())
  about = f'Shows this page; {front.program} VERB --help the options of that verb.'
  parts = [
    doc.strip(),
    f'Usage: {front.program} [VERB] [--flag=value ...]',
    f'Verbs:\n{names}',
    f'Knobs of {front.name}:\n{flags.table(knobs, width)}' if knobs else '',
    f'Options of {verb}:\n{flags.table(options, width)}' if options else '',
    f'Everywhere:\n{flags.table(EVERYWHERE, width)}\n{flags.row("--help", about, width)}',
  ]
  return '\n\n'.join(part for part in parts if part)


def deliberate(error: BaseException, file: str) -> bool:
  """Tells whether bigtrain, or the experiment in `file`, raised an error as a message to a person.

  It did where the innermost frame stands at a `raise` in one of these files. An error that Python
  itself found there is a bug and no message; but what the operating system says of a file is one,
  also where a library opened it for the experiment.
  """
  frames = traceback.extract_tb(error.__traceback__)
  if not frames:
    return False
  last = frames[-1]
  inside = last.filename == file or last.filename.startswith(f'{HOUSE}{os.sep}')
  if isinstance(error, OSError) and error.filename is not None:
    return inside or any(frame.filename == file for frame in frames)
  if not inside:
    return False
  try:
    tree = ast.parse(''.join(linecache.getlines(last.filename)))
  except SyntaxError:
    return False
  line = last.lineno or 0
  return any(
    isinstance(node, ast.Raise) and node.lineno <= line <= (node.end_lineno or 0)
    for node in ast.walk(tree)
  )


def _sentence(error: BaseException) -> str:
  if isinstance(error, OSError) and error.strerror and error.filename is not None:
    return f'{error.filename}: {error.strerror}'
  return str(error) or type(error).__name__


def _place(error: BaseException, file: str) -> list[str]:
  """Names the line of the experiment's file that led to an error, if one did."""
  frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
  return [f'  at {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}'] if frames else []
