"""Whether all hosts of a run mean the same run.

Hosts that differ in code, flags or data train something that nobody asked for, or wait for each
other until they are killed.
"""

import json
from collections.abc import Mapping

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
  own = np.frombuffer(json.dumps(dict(facts)).encode(), np.uint8)
  sizes = np.ravel(multihost_utils.process_allgather(np.array([own.size])))
  padded = np.pad(own, (0, int(sizes.max()) - own.size))
  texts = multihost_utils.process_allgather(padded)
  all_facts = [json.loads(bytes(t[:n])) for t, n in zip(texts, sizes, strict=True)]
  if found := differences(all_facts):
    more = f', and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    raise ValueError(
      f'all hosts must run the same code, flags and data: {"; ".join(found[:_SHOWN])}{more}'
    )


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
