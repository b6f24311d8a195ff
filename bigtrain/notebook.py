"""Training from Python: what a notebook does where a shell says `python -m experiments.NAME`.

run = bigtrain.run(experiment, epochs=5)     # The function and some knobs, as flags would be.
run = bigtrain.run(experiment(epochs=5))     # Or an Experiment, forked as you like.
run.results['held_out']['accuracy']
run.metrics                                  # The journal, a column a metric.
run.model(images)                            # The trained model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath

from bigtrain import page, record
from bigtrain.attempts import attempt
from bigtrain.build import Build, origin
from bigtrain.experiment import Experiment
from bigtrain.growing import Growing, columns
from bigtrain.journal import table
from bigtrain.state import TrainState, bind

_SECONDS = 2.0  # Between drawings of the live plot.


class Metrics(dict[str, np.ndarray]):
  """The journal by columns: 'step', 'seconds', then metrics; NaN where a line has none.

  `pandas.DataFrame(run.metrics)` makes a data frame of it.
  """

  @classmethod
  def of(cls, workdir: str) -> Metrics:
    """Reads the journal of a run."""
    _, content = Growing(epath.Path(workdir) / 'metrics.jsonl').read()
    return cls(columns(content) if content else {})

  def _repr_html_(self) -> str:
    shown = [name for name in self if not name.endswith(('_low', '_high'))]
    columns = [self[name] for name in shown]
    rows = ([f'{x:.5g}' if x == x else '' for x in row] for row in zip(*columns, strict=True))
    return page.table(shown, rows)


@dataclasses.dataclass(frozen=True)
class Trained:
  """What `run` gives back.

  Attributes:
    experiment: What was trained.
    workdir: Where the run lies, for the verbs (`evaluate`, `report`, ...) and for going on.
    state: The last state.
    results: Metrics by evaluation, as of the last step; empty after an interruption.
  """

  experiment: Experiment
  workdir: str
  state: TrainState
  results: dict[str, dict[str, float]]

  @property
  def metrics(self) -> Metrics:
    """The journal, by columns."""
    return Metrics.of(self.workdir)

  def model(self, *inputs: Any, method: str | None = None) -> jax.Array:
    """Returns the model's output for a batch, without dropout; averages where they were kept.

    Args:
      *inputs: Arrays as the experiment's batches hold them, their first axis counting examples.
      method: Of the model; None calls it.
    """
    return self._apply(self.state.averaged, self.state.model_state, inputs, method)

  @functools.cached_property
  def _apply(self) -> Callable[..., jax.Array]:
    def apply(params, model_state, inputs, method):
      return bind(self.experiment, params, model_state)[0](*inputs, method=method)

    return jax.jit(apply, static_argnums=3)

  def __str__(self) -> str:
    return f'{int(self.state.step)} steps in {self.workdir}\n{table(self.results)}'


def run(
  experiment: Experiment | Callable[..., Experiment],
  *,
  workdir: str | None = None,
  mesh: str = '',
  log_every: int = 50,
  save_every: int = 0,
  plot: bool | None = None,
  **knobs: Any,
) -> Trained:
  """Trains an experiment, or goes on where its workdir stands.

  Args:
    experiment: An Experiment; or the function that makes one. With the function the workdir keeps
      the knobs and the file as the command line does, so that every verb knows them.
    workdir: Where the run is kept; None is a new temporary folder.
    mesh: Devices by axis, such as 'data:2,fsdp:-1'; empty is all on fsdp.
    log_every: Steps between entries of the journal.
    save_every: Steps between checkpoints; 0 is about three minutes. The end always saves.
    plot: Whether curves are drawn while it trains; None does so in a notebook.
    **knobs: Of the function.

  Raises:
    ValueError: Something does not fit: a knob, a batch, the workdir. Nothing was written then.
    TypeError: Knobs with an Experiment, which has none.
  """
  workdir = workdir or tempfile.mkdtemp(prefix='bigtrain-')
  if isinstance(experiment, Experiment):
    if knobs:
      raise TypeError(
        f'{", ".join(knobs)}: an Experiment has no knobs: give the function that makes it, or '
        'change its parts by dataclasses.replace'
      )
    built, kept = experiment, None
  else:
    build = Build.of(experiment, **knobs)
    built = build()
    options = {'workdir': workdir, 'mesh': mesh, 'log_every': log_every, 'save_every': save_every}
    said = ', '.join([build.name, *(f'{key}={value!r}' for key, value in knobs.items())])
    kept = record.Record.of(
      build.name, origin(experiment)[0], build.knobs, options, command=f'bigtrain.run({said})'
    )
    kept.check()
  with _drawn(workdir, built.steps) if _in_notebook(plot) else contextlib.nullcontext():
    _, done = attempt(built, workdir, kept, mesh=mesh, log_every=log_every, save_every=save_every)
  return Trained(built, workdir, done.state, done.results)


def _in_notebook(plot: bool | None) -> bool:
  if plot is not None:
    return plot
  shell = getattr(sys.modules.get('IPython'), 'get_ipython', lambda: None)()
  return hasattr(shell, 'kernel')


@contextlib.contextmanager
def _drawn(workdir: str, steps: int) -> Iterator[None]:
  """Draws the journal again and again, on a thread of its own: training does not wait for it."""
  from IPython.display import display  # pyright: ignore[reportMissingImports]

  handle: Any = display(None, display_id=True)
  over = threading.Event()

  def draw() -> None:
    figure = curves(Metrics.of(workdir), steps)
    if figure is not None and handle is not None:
      handle.update(figure)

  def follow() -> None:
    while not over.wait(_SECONDS):
      draw()

  thread = threading.Thread(target=follow, daemon=True)
  thread.start()
  try:
    yield
  finally:
    over.set()
    thread.join()
    draw()


def curves(metrics: Metrics, steps: int) -> Any:
  """Returns a Matplotlib figure: losses on the left, other evaluations on the right.

  None where nothing was entered yet.
  """
  from matplotlib.figure import Figure

  losses = [key for key in metrics if key.endswith('/loss')]
  hidden = ('_low', '_high', '/loss')
  others = [
    key for key in metrics
    if '/' in key and not key.startswith('train/') and not key.endswith(hidden)
  ][:6]  # fmt: skip
  if not losses:
    return None
  figure = Figure(figsize=(10, 3), layout='constrained')
  for axes, keys in zip(figure.subplots(1, 2), (losses, others), strict=True):
    for key, dash in zip(keys, ['-', '--', ':', '-.'] * 2, strict=False):
      known = np.isfinite(metrics[key])
      axes.plot(metrics['step'][known], metrics[key][known], dash, marker='.', label=key)
    axes.set(xlabel='step', xlim=(0, steps))
    if keys:
      axes.legend(fontsize=8)
  return figure
