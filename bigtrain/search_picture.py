"""Isolation plots: the metric of every trial against each knob alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bigtrain.kinds import text
from bigtrain.tuning.spaces import Choice

if TYPE_CHECKING:
  from matplotlib.figure import Figure

  from bigtrain.search import Space

_ACROSS = 3  # Panels in a row.


def draw_slices(
  space: Space,
  trials: Sequence[Mapping[str, Any]],
  values: Sequence[float],
  pruned: Sequence[bool],
  best: int,
  name: str,
) -> Figure:
  """Draws a panel a knob, over all of its range: a dot a trial, darker the later it was.

  A valley that all dots follow says that the knob matters; dots all over, that others matter more.

  Args:
    space: What was searched.
    trials: The knobs of each trial.
    values: The metric of each trial, finite; of a pruned one, the last that is known.
    pruned: Which trials did not run to their end: crosses.
    best: Which of them is the best.
    name: The metric's.
  """
  from matplotlib.figure import Figure

  rows, columns = -(-len(space) // _ACROSS), min(_ACROSS, len(space))
  figure = Figure(figsize=(3.2 * columns + 0.6, 2.8 * rows), layout='constrained')
  panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
  for index, (panel, (knob, known)) in enumerate(zip(panels, space.items(), strict=False)):
    if isinstance(known, Choice):
      names = [text(value) for value in known.values]
      places = [names.index(text(trial[knob])) for trial in trials]
      panel.set_xticks(range(len(names)), names)
      panel.set_xlim(-0.5, len(names) - 0.5)
    else:
      places = [trial[knob] for trial in trials]
      if known.log:
        panel.set_xscale('log')
      panel.axvspan(known.low, known.high, color='0.96', zorder=0)
    for marker, label, kind in (('o', 'to the end', False), ('x', 'pruned', True)):
      shown = [i for i, early in enumerate(pruned) if early == kind]
      if shown:
        panel.scatter(
          [places[i] for i in shown], [values[i] for i in shown], c=shown, cmap='Blues',
          vmin=-len(values), vmax=len(values), s=24, marker=marker, label=label,
        )  # fmt: skip
    panel.scatter(
      places[best], values[best], s=90, facecolors='none', edgecolors='tab:red', label='best'
    )
    panel.set_xlabel(knob)
    panel.spines[['top', 'right']].set_visible(False)
    if index % _ACROSS == 0:
      panel.set_ylabel(name)
  for panel in list(panels)[len(space) :]:
    panel.set_visible(False)
  marks, labels = figure.axes[0].get_legend_handles_labels()
  figure.legend(marks, labels, loc='outside upper right', ncols=3, frameon=False)
  return figure
