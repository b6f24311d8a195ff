"""Hosts find each other by what the environment says, and whoever does not come is named."""

import os
import socket
import subprocess
import sys
import time

import pytest

from bigtrain.compute.hosts import find_place

TPU = {'TPU_WORKER_HOSTNAMES': 'a,b', 'TPU_WORKER_ID': '1'}
SLICES = {'MEGASCALE_NUM_SLICES': '2', 'MEGASCALE_SLICE_ID': '1',
          'MEGASCALE_COORDINATOR_ADDRESS': 'a:80'}  # fmt: skip
SLURM = {'SLURM_STEP_NUM_TASKS': '4', 'SLURM_JOB_ID': '4097', 'SLURM_PROCID': '3',
         'SLURM_STEP_NODELIST': 'gpu[07-09,11],x'}  # fmt: skip
JAX = {'JAX_COORDINATOR_ADDRESS': 'h:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '0'}


@pytest.mark.parametrize(
  ('environment', 'place'),
  [
    ({}, None),
    (JAX, ('h:1', 2, 0)),
    ({**SLURM, **JAX}, ('h:1', 2, 0)),
    (TPU, ('a:8476', 2, 1)),
    ({**TPU, **SLICES}, ('a:8476', 4, 3)),
    ({'TPU_WORKER_HOSTNAMES': 'localhost', 'TPU_WORKER_ID': '0'}, None),
    (SLURM, ('gpu07:61441', 4, 3)),
    ({**SLURM, 'SLURM_STEP_NODELIST': 'one,two'}, ('one:61441', 4, 3)),
    ({**SLURM, 'SLURM_STEP_NUM_TASKS': '1'}, None),
  ],
)
def test_the_environment_says_where_a_host_stands(environment, place):
  assert find_place(environment) == place


def test_what_is_left_out_is_named():
  with pytest.raises(ValueError, match='JAX_PROCESS_ID is not: set all of'):
    find_place({k: v for k, v in JAX.items() if k != 'JAX_PROCESS_ID'})
  with pytest.raises(ValueError, match='numbered 0 to 1, got 2'):
    find_place({**JAX, 'JAX_PROCESS_ID': '2'})


@pytest.mark.parametrize(('come', 'missing'), [((0, 2), '1'), ((1, 2), '0')])
def test_a_host_that_does_not_come_is_named_by_all_that_did(come, missing):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  script = 'from bigtrain.compute import hosts; hosts.join(patience=4)'
  start = time.monotonic()
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', script],
      env={**os.environ, 'JAX_COORDINATOR_ADDRESS': f'localhost:{port}', 'JAX_NUM_PROCESSES': '3',
           'JAX_PROCESS_ID': str(index)},
      stderr=subprocess.PIPE, text=True,
    ) for index in come
  ]  # fmt: skip
  for process in processes:
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f'TimeoutError: host {missing} of 3 did not come within 4 s' in said
  assert time.monotonic() - start < 45
