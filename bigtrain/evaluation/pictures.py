"""Pictures of what a model does, as matplotlib figures that nobody shows but the caller.

Lines differ in dash as well as in colour (those of Okabe and Ito, which colour-blind people tell
apart), and shades run from light to dark: a page printed in grey says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bigtrain.evaluation.calibration import reliability
from bigtrain.evaluation.ranking_scores import roc_auc

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
DASHES: tuple[Any, ...] = ('-', '--', '-.', ':', (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
_LINES = 10  # Classes drawn as a line each; of more, the few that are told from the rest worst.
_BARS = 40  # Classes drawn as a bar each; of more, those with the shortest.


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
  names = _names(names, classes)
  share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  size = min(max(3.0, 0.45 * classes + 1.5), 15.0)
  figure, axes = _figure(size, size)
  axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  shown = range(0, classes, -(-classes // 50))
  named = [names[c] for c in shown]
  axes.set_xticks(shown, named, rotation=90 if max(map(len, named)) > 2 else 0)
  axes.set_yticks(shown, named)
  axes.set_xlabel('prediction')
  axes.set_ylabel('label')
  if classes <= 30:  # Beyond that the numbers can't be read.
    for (row, column), count in np.ndenumerate(counts):
      if count:
        color = 'white' if share[row, column] > 0.5 else 'black'
        axes.text(column, row, f'{count}', ha='center', va='center', color=color, fontsize=8)
  return figure


def draw_roc(
  label_N: np.ndarray, score_NC: np.ndarray, names: Sequence[str] | None = None
) -> Figure:
  """Draws the ROC curve of each class against the rest (of two classes, of class 1).

  Args:
    label_N: Classes, integers; or answers [N, C] of several questions.
    score_NC: Higher is more of the class.
    names: Of the classes. Of more than 10, the 7 with the least area are drawn.
  """
  from sklearn import metrics

  _, axes = _figure(4.6, 4.2)
  for style, name, positive, score in _one_against_rest(label_N, score_NC, names):
    x, y, _ = metrics.roc_curve(positive, score)
    axes.plot(x, y, label=f'{name}  {np.trapezoid(y, x):.3f}', **style)
  axes.plot([0, 1], [0, 1], color='0.6', linewidth=0.8)
  return _finish(axes, 'false positive rate', 'true positive rate', 'area under ROC')


def draw_precision_recall(
  label_N: np.ndarray, score_NC: np.ndarray, names: Sequence[str] | None = None
) -> Figure:
  """Draws precision over recall of each class against the rest (of two classes, of class 1)."""
  from sklearn import metrics

  _, axes = _figure(4.6, 4.2)
  for style, name, positive, score in _one_against_rest(label_N, score_NC, names):
    precision, recall, _ = metrics.precision_recall_curve(positive, score)
    area = metrics.average_precision_score(positive, score)
    axes.step(recall, precision, where='post', label=f'{name}  {area:.3f}', **style)
  axes.set_ylim(0, 1.03)
  return _finish(axes, 'recall', 'precision', 'average precision')


def draw_reliability(confidence_N: np.ndarray, right_N: np.ndarray, bins: int = 15) -> Figure:
  """Draws accuracy over confidence, against the diagonal of a model that is as good as it says."""
  found = reliability(confidence_N, right_N, bins=bins)
  from matplotlib.figure import Figure

  figure = Figure(figsize=(4.2, 4.8), layout='constrained')
  above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
  centre = (np.arange(bins) + 0.5) / bins
  above.bar(centre, found['accuracy'], 0.9 / bins, color=COLORS[5], label='accuracy')
  above.plot(found['confidence'], found['accuracy'], 'o', color='black', markersize=3)
  above.plot([0, 1], [0, 1], color='0.3', linestyle='--', linewidth=1, label='perfect')
  above.set(ylabel='accuracy', xlim=(0, 1), ylim=(0, 1))
  above.legend(loc='upper left')
  below.bar(centre, found['weight'], 0.9 / bins, color='0.55')
  below.set(xlabel='confidence', ylabel='examples')
  return figure


def draw_residuals(label_N: np.ndarray, prediction_N: np.ndarray) -> Figure:
  """Draws errors over predictions (structure there is what the model missed), and how often."""
  from matplotlib.figure import Figure

  label, prediction = np.asarray(label_N).ravel(), np.asarray(prediction_N).ravel()
  error = prediction - label
  figure = Figure(figsize=(6.4, 3.4), layout='constrained')
  left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
  few = len(error) <= 5_000
  if few:
    left.plot(prediction, error, '.', color=COLORS[0], alpha=0.5, markersize=4)
  else:
    left.hexbin(prediction, error, gridsize=50, bins='log', cmap='Blues', mincnt=1)
  left.axhline(0, color='black', linewidth=0.8)
  left.set(xlabel='prediction', ylabel='prediction - label')
  right.hist(error, bins=40, orientation='horizontal', color='0.55')
  right.axhline(float(error.mean()), color=COLORS[1], linestyle='--', linewidth=1)
  right.set(xlabel='examples')
  return figure


def draw_curves(
  lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  *,
  ylabel: str,
  xlabel: str = 'step',
  log: bool = False,
) -> Figure:
  """Draws lines over steps, by name: losses of several runs, or the learning rate."""
  _, axes = _figure(6.4, 3.4)
  for i, (name, (x, y)) in enumerate(lines.items()):
    axes.plot(x, y, label=name, **_style(i))
  if log:
    axes.set_yscale('log')
  return _finish(axes, xlabel, ylabel, '')


def draw_bars(
  values: Sequence[float],
  names: Sequence[str] | None = None,
  *,
  xlabel: str,
  intervals: Sequence[tuple[float, float]] | None = None,
) -> Figure:
  """Draws a bar for each class (recall, say), with its interval where one is given.

  Of more than 40 classes the 40 with the shortest bars are drawn.
  """
  heights = np.asarray(values, np.float64)
  names = _names(names, len(heights))
  if len(heights) > _BARS:
    order = np.argsort(heights, kind='stable')[:_BARS]
    heights, names = heights[order], [names[c] for c in order]
    intervals = intervals and [intervals[c] for c in order]
  figure, axes = _figure(5.0, 0.28 * len(heights) + 1.0)
  error = None
  if intervals is not None:
    low, high = np.asarray(intervals, np.float64).T
    error = np.maximum([heights - low, high - heights], 0)
  axes.barh(range(len(heights)), heights, xerr=error, color=COLORS[5], height=0.7, capsize=2)
  axes.set_yticks(range(len(heights)), names)
  axes.invert_yaxis()
  axes.set_xlabel(xlabel)
  axes.spines[['top', 'right']].set_visible(False)
  return figure


def draw_examples(
  examples: Sequence[np.ndarray | str], captions: Sequence[str], *, columns: int = 6
) -> Figure:
  """Draws examples with their captions: the worst mistakes, as images or as texts.

  Args:
    examples: Images [H, W], [H, W, 1] or [H, W, 3] (each shown from its least to its greatest
      value, unless it is uint8), or texts.
    captions: What was said and what is true, one an example.
    columns: Of images; texts stand below each other.

  Raises:
    ValueError: There is no example, or not one caption for each.
  """
  import textwrap

  from matplotlib.figure import Figure

  if not len(examples) or len(examples) != len(captions):
    raise ValueError(f'{len(captions)} captions for {len(examples)} examples: give one for each')
  if isinstance(examples[0], str):
    wrapped = [
      f'{_literal(caption)}\n{_literal(textwrap.fill(str(example)[:300], 90))}'
      for example, caption in zip(examples, captions, strict=True)
    ]
    lines = sum(text.count('\n') + 2 for text in wrapped)
    figure = Figure(figsize=(7.2, 0.19 * lines + 0.2))
    figure.text(0.01, 0.99, '\n\n'.join(wrapped), va='top', family='monospace', fontsize=8)
    return figure
  columns = min(columns, len(examples))
  rows = -(-len(examples) // columns)
  figure = Figure(figsize=(1.5 * columns, 1.9 * rows), layout='constrained')
  grid = figure.subplots(rows, columns, squeeze=False).ravel()
  for axes in grid:
    axes.axis('off')
  for axes, example, caption in zip(grid, examples, captions, strict=False):
    image = np.asarray(example)
    if image.dtype != np.uint8:
      low, high = image.min(), image.max()
      image = (image - low) / ((high - low) or 1)
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap='gray')
    axes.set_title(_literal(caption), fontsize=8)
  return figure


def _literal(text: str) -> str:
  return text.replace('$', r'\$')  # Else matplotlib reads formulas.


def _names(names: Sequence[str] | None, classes: int) -> list[str]:
  names = [str(c) for c in range(classes)] if names is None else list(names)
  if len(names) != classes:
    raise ValueError(f'names must hold {classes}, one a class, got {len(names)}')
  return names


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
  # Not pyplot, which keeps every figure in a global list and picks a window system.
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width, height), layout='constrained')
  return figure, figure.subplots()


def _style(i: int) -> dict[str, Any]:
  return {
    'color': COLORS[i % len(COLORS)],
    'linestyle': DASHES[(i + i // len(COLORS)) % len(DASHES)],
    'linewidth': 1.5,
  }


def _finish(axes: Axes, xlabel: str, ylabel: str, title: str) -> Figure:
  axes.set(xlabel=xlabel, ylabel=ylabel)
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(alpha=0.25)
  if len(axes.get_legend_handles_labels()[0]) > 0:
    axes.legend(frameon=False, fontsize=8, title=title or None, title_fontsize=8)
  figure = axes.get_figure()
  assert figure is not None
  return figure  # pyright: ignore[reportReturnType]


def _one_against_rest(label, score_NC, names):
  """Yields style, name, positives and scores, of each class of label [N] or question of [N, C]."""
  label, score_NC = np.asarray(label), np.asarray(score_NC)
  size, classes = score_NC.shape
  names = _names(names, classes)
  two = classes == 2 and label.ndim == 1
  found = []
  for c in [1] if two else range(classes):
    positive_N = label[:, c] > 0.5 if label.ndim == 2 else label == c
    if 0 < positive_N.sum() < size:
      score_N = score_NC[:, 1] - score_NC[:, 0] if two else score_NC[:, c]
      found.append((roc_auc(positive_N, score_N), names[c], positive_N, score_N))
  if len(found) > _LINES:
    found = sorted(found, key=lambda entry: entry[0])[: len(COLORS)]
  for i, (_, *rest) in enumerate(found):
    yield _style(i), *rest
