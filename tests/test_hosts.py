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

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = """
import sys
import threading
import toys
from bigtrain import compute
compute.start()
from bigtrain.program import Program
from bigtrain.train import fit
steps, workdir = int(sys.argv[1]), sys.argv[2]
run = fit(Program(toys.experiment(steps=steps, dropout=0.0)), workdir, log_every=1, save_every=10,
          progress=False)
print('ended at', run.step)
sys.exit(run.stopped or 0)
"""


def start(workdir, steps, hosts):
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
    command = [sys.executable, '-c', SCRIPT, str(steps), str(workdir)]
    processes.append(
      subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
      )
    )
  return processes


def finish(processes):
  # A host whose peer has died waits for it: whoever is left after the time is killed.
  deadline = threading.Timer(120, lambda: [process.kill() for process in processes])
  deadline.start()
  results = [process.communicate() for process in processes]
  deadline.cancel()
  return [(p.returncode, out, err) for p, (out, err) in zip(processes, results, strict=True)]


def losses(workdir):
  rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  return [row['train/loss'] for row in rows if 'train/loss' in row]


def test_two_hosts_train_as_one_and_one_goes_on_alone(tmp_path):
  for code, _, err in finish(start(tmp_path / 'one', 30, hosts=1)):
    assert code == 0, err
  for code, _, err in finish(start(tmp_path / 'two', 20, hosts=2)):
    assert code == 0, err
  # From the checkpoint that two hosts saved, one goes on.
  for code, _, err in finish(start(tmp_path / 'two', 30, hosts=1)):
    assert code == 0, err
  assert len(losses(tmp_path / 'two')) == 30
  np.testing.assert_allclose(losses(tmp_path / 'one'), losses(tmp_path / 'two'), atol=1e-5)


def test_a_signal_to_one_host_stops_both_at_one_step(tmp_path):
  processes = start(tmp_path, 1_000_000, hosts=2)
  deadline = time.monotonic() + 200
  while not (tmp_path / 'metrics.jsonl').exists() or not losses(tmp_path):
    assert time.monotonic() < deadline
    assert all(process.poll() is None for process in processes), finish(processes)
    time.sleep(0.2)
  processes[1].send_signal(signal.SIGTERM)
  results = finish(processes)
  ends = {out.splitlines()[-1] for _, out, _ in results}
  assert len(ends) == 1, results
  step = int(ends.pop().split()[-1])
  assert (tmp_path / 'checkpoints' / str(step)).is_dir()
  assert [code for code, _, _ in results] == [143, 143]
