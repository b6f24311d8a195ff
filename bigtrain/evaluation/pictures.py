"""Pictures of what a model does, as matplotlib figures that nobody shows but the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def draw_confusion(counts: np.ndarray, names: Sequence[str] | None = None) -> Figure:
  """Draws a confusion matrix: shade is the share of the row's label, the number is the count.

  Args:
    counts: Integers [C, C], row = label, column = prediction. A row of zeros stays blank.
    names: Of the classes, C of them; None for their numbers.

  Returns:
    A figure; `figure.savefig(path)` writes it.

  Raises:
    ValueError: counts isn't square, or names don't fit.
  """
  counts = np.asarray(counts)
  if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
    raise ValueError(f'counts must be a square matrix, got shape {counts.shape}')
  classes = len(counts)
  names = [str(c) for c in range(classes)] if names is None else list(names)
  if len(names) != classes:
    raise ValueError(f'names must hold {classes}, one a class, got {len(names)}')
  # Not pyplot, which keeps every figure in a global list and picks a window system.
  from matplotlib.figure import Figure

  share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  size = max(3.0, 0.45 * classes + 1.5)
  figure = Figure(figsize=(size, size), layout='constrained')
  axes = figure.subplots()
  axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 3 else 0)
  axes.set_yticks(range(classes), names)
  axes.set_xlabel('prediction')
  axes.set_ylabel('label')
  if classes <= 30:  # Beyond that the numbers can't be read.
    for (row, column), count in np.ndenumerate(counts):
      if count:
        color = 'white' if share[row, column] > 0.5 else 'black'
        axes.text(column, row, f'{count}', ha='center', va='center', color=color, fontsize=8)
  return figure
