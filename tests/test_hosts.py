"""Two real processes train together, and give what one gives."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = """
import dataclasses, os, sys, time
import toys
from absl import logging
from bigtrain import compute
compute.start()
from bigtrain.compute import signals
from bigtrain.program import Program
from bigtrain.train import fit
signals.GRACE_SECONDS = 3.0
steps, workdir, log_every = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
experiment = toys.experiment(steps=steps, dropout=0.0, every=log_every * 10)
late = float(os.environ.get('LATE', 0)) * (os.environ.get('JAX_PROCESS_ID') == '1')
if late:
  def tardy(batch, draws):
    time.sleep(late)
    return toys.jitter(batch, draws)
  data = dataclasses.replace(experiment.data, map=tardy)
  experiment = dataclasses.replace(experiment, data=data)
logging.set_verbosity(logging.INFO)
run = fit(Program(experiment), workdir, log_every=log_every, save_every=log_every * 10,
          progress=False, check_parameters=True)
print('ended at', run.step)
sys.exit(run.stopped or 0)
"""


@pytest.fixture
def start():
  """Starts processes that train; those that are left after the test, or 90 s, are killed."""
  started = []

  def run(workdir, steps, hosts, log_every=1):
    with socket.socket() as free:
      free.bind(('localhost', 0))
      port = free.getsockname()[1]
    processes = []
    for index in range(hosts):
      environment = {**os.environ, 'PYTHONPATH': str(HERE), 'JAX_NUM_CPU_DEVICES': '2'}
      if hosts > 1:
        environment |= {
          'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
          'JAX_NUM_PROCESSES': str(hosts),
          'JAX_PROCESS_ID': str(index),
        }
      command = [sys.executable, '-c', SCRIPT, str(steps), str(workdir), str(log_every)]
      pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
      processes.append(subprocess.Popen(command, env=environment, text=True, **pipes))
      deadline = threading.Timer(90, processes[-1].kill)
      deadline.start()
      started.append((processes[-1], deadline))
    return processes

  yield run
  for process, deadline in started:
    deadline.cancel()
    process.kill()
    process.communicate()


def finish(processes):
  results = [process.communicate() for process in processes]
  return [(p.returncode, out, err) for p, (out, err) in zip(processes, results, strict=True)]


def losses(workdir):
  rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  return [row['train/loss'] for row in rows if 'train/loss' in row]


def wait_for_losses(workdir, processes):
  while not (workdir / 'metrics.jsonl').exists() or not losses(workdir):
    assert all(process.poll() is None for process in processes), finish(processes)
    time.sleep(0.2)


def test_two_hosts_train_as_one_and_one_goes_on_alone(start, tmp_path):
  for code, _, err in finish(start(tmp_path / 'one', 30, hosts=1)):
    assert code == 0, err
  for code, _, err in finish(start(tmp_path / 'two', 20, hosts=2)):
    assert code == 0, err
  # From the checkpoint that two hosts saved, one goes on.
  for code, _, err in finish(start(tmp_path / 'two', 30, hosts=1)):
    assert code == 0, err
  assert len(losses(tmp_path / 'two')) == 30
  np.testing.assert_allclose(losses(tmp_path / 'one'), losses(tmp_path / 'two'), atol=1e-5)


@pytest.mark.parametrize('log_every', [1, 20])  # One step a dispatch, and ten.
def test_a_signal_to_one_host_stops_both_at_one_step(start, tmp_path, log_every):
  processes = start(tmp_path, 1_000_000, hosts=2, log_every=log_every)
  wait_for_losses(tmp_path, processes)
  processes[1].send_signal(signal.SIGTERM)
  results = finish(processes)
  assert [code for code, _, _ in results] == [143, 143], results
  ends = {out.splitlines()[-1] for _, out, _ in results}
  assert len(ends) == 1, results
  assert (tmp_path / 'checkpoints' / ends.pop().split()[-1]).is_dir()


def test_a_host_that_loses_the_other_ends(start, tmp_path):
  processes = start(tmp_path, 1_000_000, hosts=2)
  wait_for_losses(tmp_path, processes)
  processes[1].kill()
  (code, _, err), _ = finish(processes)
  assert code not in (0, -signal.SIGKILL), err


def test_a_host_that_is_late_is_named(start, tmp_path, monkeypatch):
  monkeypatch.setenv('LATE', '0.05')
  for code, _, err in finish(start(tmp_path, 50, hosts=2, log_every=25)):
    assert code == 0, err
    lines = [line for line in err.splitlines() if 'is slow' in line]
    assert len(lines) == 1, err  # Once, not at each entry.
    assert 'host 1 is slow: of a step of' in lines[0]
