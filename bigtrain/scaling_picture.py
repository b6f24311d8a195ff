"""The picture of a scaling law: losses of runs by length and by compute, and the law's lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bigtrain.ladder import Rung

if TYPE_CHECKING:
  from matplotlib.figure import Figure

  from bigtrain.tuning import Cost, ScalingLaw

_MARKERS = 'osD^vP*X'
_BEYOND = 30  # Times the costliest run: how far the law is drawn.


def draw_law(
  law: ScalingLaw,
  cost: Cost,
  points: Sequence[tuple[Rung, float, float]],
  metric: str,
  predicted: tuple[Rung, float, float, float] | None = None,
  outcome: float | None = None,
) -> Figure:
  """Draws losses by examples seen, with the law's line of each size, and by operations.

  Sizes differ in marker and in lightness, so that the picture is read in grey as well.

  Args:
    law: Fitted to the points.
    cost: Of an example, by size.
    points: A run, examples that it had seen, its loss then.
    metric: The loss's name.
    predicted: A larger run, its loss as predicted and the interval's ends.
    outcome: What its loss turned out to be.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 4), layout='constrained')
  left, right = figure.subplots(1, 2, sharey=True)
  sizes = sorted({one.parameters for one, _, _ in points})
  seen = np.array([d for _, d, _ in points])
  most = max(seen.max(), predicted[0].examples if predicted else 0)
  length = np.geomspace(seen.min() / 1.5, 1.5 * most, 60)
  for index, size in enumerate(sizes):
    grey = str(round(0.65 * (1 - index / max(1, len(sizes) - 1)), 2))
    mine: list[Any] = [(d, loss) for one, d, loss in points if one.parameters == size]
    d, loss = np.array(mine).T
    style = {'color': grey, 'marker': _MARKERS[index % len(_MARKERS)], 'linestyle': 'none'}
    left.plot(length, law.loss(size, length), color=grey, linewidth=1)
    left.plot(d, loss, **style, label=f'{size:,} parameters')
    right.plot(cost(size) * d, loss, **style)
  spent = [float(cost(one.parameters)) * d for one, d, _ in points]
  budgets = np.geomspace(min(spent), _BEYOND * max(spent), 60)
  best = [float(law.loss(*law.optimum(budget, cost))) for budget in budgets]
  right.plot(budgets, best, color='tab:red', linestyle='--', label='best size of each budget')
  if predicted:
    one, loss, low, high = predicted
    for panel, x in ((left, one.examples), (right, float(cost(one.parameters)) * one.examples)):
      error = [[max(0.0, loss - low)], [max(0.0, high - loss)]]
      panel.errorbar(
        x, loss, error, color='tab:red', marker='o', markerfacecolor='white', capsize=3,
        linestyle='none', label=f'predicted, {one.name}',
      )  # fmt: skip
      if outcome is not None:
        panel.plot(x, outcome, 'kx', markersize=9, label='outcome')
  for panel, name in ((left, 'examples seen'), (right, 'floating-point operations')):
    panel.set_xscale('log')
    panel.set_yscale('log')
    panel.set_xlabel(name)
    panel.spines[['top', 'right']].set_visible(False)
  low, high = left.get_ylim()
  ticks = np.geomspace(low, high, 6)[1:-1]
  left.set_yticks(ticks, [f'{tick:.3g}' for tick in ticks])
  left.set_yticks([], minor=True)
  left.set_ylabel(metric)
  left.legend(frameon=False, fontsize=8)
  right.legend(*right.get_legend_handles_labels(), frameon=False, fontsize=8)
  return figure
