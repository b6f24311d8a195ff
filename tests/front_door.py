"""A person at the front door: an experiment's file, a command line, and what lies around."""

import dataclasses
import importlib.util
import pathlib
import shutil
import textwrap

import pytest

from bigtrain import launch
from bigtrain.program import Program

FILE = '''
  """A file as a person writes it."""
  from typing import Literal
  import flax.linen as nn
  import numpy as np
  import optax
  from bigtrain import architecture, data, evaluation, tuning
  from bigtrain.experiment import Eval, Experiment

  LEVERS = {'tuning: rate': dict(lr=0.2)}
  SPACE = {'lr': tuning.log(1e-4, 1e-1)}

  class Listed:
    """Records one by one, as a person's own source gives them."""
    def __init__(self, *records):
      self.records = records
    def __len__(self):
      return len(self.records)
    def __getitem__(self, index):
      return self.records[index]

  class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
      return nn.Dense(4)(x.reshape(x.shape[0], -1).astype(np.float32))

  def experiment(
    *,
    batch: int = 8,
    steps: int = 4,
    accumulate: int = 1,
    ema: float = 0.0,
    held_out: float = 0.25,
    every: int = 2,
    lr: float = 0.1,
    seed: int = 0,
    model: Literal['net', 'wide'] = 'net',
    widths: tuple[int, ...] = (8,),
    clean: bool = True,
  ) -> Experiment:
    rng = np.random.default_rng(0)
    source = data.arrays(image=rng.normal(size=(40, 2, 2, 1)), label=np.arange(40) % 4)
    one = {'image': np.zeros((2, 2, 1), np.float32), 'label': np.int32(0)}
    objective = evaluation.softmax_cross_entropy
    train = held = duration = shift = None
    SOURCE
    if train is None:
      train, held = data.split_stratified(source, held_out=held_out, test=0)
    evals = {'held_out': Eval(data.once(held, 8), objective, every=every)}
    EVALS
    return Experiment(
      data=data.forever(train, batch, map=shift),
      model=Net(),
      objective=objective,
      optimizer=optax.sgd(lr),
      steps=duration or steps,
      evals=evals,
      accumulate=accumulate,
      ema=ema,
    )
'''


@dataclasses.dataclass
class Row:
  """What is typed, what lies around, and the words of the answer: place, value and cure.

  Attributes:
    line: the command line; a --workdir is added unless it names one.
    words: what the sentence must hold.
    source: lines of the experiment that change its data.
    evals: lines that change its evaluations.
    files: name to content, below the current folder.
    trained: whether `run` holds a finished run of the plain experiment before.
    code: the exit code; 2 where the command line itself makes no sense.
  """

  line: str
  words: tuple[str, ...]
  source: str = ''
  evals: str = ''
  files: dict[str, bytes] = dataclasses.field(default_factory=dict)
  trained: bool = False
  code: int = 1


def said(line, *words):
  return Row(line, words, code=2)


def made(source, *words, line='', evals='', **files):
  content = {name.replace('__', '/').replace('_', '.'): text for name, text in files.items()}
  return Row(line, words, source, evals, content)


def found(line, *words, trained=True, **files):
  content = {f'run/{name.replace("_", ".")}': text for name, text in files.items()}
  return Row(line, words, files=content, trained=trained)


def write(row: Row) -> None:
  """Lays down an experiment's file, mine.py, and what else the row has in the current folder."""
  inside = {'SOURCE': row.source, 'EVALS': row.evals}
  text = textwrap.dedent(FILE).lstrip()
  for name, lines in inside.items():
    lines = textwrap.indent(textwrap.dedent(lines).strip(), '  ')
    text = text.replace(f'  {name}\n', f'{lines}\n')
  pathlib.Path('mine.py').write_text(text)
  for name, content in row.files.items():
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_bytes(content)


def load():
  spec = importlib.util.spec_from_file_location('mine', pathlib.Path('mine.py').absolute())
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.experiment


def snapshot() -> dict[str, bytes]:
  """Returns the content of every file below the current folder."""
  files = [p for p in pathlib.Path().rglob('*') if p.is_file() and '__pycache__' not in p.parts]
  return {str(path): path.read_bytes() for path in files}


def train_one(folder: pathlib.Path) -> pathlib.Path:
  """Returns the workdir of a finished run of the plain experiment."""
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    write(Row('', ()))
    launch.run(load(), ['--workdir=run', '--progress=off'])
  return folder / 'run'


def check_refused(row: Row, run: pathlib.Path, folder: pathlib.Path, capsys) -> None:
  """Checks that a row ends in its sentence, and that nothing was compiled or written.

  Args:
    row: What is tried.
    run: What `train_one` returned, for rows that ask for it.
    folder: An empty one to do it in.
    capsys: The fixture.
  """
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.setenv('BIGTRAIN_DATA', str(folder))
    if row.trained:
      shutil.copytree(run, 'run')
    write(row)
    experiment = load()
    before = snapshot()
    compiled = []
    for name in ('init', 'lower', 'compile', 'run', 'evaluate', 'collect'):
      patch.setattr(Program, name, lambda *_, name=name: compiled.append(name))
    words = row.line.split(' ') if row.line else []
    named = '--workdir' in row.line or words[:1] == ['compile']  # It has no workdir.
    with pytest.raises(SystemExit) as caught:
      launch.run(experiment, [*([] if named else ['--workdir=run']), *words])
    captured = capsys.readouterr()
    sentence, *places = captured.err.splitlines()
    assert caught.value.code == row.code
    assert sentence.startswith('error: ')
    for word in row.words:
      assert word in sentence
    # The line of the experiment's file may follow, and nothing else.
    assert len(places) <= 1
    assert all(place.startswith('  at ') and 'mine.py:' in place for place in places)
    assert compiled == []
    assert snapshot() == before
