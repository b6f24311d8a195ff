"""From the device to the journal: the Means of each step, fetched two dispatches late.

Fetching waits for the device. While it waits for a dispatch, the next two are queued already: the
device idles neither for a log line nor while another thread holds Python.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from bigtrain import compute
from bigtrain.evaluation import Mean
from bigtrain.health import Health
from bigtrain.journal import Journal, Meter
from bigtrain.progress import Progress
from bigtrain.rate_guard import RateGuard

_QUEUED = 2  # Dispatches behind the one that is waited for.


class History:
  """Averages Means between entries of the journal; steps that were skipped do not enter.

  Args:
    journal: Where entries go.
    progress: What is shown meanwhile.
    meter: Measures speed between entries.
    log_every: Steps between entries; the last step has one too.
    ahead: Batches that the data is ahead of the step: left out on purpose.
    patience: Of evaluations by name, as `Eval.patience`; earlier losses are the journal's.
    fresh: Whether its first step is that of a model which knows nothing.
  """

  def __init__(
    self,
    journal: Journal,
    progress: Progress,
    meter: Meter,
    log_every: int,
    ahead: int = 0,
    patience: Mapping[str, int] | None = None,
    fresh: bool = False,
  ):
    self._journal, self._progress, self._meter = journal, progress, meter
    self._log_every = log_every
    self._pending: deque[tuple[int, int, Mapping[str, Mean]]] = deque()
    self._sums: dict[str, Mean] = {}
    self.health = Health(ahead)
    self._guard = RateGuard(fresh)
    self._step_seconds = 0.0  # Between the last two entries; 0 before the first.
    self._slow: dict[int, str] = {}
    self._patience = patience or {}
    self._losses = {name: journal.column(f'{name}/loss') for name in self._patience}

  @contextmanager
  def loading(self) -> Iterator[None]:
    """Around the reading of data: the device waited for it if it ran out of work meanwhile."""
    before = time.monotonic()
    yield
    spent = time.monotonic() - before
    self._meter.loaded(spent)
    if self._pending and jax.tree.leaves(self._pending[-1][2])[0].is_ready():
      self._meter.wait(spent)

  def add(self, step: int, count: int, means: Mapping[str, Mean]) -> None:
    """Queues the Means of the `count` steps that end at `step`; fetches the oldest in the queue.

    Raises:
      Diverged: Too many steps in a row were not finite.
    """
    self._meter.add(count)
    self._pending.append((step, count, means))
    if len(self._pending) > _QUEUED:
      self._fetch()

  def flush(self) -> None:
    """Fetches all that is queued.

    Raises:
      Diverged: Too many steps in a row were not finite.
    """
    while self._pending:
      self._fetch()

  def steps_in(self, seconds: float) -> int:
    """Steps that take about so long, in whole entries; 0 before the first one. On all hosts the
    first host's word: all must ask at the same step.
    """
    if not self._step_seconds:
      return 0
    pace = seconds / self._step_seconds
    return compute.agreed(self._log_every * max(1, round(pace / self._log_every)))

  def out_of_patience(self) -> bool:
    """Whether an evaluation went on too long without a lower loss, by the first host's journal."""
    return bool(self._patience) and bool(compute.agreed(any(map(self._too_long, self._patience))))

  def _too_long(self, name: str) -> bool:
    losses = [loss if loss == loss else np.inf for loss in self._losses[name]]
    return len(losses) > 0 and len(losses) - 1 - int(np.argmin(losses)) >= self._patience[name]

  def _fetch(self) -> None:
    step, count, means = self._pending.popleft()
    # Steps of a dispatch are stacked; a single one is not.
    fetched = jax.device_get(dict(means))
    rows = {
      key: (np.atleast_1d(mean.total)[:count].astype(float), np.atleast_1d(mean.weight)[:count])
      for key, mean in fetched.items()
    }
    good = np.isfinite(rows['loss'][0]) & np.isfinite(rows['grad_norm'][0])
    losses = rows['loss'][0] / np.maximum(rows['loss'][1], 1e-30)
    for line in self.health.see(step - count + 1, losses, rows['grad_norm'][0]):
      self._progress.say(line)
    rates = rows['learning_rate'][0][good] if 'learning_rate' in rows else []
    if said := self._guard.see(step, losses[good].tolist(), max(rates, default=None)):
      self._progress.say(said)
    for key, (total, weight) in rows.items():
      mean = type(fetched[key])(total[good].sum(), weight[good].sum(dtype=float))
      self._sums[key] = self._sums[key] + mean if key in self._sums else mean
    if step % self._log_every == 0 or step == self._progress.steps:
      self._log(step)

  def _log(self, step: int) -> None:
    self._step_seconds, speed = self._meter.read()
    slow = compute.slow_hosts(self._meter.loading, self._step_seconds)
    for host in slow.keys() - self._slow.keys():  # Again only after it was well.
      self._progress.say(slow[host])
    self._slow = slow
    # What isn't measured at every step may not have been measured at all.
    seen = {key: mean for key, mean in self._sums.items() if mean.weight or key == 'loss'}
    means = {key: float(mean.value) for key, mean in seen.items()}
    self._sums = {}
    if skipped := self.health.take_skipped():
      means['skipped'] = float(skipped)
    entry = {f'train/{key}': value for key, value in {**means, **speed}.items()}
    self._journal.write(step, entry)
    self._progress.update(step, {'loss': means['loss'], **speed})

  def evaluated(
    self,
    step: int,
    name: str,
    evaluate: Callable[[str, Any], dict[str, float]],
    state: Any,
    label: str = '',
  ) -> None:
    """Makes the evaluation `name` of a state, enters it (as `label`) and shows the result.

    Raises:
      Diverged: Too many steps before it were not finite.
    """
    self.flush()  # It waits for these steps in any case; the journal stays in order.
    with self._meter.paused():
      metrics = evaluate(name, state)
    name = label or name
    self._journal.write(step, {f'{name}/{key}': value for key, value in metrics.items()})
    alone = [(k, v) for k, v in metrics.items() if not k.endswith(('_low', '_high'))]
    first = alone[:4]  # What fits a line; the journal has them all.
    shown = '  '.join(f'{key} {value:.4g}' for key, value in first)
    self._progress.say(f'step {step}  {name}: {shown}')
    if not label and name in self._patience:
      self._losses[name].append(metrics['loss'])
      if self._too_long(name):
        low, times = min(self._losses[name]), self._patience[name]
        self._progress.say(f'{name}: no loss below {low:.4g} for {times} evaluations. Ending early')
