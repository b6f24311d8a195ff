"""What reads files and words of strangers, given millions of odd ones: a value, or a known error.

  python -m benchmarks.soak.fuzz                       # each parser for a minute
  python -m benchmarks.soak.fuzz --only=mesh --seconds=5

Inputs are bred by which lines of bigtrain they reach (atheris, on libFuzzer): pip install atheris.
Each parser has a process of its own, so that one that ends it is a finding too. The line of a
parser says how many inputs it was given; what it should not have raised is shown with its input.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

KINDS = [int, float, bool, str, int | None, tuple[int, ...], tuple[str, ...], tuple[float, float]]
MODULES = [
  'compute.meshes', 'data.files', 'data.finding', 'data.lines', 'data.pictures',
  'data.record_bytes', 'data.shards', 'flags', 'growing', 'iteration.digests', 'iteration.tensors',
  'journal', 'kinds', 'record',
]  # fmt: skip


class Parsers:
  """One method a parser: it takes any bytes, and raises what strangers may be told."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    for name in MODULES:
      setattr(self, name.split('.')[-1], importlib.import_module(f'bigtrain.{name}'))

  def __getattr__(self, name: str) -> Any:  # The modules.
    raise AttributeError(name)

  def _file(self, name: str, content: bytes) -> pathlib.Path:
    path = self._folder / name
    path.write_bytes(content)
    return path

  def flag(self, content: bytes) -> None:
    """The text of one flag; what was read reads back."""
    kind = self.kinds.kind_of(KINDS[content[0] % len(KINDS)] if content else str)
    value = kind.read(content[1:].decode('utf-8', 'replace'))
    text = self.kinds.text
    again = kind.read(text(value))
    assert again == value or text(again) == text(value), (value, again)

  def command_line(self, content: bytes) -> None:
    """The words of a command line."""
    made = {str(i): self.kinds.kind_of(kind) for i, kind in enumerate(KINDS)}
    knobs = {f'k{n}': self.flags.Knob(f'k{n}', kind, None, '') for n, kind in made.items()}
    self.flags.parse(knobs, content.decode('utf-8', 'replace').split('\0'))

  def mesh(self, content: bytes) -> None:
    """--mesh."""
    self.meshes.make_mesh(content.decode('utf-8', 'replace'))

  def run_record(self, content: bytes) -> None:
    """record.json of a workdir."""
    self._file('record.json', content)
    assert isinstance(self.record.read(str(self._folder))['knobs'], dict)

  def columns(self, content: bytes) -> None:
    """metrics.jsonl, as reports read it."""
    for column in self.growing.columns(content).values():
      assert column.dtype == float

  def resumed(self, content: bytes) -> None:
    """metrics.jsonl, as a run that goes on reads it."""
    written = self.journal.Journal(str(self._file('metrics.jsonl', content).parent), 5, ())
    written.column('a')
    written.close()

  def safetensors(self, content: bytes) -> None:
    """A file of tensors: each is read."""
    tensors = self.tensors.read_safetensors(str(self._file('a.safetensors', content)))
    for name in tensors:
      assert tensors[name].shape == tensors.shape(name)

  def safetensors_header(self, content: bytes) -> None:
    """The same with a header of the right length."""
    self.safetensors(struct.pack('<Q', len(content)) + content + bytes(64))

  def index(self, content: bytes) -> None:
    """The index of a folder of tensors."""
    self._file('model.safetensors.index.json', content)
    assert not self.tensors.read_safetensors(str(self._folder))

  def manifest(self, content: bytes) -> None:
    """manifest.json of a set of records."""
    self._file('manifest.json', content)
    self.shards.read_records(self._folder)

  def stored_record(self, content: bytes) -> None:
    """A record of such a set."""
    self.record_bytes.decoded(content)

  def stored_record_header(self, content: bytes) -> None:
    """The same with a header of the right length."""
    self.record_bytes.decoded(len(content).to_bytes(4, 'little') + content + bytes(16))

  def json_lines(self, content: bytes) -> None:
    """Lines of JSON: each is a record."""
    source = self.lines.json_lines(self._file('a.jsonl', content))
    for number in range(len(source)):
      assert isinstance(source[number], dict)

  def idx(self, content: bytes) -> None:
    """A file of MNIST's kind."""
    import gzip

    self.pictures._idx(pathlib.Path('a'), gzip.compress(content, 0))

  def digest_file(self, content: bytes) -> None:
    """The digests of a checkpoint's files."""
    self._file('sha256.0.json', content)
    found = self.digests.damage(self._folder)
    assert found is None or isinstance(found, str)


TARGETS = [name for name, made in vars(Parsers).items() if callable(made) and name[0] != '_']
SEEDS = {
  'flag': [b'\x05"1,2"', b'\x011e-4', b'\x06"a,""b"""'],
  'command_line': [b'--k0=3\0--nok2\0word', b'--k5=1,2'],
  'mesh': [b'data:2,fsdp:-1'],
  'run_record': [b'{"experiment": "a", "knobs": {}, "starts": []}'],
  'columns': [b'{"step": 1, "a": 2.0}\n{"step": 2, "a": NaN}\n'],
  'resumed': [b'{"step": 0, "a": 1}\n{"step": 5, "a": 2.0}\n{"step": 6}\n{"st'],
  'safetensors_header': [b'{"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}'],
  'index': [b'{"weight_map": {"a": "b.safetensors"}}'],
  'manifest': [
    json.dumps({
      'format': 'bigtrain-records-1', 'name': 'a', 'licence': None, 'ledger': None, 'schema': {},
      'records': 1, 'source': {},
      'shards': [{'file': 'a', 'records': 1, 'bytes': 2, 'sha256': 'x'}],
    }).encode()
  ],
  'stored_record_header': [b'[["a","float32",[4],[]]]', b'[["a","text",[],[16]]]'],
  'json_lines': [b'{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n'],
  'idx': [b'\0\0\x08\x01\0\0\0\x02ab'],
  'digest_file': [b'{"of": 1, "files": {"a": "00"}}'],
}  # fmt: skip


def fuzz(name: str, seconds: int) -> None:
  """Feeds one parser in this process, which ends with that."""
  atheris: Any = importlib.import_module('atheris')

  with atheris.instrument_imports(include=['bigtrain']):
    for module in MODULES:
      importlib.import_module(f'bigtrain.{module}')
  memory = pathlib.Path('/dev/shm')  # Where writing costs least.
  root = pathlib.Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
  for folder in ('work', 'corpus'):
    (root / folder).mkdir()
  for number, seed in enumerate(SEEDS.get(name, [])):
    (root / 'corpus' / str(number)).write_bytes(seed)
  parse: Callable[[bytes], None] = getattr(Parsers(root / 'work'), name)

  def one(content: bytes) -> None:
    with contextlib.suppress(ValueError, FileNotFoundError):
      parse(content)

  options = [
    f'-max_total_time={seconds}',
    '-max_len=512',
    f'-artifact_prefix={root}/',
    '-timeout=20',
  ]
  atheris.Setup([name, *options, str(root / 'corpus')], one)
  atheris.Fuzz()


def main() -> None:
  """Prints a line a parser, and the count."""
  flags = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  flags.add_argument('--only', action='append', choices=TARGETS, help='may be repeated')
  flags.add_argument('--seconds', type=int, default=60, help='for each parser')
  flags.add_argument('--alone', choices=TARGETS, help=argparse.SUPPRESS)
  options = flags.parse_args()
  if importlib.util.find_spec('atheris') is None:
    print('atheris is not installed, and without it nothing is bred: pip install atheris')
    return
  if options.alone:
    return fuzz(options.alone, options.seconds)
  total, sound = 0, 0
  names = options.only or TARGETS
  for name in names:
    command = [sys.executable, '-m', 'benchmarks.soak.fuzz', f'--alone={name}']
    done = subprocess.run(
      [*command, f'--seconds={options.seconds}'], capture_output=True, text=True, errors='replace'
    )
    count = re.search(r'Done (\d+) runs', done.stderr)
    if count and not done.returncode:
      total, sound = total + int(count[1]), sound + 1
      print(f'{name}: {int(count[1]):,} inputs, nothing found', flush=True)
    else:
      print(f'{name}: FOUND\n{done.stdout[-2000:]}\n{done.stderr[-700:]}', flush=True)
  print(f'{sound} of {len(names)} parsers sound, {total:,} inputs')
  sys.exit(sound < len(names))


if __name__ == '__main__':
  main()
