"""The coordinate check: how large layers' outputs are, and how far a few steps move them, by width.

Yang et al. 2022 (Tensor Programs V, appendix D.1). Under muP neither grows with width, so that what
a rate does to a narrow model it does to a wide one; where lines rise, wider models take
lower rates.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np

from bigtrain import compute
from bigtrain.rising_rate import peak_of, scaled_to
from bigtrain.state import bind, init
from bigtrain.train import train_step

if TYPE_CHECKING:
  from matplotlib.figure import Figure

  from bigtrain.build import Build
  from bigtrain.experiment import Experiment

STEPS = 4
_DEEP = 2  # Parts of a layer's path that are told apart.
_GROWS = 0.25  # A power of width from which it is said.

Sizes = dict[str, np.ndarray]  # By layer: at the start, then the change after each step.


def read_widths(build: Build, words: Sequence[str]) -> tuple[str, list[int]]:
  """Returns a knob and its values from words such as `width=32`, `64`, `128`.

  Raises:
    ValueError: They are no values of one knob that counts, or fewer than 3.
  """
  knob, _, first = words[0].partition('=')
  if not first or any('=' in word for word in words[1:]):
    raise ValueError(f'--coordinates={",".join(words)}: write one knob, such as width=32,64,128')
  build.check({knob: build.knobs.get(knob)}, '--coordinates')
  values = [build.read(knob, word) for word in (first, *words[1:])]
  if len(set(values)) < 3 or not all(type(value) is int and value > 0 for value in values):
    raise ValueError(f'--coordinates takes at least 3 widths, which are whole, got {values}')
  return knob, sorted(set(values))


def coordinates(experiment: Experiment) -> Sizes:
  """Returns the root mean square of each layer's outputs [1 + STEPS]: at the start, and of their
  change after 1, 2 ... steps at the schedule's peak.

  Outputs are those for the first batch, without dropout. Layers inside a scan are one.

  Raises:
    ValueError: The model shows no layers' outputs.
  """
  if experiment.schedule is not None:
    own, peak = experiment.schedule, peak_of(experiment)
    optimizer = scaled_to(experiment.optimizer, lambda step: peak, own)
    experiment = dataclasses.replace(experiment, optimizer=optimizer)
  batches = [experiment.data[number] for number in range(STEPS)]
  options = compute.options_to_run_once(jax.default_backend())
  stacked = {key: np.stack([batch[key] for batch in batches]) for key in batches[0]}

  @functools.partial(jax.jit, compiler_options=options)
  def run(first: Any, batches: Any) -> tuple[Any, Any]:
    state = init(experiment, first)
    begun = _outputs(experiment, state, first)

    def step(state: Any, batch: Any) -> tuple[Any, Any]:
      state, _ = train_step(experiment, state, batch)
      now = _outputs(experiment, state, first)
      return state, {name: _rms(now[name] - begun[name]) for name in begun}

    return {name: _rms(x) for name, x in begun.items()}, jax.lax.scan(step, state, batches)[1]

  start, changes = jax.device_get(run(batches[0], stacked))
  if not start:
    raise ValueError('the model shows no outputs of its layers: it is no plain Flax module')
  return {name: np.array([start[name], *changes[name]], float) for name in start}


def _rms(x: jax.Array) -> jax.Array:
  return jnp.sqrt(jnp.mean(jnp.square(x)))


def _outputs(experiment: Experiment, state: Any, batch: Any) -> dict[str, jax.Array]:
  apply, _ = bind(experiment, state.params, state.model_state)
  found: dict[str, jax.Array] = {}

  def seeing(*args: Any, mutable: Sequence[str] = (), **kwargs: Any) -> Any:
    output, sown = apply(
      *args, mutable=[*mutable, 'intermediates'], capture_intermediates=True, **kwargs
    )
    for path, value in traverse.flatten_dict(dict(sown['intermediates'])).items():
      name = '/'.join(path[:-1]) or 'output'
      array = jax.tree.leaves(value)
      if path[-1] == '__call__' and len(path) - 1 <= _DEEP and len(array) == 1:
        found[name] = array[0].astype(jnp.float32)
    return (output, {name: sown[name] for name in mutable}) if mutable else output

  experiment.objective(seeing, batch)
  return {name: x for name, x in found.items() if 'dropout' not in name.lower()}


def check_coordinates(build: Build, knob: str, widths: Sequence[int]) -> dict[int, Sizes]:
  """Returns the sizes of layers' outputs by width."""
  compute.start()
  return {width: coordinates(build(**{knob: width})) for width in widths}


def powers(found: Mapping[int, Sizes]) -> dict[str, tuple[float, float]]:
  """Returns with which power of width each layer's outputs grow at the start, and their change
  after the last step; NaN where they are 0.
  """
  widths = np.log(list(found))
  result = {}
  for name in next(iter(found.values())):
    sizes = np.array([found[width][name] for width in found])
    ends = []
    for column in (sizes[:, 0], sizes[:, -1]):
      whole = (column > 0).all() and np.isfinite(column).all()
      ends.append(float(np.polyfit(widths, np.log(column), 1)[0]) if whole else np.nan)
    result[name] = ends[0], ends[1]
  return result


def verdict(found: Mapping[str, tuple[float, float]]) -> str:
  """Returns in a sentence which layers' outputs or changes grow with width."""
  grow = [name for name, ends in found.items() if np.nanmax([*ends, -np.inf]) > _GROWS]
  if not grow:
    return 'No layer grows with width: a rate found on a narrow model should hold for a wide one.'
  shown = ', '.join(grow[:4]) + (f' and {len(grow) - 4} more' if len(grow) > 4 else '')
  return (
    f'With width grow {shown}: a wide model takes another rate than a narrow one, which muP '
    '(tuning.mup) is to mend.'
  )


def draw_coordinates(found: Mapping[int, Sizes], knob: str) -> Figure:
  """Draws a panel for the start and one for each step's change: sizes by width, a line a layer."""
  from matplotlib import colormaps
  from matplotlib.figure import Figure

  figure = Figure(figsize=(14, 3.6), layout='constrained')
  panels = figure.subplots(1, 1 + STEPS)
  names = list(next(iter(found.values())))
  colours = colormaps['viridis'](np.linspace(0, 0.9, len(names)))
  for number, panel in enumerate(panels):
    for name, colour in zip(names, colours, strict=True):
      sizes = [found[width][name][number] for width in found]
      if min(sizes) > 0:
        panel.plot(list(found), sizes, 'o-', color=colour, markersize=3, label=name)
    panel.set_xscale('log', base=2)
    panel.set_yscale('log')
    panel.set_xlabel(knob)
    panel.set_title(
      'at the start' if number == 0 else f'change after {number} step{"s" * (number > 1)}'
    )
    panel.spines[['top', 'right']].set_visible(False)
  panels[0].set_ylabel("root mean square of a layer's outputs")
  shown = [panel.get_legend_handles_labels() for panel in panels]
  handles = {name: line for lines, names in shown for line, name in zip(lines, names, strict=True)}
  figure.legend(
    handles.values(), handles.keys(), loc='outside right center', frameon=False, fontsize=7
  )
  return figure
