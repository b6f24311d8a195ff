"""What a person sees while a run trains: one live line on a terminal, log lines elsewhere."""

import itertools
import sys
import time
from collections.abc import Mapping

from absl import logging

_QUIET_SECONDS = 10.0  # Between log lines where there is no terminal.
_WIDTH = 16  # Characters of the sparkline.
_BARS = '▁▂▃▄▅▆▇█'


class Progress:
  """One live line on a terminal; elsewhere a log line now and then.

  Args:
    steps: The last step.
    batch: Examples a step.
    shown: False shows nothing but what `say` is told.
  """

  def __init__(self, steps: int, batch: int, shown: bool = True):
    self.steps = steps
    self._batch, self._shown = batch, shown
    self._printed = -_QUIET_SECONDS
    self._losses: list[float] = []
    self._bar = None
    if shown and sys.stderr.isatty():
      from rich.console import Console
      from rich.progress import BarColumn, Progress, TextColumn

      # Markup off: a line holds names that people gave. stdout is not touched: it may be a file.
      self._bar = Progress(
        TextColumn('{task.description}', markup=False),
        BarColumn(bar_width=12),
        TextColumn('{task.fields[line]}', markup=False),
        console=Console(stderr=True),
        redirect_stdout=False,
        refresh_per_second=4,
      )
      self._task = self._bar.add_task(f'step 0/{steps}', total=steps, line='compiling')
      self._bar.start()

  def update(self, step: int, metrics: Mapping[str, float]) -> None:
    """Shows where training is: `metrics` holds 'loss' and a Meter's reading."""
    if not self._shown:
      return
    self._losses.append(metrics['loss'])
    rate = metrics['examples_per_second'] or 1e-9
    parts = [
      f'loss {metrics["loss"]:.4f}',
      f'{rate:,.0f} examples/s',
      f'{_clock((self.steps - step) * self._batch / rate)} left',
      *([f'MFU {metrics["mfu"]:.1%}'] if 'mfu' in metrics else []),
      f'data wait {metrics["data_wait"]:.1%}',
    ]
    if self._bar is not None:
      line = '  '.join([sparkline(self._losses), *parts])
      self._bar.update(
        self._task, completed=step, description=f'step {step}/{self.steps}', line=line
      )
    elif time.monotonic() - self._printed > _QUIET_SECONDS or step == self.steps:
      logging.info('step %d/%d  %s', step, self.steps, '  '.join(parts))
      self._printed = time.monotonic()

  def say(self, text: str) -> None:
    """Prints one line above the live one."""
    if self._bar is not None:
      self._bar.console.print(text, highlight=False, markup=False)
    else:
      logging.info('%s', text)

  def close(self) -> None:
    """Leaves the terminal as it was."""
    if self._bar is not None:
      self._bar.stop()


def sparkline(values: list[float], width: int = _WIDTH) -> str:
  """Returns the means of stretches of values as bars, the greatest the highest.

  What comes first is left out once it is a quarter of the whole: the fall of the first steps would
  flatten all that follows.
  """
  values = [value for value in values if value == value][len(values) // 4 :]
  if not values:
    return ''
  count = min(width, len(values))
  edges = [len(values) * i // count for i in range(count + 1)]
  means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
  low, span = min(means), max(means) - min(means)
  return ''.join(
    _BARS[round((len(_BARS) - 1) * (mean - low) / span) if span else 0] for mean in means
  )


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
