"""From the device to the journal: the Means of each step, fetched one dispatch late.

Fetching waits for the device. While it waits for the dispatch before, the next one is queued
already, so the device never idles for the sake of a log line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from bigtrain.evaluation import Mean
from bigtrain.journal import Journal, Meter, Progress


class History:
  """Averages Means between entries of the journal, and refuses what is not finite.

  Args:
    journal: Where entries go.
    progress: What is shown meanwhile.
    meter: Measures speed between entries.
    log_every: Steps between entries.
    schedule: The learning rate by step, if it is to be logged.
  """

  def __init__(
    self,
    journal: Journal,
    progress: Progress,
    meter: Meter,
    log_every: int,
    schedule: Callable[[int], Any] | None = None,
  ):
    self._journal, self._progress, self._meter = journal, progress, meter
    self._log_every, self._schedule = log_every, schedule
    self._pending: tuple[int, int, Mapping[str, Mean]] | None = None
    self._sums: dict[str, Mean] = {}

  @contextmanager
  def loading(self) -> Iterator[None]:
    """Around the reading of data: the device waited for it if it ran out of work meanwhile."""
    before = time.monotonic()
    yield
    pending = jax.tree.leaves(self._pending and self._pending[2])
    if pending and pending[0].is_ready():
      self._meter.wait(time.monotonic() - before)

  def add(self, step: int, count: int, means: Mapping[str, Mean]) -> None:
    """Queues the Means of the `count` steps that end at `step`; fetches those queued before."""
    self._meter.add(count)
    self.flush()
    self._pending = (step, count, means)

  def flush(self) -> None:
    """Fetches what is queued.

    Raises:
      FloatingPointError: A loss or a gradient is not finite.
    """
    if self._pending is None:
      return
    step, count, means = self._pending
    self._pending = None
    # Steps of a dispatch are stacked; a single one is not.
    rows = {
      key: (np.atleast_1d(mean.total)[:count].astype(float), np.atleast_1d(mean.weight)[:count])
      for key, mean in jax.device_get(dict(means)).items()
    }
    for name in ('loss', 'grad_norm'):
      bad = ~np.isfinite(rows[name][0])
      if bad.any():
        raise FloatingPointError(
          f'the {name} of step {step - count + 1 + int(bad.argmax())} is not finite: lower the '
          f'learning rate, lengthen its warm-up or clip gradients; older checkpoints are whole'
        )
    for key, (total, weight) in rows.items():
      mean = Mean(total.sum(), weight.sum(dtype=float))
      self._sums[key] = self._sums[key] + mean if key in self._sums else mean
    if step % self._log_every == 0:
      self._log(step)

  def _log(self, step: int) -> None:
    speed = self._meter.read()
    means = {key: float(mean.value) for key, mean in self._sums.items()}
    self._sums = {}
    rate = {'learning_rate': float(self._schedule(step - 1))} if self._schedule else {}
    entry = {**means, **rate, **speed}
    self._journal.write(step, {f'train/{key}': value for key, value in entry.items()})
    self._progress.update(step, {'loss': means['loss'], **speed})

  def evaluated(
    self, step: int, name: str, evaluate: Callable[[str, Any], dict[str, float]], state: Any
  ) -> None:
    """Makes the evaluation `name` of a state, enters and shows the result."""
    with self._meter.paused():
      metrics = evaluate(name, state)
    self._journal.write(step, {f'{name}/{key}': value for key, value in metrics.items()})
    shown = '  '.join(f'{key} {value:.4g}' for key, value in metrics.items())
    self._progress.say(f'step {step}  {name}: {shown}')
