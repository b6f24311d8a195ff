"""What a run leaves in its workdir, and whom the workdir lets in."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from bigtrain import flags, provenance, record

SOURCE = '"""A toy."""\ndepth = 4  # Layers.\nLEVERS = {}\n'


@pytest.fixture
def make(tmp_path):
  """Returns a maker of records of `toy.py`; each argument replaces a default."""
  file = tmp_path / 'code' / 'toy.py'
  file.parent.mkdir()
  file.write_text(SOURCE)

  def make(workdir=tmp_path / 'run', *, name='toy', source=SOURCE, knobs=None, **options):
    file.write_text(source)
    knobs = {'depth': 4, 'widths': (64, 64), 'cap': None} if knobs is None else knobs
    options = {'workdir': str(workdir), 'save_every': 10, **options}
    return record.Record.of(name, str(file), knobs, options, command='python toy.py --depth=4')

  return make


def tree(folder):
  """Returns every file below a folder with what it holds."""
  folder = pathlib.Path(folder)
  return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def test_checking_touches_nothing(make, tmp_path):
  before = tree(tmp_path)
  make(tmp_path / 'deep' / 'run').check()
  assert tree(tmp_path) == before
  assert not (tmp_path / 'deep').exists()


def test_a_run_leaves_knobs_options_code_and_origin(make, tmp_path):
  make().write()
  left = tree(tmp_path / 'run')
  assert sorted(left) == ['flags.txt', 'record.json', 'toy.py']
  assert left['toy.py'].decode() == SOURCE
  lines = left['flags.txt'].decode().splitlines()
  assert [line for line in lines if line.startswith('--')] == [
    '--depth=4', '--widths=64,64', '--cap=none', '--undefok=save_every', '--save_every=10'
  ]  # fmt: skip
  content = json.loads(left['record.json'])
  assert content['experiment'] == 'toy'
  assert content['knobs'] == {'depth': 4, 'widths': [64, 64], 'cap': None}
  start = content['starts'][0]
  assert start['command'] == 'python toy.py --depth=4'
  assert start['python'] == '.'.join(map(str, sys.version_info[:3]))
  assert {'jax', 'numpy', 'absl-py'} <= set(start['packages'])


def test_flags_read_back_as_the_knobs(make, tmp_path):
  def experiment(
    *, depth: int = 1, widths: tuple[int, ...] = (), cap: int | None = 3, name: str = ''
  ): ...

  knobs = {'depth': 4, 'widths': (64, 64), 'cap': None, 'name': 'a "b", # c '}
  make(knobs=knobs).write()
  words = flags.expand([f'--flagfile={tmp_path}/run/flags.txt'])
  assert flags.parse(flags.knobs(experiment), words) == (knobs, [])


def test_the_same_knobs_may_go_on_and_the_start_is_added(make, tmp_path):
  make().write()
  make().check()
  make(save_every=20).write()
  content = record.read(str(tmp_path / 'run'))
  assert content is not None
  assert [start['options']['save_every'] for start in content['starts']] == [10, 20]
  assert '--save_every=20' in (tmp_path / 'run' / 'flags.txt').read_text()


def test_nothing_half_written_is_ever_to_be_seen(make, tmp_path, monkeypatch):
  make().write()
  before = tree(tmp_path / 'run')

  def fail(*args, **kwargs):
    raise OSError('the disk is full')

  monkeypatch.setattr(os, 'replace', fail)
  monkeypatch.setattr(pathlib.Path, 'replace', fail)
  with pytest.raises(OSError, match='disk is full'):
    make(save_every=20).write()
  after = tree(tmp_path / 'run')
  assert {name: after[name] for name in before} == before
  assert all(name.startswith('.') for name in set(after) - set(before))


def test_what_a_killed_process_left_does_not_block_a_new_start(make, tmp_path):
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / '.record.json.4711').write_text('{')
  make().check()


def test_every_file_is_a_run_as_soon_as_one_is(make, tmp_path, monkeypatch):
  written = []
  plain = record._write
  monkeypatch.setattr(record, '_write', lambda p, c: (written.append(p.name), plain(p, c)))
  make().write()
  assert written[0] == 'record.json'


REFUSED = [
  (dict(name='other'), 'holds a run of toy, not of other: choose another --workdir'),
  (
    dict(knobs={'depth': 5, 'widths': (64, 64), 'cap': None}),
    'trained with --depth=4, not --depth=5: choose another --workdir, or add --flagfile=',
  ),
  (dict(knobs={'depth': 4, 'widths': (64,), 'cap': None}), '--widths=64,64, not --widths=64:'),
  (dict(knobs={'depth': 4, 'widths': (64, 64), 'cap': 1}), '--cap=none, not --cap=1:'),
  (dict(knobs={'depth': 4, 'cap': None}), '--widths=64,64, not no --widths: .* run the copy'),
  (
    dict(knobs={'depth': 4, 'widths': (64, 64), 'cap': None, 'new': 1}),
    'trained with no --new, not --new=1: .* run the copy',
  ),
  (dict(source=SOURCE + 'more = 1\n'), 'was begun with other code than .*toy.py holds now'),
]


@pytest.mark.parametrize(('change', 'sentence'), REFUSED, ids=[s for _, s in REFUSED])
def test_another_experiment_or_other_knobs_are_refused(make, tmp_path, change, sentence):
  make().write()
  before = tree(tmp_path / 'run')
  with pytest.raises(ValueError, match=sentence) as caught:
    make(**change).check()
  assert f'--workdir={tmp_path}/run' in str(caught.value)
  assert '\n' not in str(caught.value)
  assert tree(tmp_path / 'run') == before


@pytest.mark.parametrize(
  'source',
  [
    SOURCE.replace('# Layers.', '# Blocks.'),
    SOURCE.replace('A toy.', 'A toy that reached 0.98.'),
    SOURCE.replace('{}', "{'tuning: a third': dict(lr=1)}"),
    SOURCE.replace('\n', '\n\n'),
  ],
)
def test_words_and_levers_are_no_other_code(make, source):
  make().write()
  make(source=source).check()


def test_the_copy_stays_the_first(make, tmp_path):
  make().write()
  make(source=SOURCE.replace('# Layers.', '# Blocks.')).write()
  assert (tmp_path / 'run' / 'toy.py').read_text() == SOURCE


def test_deleting_the_copy_lets_new_code_go_on(make, tmp_path):
  make().write()
  (tmp_path / 'run' / 'toy.py').unlink()
  changed = make(source=SOURCE + 'more = 1\n')
  changed.check()
  changed.write()
  assert (tmp_path / 'run' / 'toy.py').read_text().endswith('more = 1\n')


def test_nan_is_the_same_knob_again(make):
  make(knobs={'x': float('nan')}).write()
  make(knobs={'x': float('nan')}).check()


@pytest.mark.parametrize(
  ('workdir', 'sentence'),
  [
    ('file', 'file is a file, a run needs a folder'),
    ('file/below', 'file is a file: choose another'),
    ('full', 'full holds notes.txt but no record.json, so it is not a run'),
    ('damaged', 'record.json is damaged: restore it'),
    ('empty_record', 'record.json is damaged'),
  ],
)
def test_a_place_that_cannot_be_a_run_is_refused_and_keeps_all(make, tmp_path, workdir, sentence):
  (tmp_path / 'file').write_text('mine')
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'notes.txt').write_text('mine')
  for name, content in (('damaged', '{"knobs": {'), ('empty_record', '{}')):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'record.json').write_text(content)
  refused = make(tmp_path / workdir)
  before = tree(tmp_path)
  with pytest.raises(ValueError, match=sentence):
    refused.check()
  assert tree(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_refused(make, tmp_path, monkeypatch):
  monkeypatch.setattr(os, 'access', lambda path, mode: False)  # Root may write everywhere.
  with pytest.raises(ValueError, match='is not writable'):
    make(tmp_path / 'new').check()


def test_a_line_break_is_refused(make):
  with pytest.raises(ValueError, match='--name holds a line break'):
    make(knobs={'name': 'a\nb'}).check()


def test_a_remote_place_without_its_package_says_which(make, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gcsfs', None)
  monkeypatch.setitem(sys.modules, 'tensorflow', None)
  with pytest.raises(ValueError, match=r'--workdir=gs://b/a cannot be reached: .*gcsfs'):
    make('gs://b/a').check()


def test_recorded_knobs(make, tmp_path):
  make().write()
  run = str(tmp_path / 'run')
  names = ['depth', 'widths', 'cap', 'new']
  values = record.recorded(run, 'toy', {'widths': (64, 64), 'new': 3}, names)
  assert values == {'depth': 4, 'widths': (64, 64), 'cap': None}
  assert record.recorded(str(tmp_path / 'none'), 'toy', {}, names) == {}
  with pytest.raises(ValueError, match='with --depth=4, not --depth=5: leave --depth out'):
    record.recorded(run, 'toy', {'depth': 5}, names)
  with pytest.raises(ValueError, match='--cap=none, which toy no longer has: run the copy'):
    record.recorded(run, 'toy', {}, ['depth', 'widths'])
  with pytest.raises(ValueError, match='holds a run of toy, not of other'):
    record.recorded(run, 'other', {}, names)


def test_revision_names_the_commit_and_what_changed_since(tmp_path):
  def git(*words):
    who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    subprocess.run(['git', '-C', tmp_path, *who, *words], check=True, capture_output=True)

  file = tmp_path / 'toy.py'
  file.write_text('a = 1\n')
  git('init', '-q')
  git('add', '.')
  git('commit', '-q', '-m', 'First.')
  clean = provenance.revision(str(file))
  assert clean is not None
  assert len(clean['revision']) == 40
  assert clean['changed'] == []
  file.write_text('a = 2\n')
  dirty = provenance.revision(str(file))
  assert dirty == {'revision': clean['revision'], 'changed': [' M toy.py']}


def test_no_git_is_no_error(tmp_path, monkeypatch):
  assert provenance.revision(str(tmp_path / 'toy.py')) is None
  monkeypatch.setenv('PATH', '')
  assert provenance.revision(__file__) is None


def test_importing_is_light():
  done = subprocess.run(
    [sys.executable, '-c', textwrap.dedent('''
      import sys
      from bigtrain import record
      assert not {'jax', 'numpy', 'etils.epath'} & set(sys.modules)
    ''')], capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
