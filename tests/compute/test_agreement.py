"""Hosts that differ are told which, and in what."""

import os
import socket
import subprocess
import sys

import toys

from bigtrain import agreement, compute
from bigtrain.compute.agreement import differences

SCRIPT = """
import sys
from bigtrain import compute
compute.start()
compute.agree({'flag --lr': '0.1', 'code a.py': 'abc'})
print('agreed', flush=True)
compute.agree({'flag --lr': sys.argv[1], 'data train': '5 records' + sys.argv[1]})
"""


def test_two_hosts_that_differ_both_name_the_other():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  processes = []
  for index in range(2):
    place = {'JAX_COORDINATOR_ADDRESS': f'localhost:{port}', 'JAX_NUM_PROCESSES': '2'}
    environment = {**os.environ, **place, 'JAX_PROCESS_ID': str(index)}
    command = [sys.executable, '-c', SCRIPT, f'0.{index + 1}']
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    processes.append(subprocess.Popen(command, env=environment, text=True, **pipes))
  try:
    results = [process.communicate(timeout=90) for process in processes]
  finally:
    for process in processes:
      process.kill()
  for process, (out, err) in zip(processes, results, strict=True):
    assert out.splitlines()[-1] == 'agreed', err
    assert process.returncode == 1
    assert 'host 1 has data train 5 records0.2, host 0 5 records0.1' in err
    assert 'host 1 has flag --lr 0.2, host 0 0.1' in err


def test_what_one_host_lacks_is_a_difference():
  first = {'code a.py': '1', 'code b.py': '2'}
  found = differences([first, first, {'code a.py': '1', 'code c.py': '3'}])
  assert found == [
    'host 2 has code b.py not at all, host 0 2', 'host 2 has code c.py 3, host 0 not at all'
  ]  # fmt: skip


def test_code_and_data_are_among_the_facts():
  found = agreement.facts(toys.experiment())
  assert found == agreement.facts(toys.experiment(lr=0.5))  # Flags are the record's.
  assert 'code bigtrain/train.py' in found
  assert found['data train'] == '50 records'
  compute.agree(found)  # One host agrees with itself.
