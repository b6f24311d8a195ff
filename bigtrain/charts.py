"""Lines over a pair of axes, as a drawing inside a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigtrain.page import Html, join, label, tag

# Of Okabe and Ito, which colour-blind people tell apart; each with a dash of its own, for grey.
_LINES = (
  ('#0072B2', ''), ('#D55E00', '7 3'), ('#009E73', '2 3'), ('#CC79A7', '9 3 2 3'),
  ('#E69F00', '4 2'), ('#56B4E9', '12 4'), ('#000000', '1 4'),
)  # fmt: skip
_LEFT, _TOP, _WIDTH, _HEIGHT = 84, 10, 400, 180  # Of the field between the axes.
_BOTTOM, _END = _TOP + _HEIGHT, _LEFT + _WIDTH


def curves(
  lines: Mapping[str, tuple[Any, Any]], *, xlabel: str = 'step', zero: bool = False
) -> Html:
  """Returns lines by name, each of (ascending x, y), with a legend where there are several.

  Args:
    lines: Of as many x as y, and at least one.
    xlabel: Under the axis.
    zero: Whether y begins at 0, or below. Otherwise the y axis leaves out the outer 1 % of values:
      a first, huge loss would flatten the rest.

  Raises:
    ValueError: A line has no points, or not as many x as y.
  """
  pairs = {name: (np.asarray(x, float), np.asarray(y, float)) for name, (x, y) in lines.items()}
  for name, (x, y) in pairs.items():
    if not len(x) or len(x) != len(y):
      raise ValueError(
        f'a curve takes as many x as y and at least 1, got {len(x)} and {len(y)} for {name!r}'
      )
  xs, ys = (np.concatenate([pair[i] for pair in pairs.values()]) for i in (0, 1))
  x0, x1 = xs.min(), xs.max()
  low, high = (min(0.0, ys.min()), ys.max()) if zero else np.quantile(ys, [0.01, 0.99])
  drawn, legend = [], []
  for i, (name, (x, y)) in enumerate(pairs.items()):
    a = _LEFT + _WIDTH * (x - x0) / ((x1 - x0) or 1)
    b = _TOP + _HEIGHT * np.clip((high - y) / ((high - low) or 1), 0, 1)
    color, dash = _LINES[i % len(_LINES)]
    look = {'fill': 'none', 'stroke': color, 'stroke-width': 1.5, 'stroke-dasharray': dash}
    path = ' '.join(f'{p:.1f},{q:.1f}' for p, q in zip(a, b, strict=True))
    drawn.append(tag('polyline', tag('title', name), points=path, **look))
    key = tag('line', x1=0, y1=6, x2=34, y2=6, **look)
    key = tag('svg', key, viewBox='0 0 34 12', style='width:34px;height:12px')
    legend.append(tag('span', key, ' ', name, style='margin-right:1rem;white-space:nowrap'))
  marks = []
  for value in ticks(low, high):
    y = round(_TOP + _HEIGHT * (high - value) / ((high - low) or 1), 1)
    marks.append(tag('path', d=f'M{_LEFT},{y}H{_END}', stroke='#eceff2'))
    marks.append(_words(value, _LEFT - 8, y + 5, 'end'))
  for value in ticks(x0, x1):
    x = round(_LEFT + _WIDTH * (value - x0) / ((x1 - x0) or 1), 1)
    marks.append(tag('path', d=f'M{x},{_BOTTOM}v4', stroke='#c6ccd3'))
    marks.append(_words(value, x, _BOTTOM + 20, 'middle'))
  drawing = tag(
    'svg',
    *marks,
    tag('path', d=f'M{_LEFT},{_TOP}V{_BOTTOM}H{_END}', fill='none', stroke='#c6ccd3'),
    *drawn,
    _words(xlabel, _LEFT + _WIDTH // 2, _BOTTOM + 40, 'middle'),
    viewBox=f'0 0 {_END + 28} {_BOTTOM + 46}',
    role='img',
  )
  return join([drawing, *([tag('p', *legend, class_='note')] if len(pairs) > 1 else [])])


def ticks(low: float, high: float, most: int = 5) -> list[float]:
  """Returns round numbers between two: multiples of 1, 2 or 5 times a power of 10.

  >>> ticks(0.13, 0.92)
  [0.2, 0.4, 0.6, 0.8]
  >>> ticks(3, 3)
  [3.0]
  """
  rough = (high - low) / most
  if not rough > 0:
    return [float(low)]
  power = 10.0 ** math.floor(math.log10(rough))
  step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
  first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
  return [float(f'{step * k:.12g}') for k in range(first, last + 1)]


def _words(value: Any, x: float, y: float, anchor: str) -> Html:
  whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e9
  return label(int(value) if whole else value, x, y, anchor, size=15, fill='#59636e')
