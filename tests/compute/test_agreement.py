"""Hosts that differ are told which, and in what."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import toys

from bigtrain import agreement, compute
from bigtrain.compute.agreement import differences

SCRIPT = """
import sys
from bigtrain import compute
compute.start()
compute.agree({'flag --lr': '0.1', 'code a.py': 'abc'})
import jax, numpy as np
mesh = jax.make_mesh((len(jax.devices()),), ('data',))
whole, parts = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in ([], ['data']))
same = np.arange(float(mesh.size))
mine = same + (sys.argv[1] == '0.2')
compute.agree_on_arrays({
  'w': jax.make_array_from_callback(same.shape, whole, lambda i: same[i]),
  'v': jax.make_array_from_callback(same.shape, parts, lambda i: mine[i]),  # No part stands twice.
})
print('agreed', flush=True)
try:
  compute.agree_on_arrays({'w': jax.make_array_from_callback(same.shape, whole, lambda i: mine[i])})
except ValueError as error:
  print(error, file=sys.stderr)
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
    assert 'w[0:] is ' in err
    assert 'copies of the same parameters differ' in err
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


def test_a_copy_that_drifted_is_named_by_its_device():
  mesh = jax.make_mesh((2, 4), ('data', 'fsdp'))
  laid = jax.NamedSharding(mesh, jax.P('fsdp'))
  array = jax.device_put(np.arange(16, dtype=np.float32), laid)
  tree = {'dense': {'kernel': array}, 'bias': array}
  compute.agree_on_arrays(tree)
  pieces = [shard.data for shard in array.addressable_shards]
  flipped = jax.device_put(np.asarray(pieces[5]) * np.float32(1 + 1e-7), pieces[5].device)
  pieces[5] = flipped
  tree['dense']['kernel'] = jax.make_array_from_single_device_arrays((16,), laid, pieces)
  with pytest.raises(ValueError, match=r'dense/kernel\[\d+:\d+\] is .* on .*, .* on ') as caught:
    compute.agree_on_arrays(tree)
  assert str(flipped.device) in str(caught.value)
  assert 'bias' not in str(caught.value)
