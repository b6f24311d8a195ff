"""How the hosts of a run find each other.

Which description wins: JAX's variables (`JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`,
`JAX_PROCESS_ID`), then a TPU pod's (`TPU_WORKER_HOSTNAMES`, `TPU_WORKER_ID`, and `MEGASCALE_*` for
several slices), then Slurm's step (`srun`).

JAX ends the process, without a Python exception, when one host does not come. So the hosts call a
roll first, over the coordinator's address: whoever is missing is named.
"""

import contextlib
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax

PATIENCE_SECONDS = 300.0  # Machines of one job may boot minutes apart.
_HEARTBEAT_SECONDS = 30  # JAX waits 100 for a host that has died; a busy one is heard well within.
_TPU_PORT = 8476
_RETRY_SECONDS = 0.2


class Place(NamedTuple):
  """A host's place among the others.

  Attributes:
    address: Of host 0, HOST:PORT.
    count: Hosts in all.
    index: Of this one.
  """

  address: str
  count: int
  index: int


def find_place(environment: Mapping[str, str]) -> Place | None:
  """Returns what the environment says of a run on several hosts, or None.

  Raises:
    ValueError: It contradicts itself or leaves something out.
  """
  place = _from_jax(environment) or _from_tpu(environment) or _from_slurm(environment)
  if place and not 0 <= place.index < place.count:
    raise ValueError(f'hosts are numbered 0 to {place.count - 1}, got {place.index}')
  return place


def join(patience: float = PATIENCE_SECONDS) -> None:
  """Joins the other hosts, where the environment names any.

  Args:
    patience: Seconds to wait for all of them.

  Raises:
    TimeoutError: Some did not come; the message says which.
    ValueError: The environment contradicts itself.
  """
  place = find_place(os.environ)
  if place is None or jax.distributed.is_initialized():
    return
  if place.count > 1:
    call_roll(place, patience)
  jax.distributed.initialize(
    place.address,
    num_processes=place.count,
    process_id=place.index,
    initialization_timeout=max(1, round(patience)),
    heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
  )


def call_roll(place: Place, patience: float) -> None:
  """Returns when every host has called in at host 0.

  Raises:
    TimeoutError: Some did not within `patience` seconds.
  """
  deadline = time.monotonic() + patience
  host, _, port = place.address.rpartition(':')
  if place.index == 0:
    missing = _listen(int(port), place.count, deadline)
  else:
    missing = _call(host, int(port), place, deadline)
  if missing:
    names = ', '.join(map(str, missing))
    raise TimeoutError(
      f'host {names} of {place.count} did not come within {patience:g} s (asked for at '
      f'{place.address}): see whether it started, and whether it can reach that address'
    )


def _listen(port: int, count: int, deadline: float) -> list[int]:
  """Waits for the others, tells them who is missing, and returns it."""
  callers: dict[int, socket.socket] = {}
  with contextlib.ExitStack() as stack:
    server = stack.enter_context(socket.create_server(('', port), backlog=count))
    while len(callers) < count - 1 and (left := deadline - time.monotonic()) > 0:
      server.settimeout(left)
      with contextlib.suppress(OSError, ValueError):  # A stranger, or one that hung up.
        caller = stack.enter_context(server.accept()[0])
        caller.settimeout(min(5, left))
        index = int(caller.makefile().readline(20))
        if 0 < index < count:
          callers[index] = caller
    missing = sorted(set(range(1, count)) - set(callers))
    for caller in callers.values():
      with contextlib.suppress(OSError):
        caller.sendall((','.join(map(str, missing)) + '\n').encode())
  return missing


def _call(host: str, port: int, place: Place, deadline: float) -> list[int]:
  """Calls in at host 0, and returns who is missing."""
  while (left := deadline - time.monotonic()) > 0:
    with contextlib.suppress(OSError), socket.create_connection((host, port), left) as line:
      line.sendall(f'{place.index}\n'.encode())
      # Host 0 started at another time: it may wait as long again.
      line.settimeout(left + PATIENCE_SECONDS)
      answer = line.makefile().readline()
      if answer.endswith('\n'):
        return [int(word) for word in answer.split(',') if word.strip()]
    time.sleep(_RETRY_SECONDS)
  return [0]


def _from_jax(environment: Mapping[str, str]) -> Place | None:
  names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
  if names[0] not in environment:
    return None
  for name in names[1:]:
    if name not in environment:
      raise ValueError(f'{names[0]} is set and {name} is not: set all of {", ".join(names)}')
  return Place(environment[names[0]], *(int(environment[name]) for name in names[1:]))


def _from_tpu(environment: Mapping[str, str]) -> Place | None:
  names = environment.get('TPU_WORKER_HOSTNAMES', '').split(',')
  slices = int(environment.get('MEGASCALE_NUM_SLICES', '1'))
  count = len(names) * slices
  if count == 1:
    return None
  first = environment.get('MEGASCALE_COORDINATOR_ADDRESS', names[0]).split(':')[0]
  number = int(environment.get('MEGASCALE_SLICE_ID', '0'))
  index = number * len(names) + int(environment.get('TPU_WORKER_ID', '0'))
  return Place(f'{first}:{_TPU_PORT}', count, index)


def _from_slurm(environment: Mapping[str, str]) -> Place | None:
  count = int(environment.get('SLURM_STEP_NUM_TASKS', '1'))
  if count == 1:
    return None
  # The first of 'node[001-004,9],other'.
  nodes = environment['SLURM_STEP_NODELIST']
  found = re.match(r'([^,\[]+)(?:\[(\d+))?', nodes)
  if found is None:
    raise ValueError(f'SLURM_STEP_NODELIST names no host: {nodes!r}')
  # Jobs that share a node must not share a port.
  port = 61_440 + int(environment['SLURM_JOB_ID']) % 4096
  return Place(f'{found[1]}{found[2] or ""}:{port}', count, int(environment['SLURM_PROCID']))
