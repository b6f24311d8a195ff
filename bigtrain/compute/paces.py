"""Whether a host holds the others up.

Every step ends on all hosts at once, so that their step times are equal, whoever was late. What
differs is the time in which a host reads and places data. A slow chip is not seen by that.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

_TIMES = 1.5  # What the others need, and a host is slow ...
_SHARE = 0.1  # ... if what it needs beyond that is such a part of a step.


def slow_hosts(loading: float, step: float) -> dict[int, str]:
  """Returns hosts that hold the others up, and what to say of them; the same on every host.

  Args:
    loading: Seconds of a step in which this host read and placed data.
    step: Seconds of a step.
  """
  if jax.process_count() == 1:
    return {}
  rows = multihost_utils.process_allgather(np.array([loading, step], np.float32))
  return stragglers(rows[:, 0].tolist(), float(rows[:, 1].max()))


def stragglers(loading: Sequence[float], step: float) -> dict[int, str]:
  """Returns what to say of each host that is slow, by its number.

  Args:
    loading: Seconds of a step in which each host read and placed data.
    step: Seconds of a step.
  """
  found = {}
  for host, seconds in enumerate(loading):
    usual = float(np.median([*loading[:host], *loading[host + 1 :]]))
    if seconds > _TIMES * usual and seconds - usual > _SHARE * step:
      found[host] = (
        f'host {host} is slow: of a step of {1e3 * step:.3g} ms it spends {1e3 * seconds:.3g} ms '
        f'reading and placing data, the others {1e3 * usual:.3g} ms'
      )
  return found
