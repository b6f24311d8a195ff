"""Whether all hosts of a run mean the same run, and hold the same parameters.

Hosts that differ in code, flags or data train something that nobody asked for, or wait for each
other until they are killed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_SHOWN = 5  # Differences that a message lists.


def agree(facts: Mapping[str, str]) -> None:
  """Returns where all hosts bring the same facts; to be called by all of them at the same point.

  Args:
    facts: By name, such as 'flag lr' or 'code bigtrain/train.py'; short.

  Raises:
    ValueError: On every host; the message names the hosts that differ from host 0, and in what.
  """
  if jax.process_count() == 1:
    return
  if found := differences(_of_all_hosts(facts)):
    raise ValueError(f'all hosts must run the same code, flags and data: {_listed(found)}')


def agree_on_arrays(tree: Any) -> None:
  """Returns where the copies of each array, or of each part of it, are the same on all devices.

  Copies drift apart where a device computes or remembers wrongly. All hosts call it at the same
  point; each reads all that its devices hold.

  Args:
    tree: Of arrays, such as parameters.

  Raises:
    ValueError: On every host; the message names the first devices whose copies differ.
  """
  held: dict[str, dict[str, str]] = {}  # Part to device to digest.
  for path, array in jax.tree_util.tree_leaves_with_path(tree):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    for shard in array.addressable_shards:
      part = ', '.join(f'{i.start or 0}:{"" if i.stop is None else i.stop}' for i in shard.index)
      digest = hashlib.sha256(np.asarray(shard.data).tobytes()).hexdigest()[:12]
      held.setdefault(f'{name}[{part}]', {})[str(shard.device)] = digest
  if found := unequal([held] if jax.process_count() == 1 else _of_all_hosts(held)):
    raise ValueError(
      f'copies of the same parameters differ: {_listed(found)}: a device is faulty, or a host did '
      'not do what the others did. Go on from an older checkpoint, without that device'
    )


def unequal(all_held: Sequence[Mapping[str, Mapping[str, str]]]) -> list[str]:
  """Returns one sentence for each copy that differs from the first of its part.

  Args:
    all_held: Part to device to digest, of each host in order.
  """
  first, found = {}, []
  for host, held in enumerate(all_held):
    for part, copies in held.items():
      for device, digest in copies.items():
        place = f'{device} of host {host}'
        origin, expected = first.setdefault(part, (place, digest))
        if digest != expected:
          found.append(f'{part} is {digest} on {place}, {expected} on {origin}')
  return found


def _of_all_hosts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
  own = np.frombuffer(json.dumps(dict(facts)).encode(), np.uint8)
  sizes = np.ravel(multihost_utils.process_allgather(np.array([own.size])))
  padded = np.pad(own, (0, int(sizes.max()) - own.size))
  texts = multihost_utils.process_allgather(padded)
  return [json.loads(bytes(t[:n])) for t, n in zip(texts, sizes, strict=True)]


def _listed(found: list[str]) -> str:
  more = f', and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
  return '; '.join(found[:_SHOWN]) + more


def differences(all_facts: list[dict[str, str]]) -> list[str]:
  """Returns one sentence for each fact in which a host differs from host 0.

  Args:
    all_facts: Each host's, in order.
  """
  first, none = all_facts[0], 'not at all'
  return [
    f'host {host} has {name} {facts.get(name, none)}, host 0 {first.get(name, none)}'
    for host, facts in enumerate(all_facts)
    for name in sorted({*first, *facts})
    if facts.get(name) != first.get(name)
  ]
