"""A forest plot: effects with their intervals, one below the other, around a line of no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bigtrain.page import Html, label, tag

if TYPE_CHECKING:
  from bigtrain.tuning.comparisons import Effect

_ROW, _LEFT, _WIDTH = 28, 300, 380


def forest(effects: Mapping[str, Effect], metric: str, higher: bool) -> Html:
  """Returns the drawing: a dot for each effect, a line for its interval, its name on the left.

  Args:
    effects: By name.
    metric: What is affected.
    higher: Whether more of it is better.
  """
  import math

  shown = {name: e for name, e in effects.items() if math.isfinite(e.mean)}
  ends = [0.0, *(end for e in shown.values() for end in (e.low, e.high))]
  low, high = min(ends), max(ends)
  margin = 0.05 * (high - low) or 1.0
  low, high = low - margin, high + margin
  bottom = _ROW * len(shown) + 10

  def across(value: float) -> float:
    return round(_LEFT + _WIDTH * (value - low) / (high - low), 1)

  zero = across(0.0)
  grey = '#c6ccd3'
  parts = [tag('path', d=f'M{zero},0V{bottom}', stroke=grey, fill='none')]
  for index, (name, effect) in enumerate(shown.items()):
    y = _ROW * index + 20
    clear = effect.low > 0 or effect.high < 0
    colour = '#0b5cad' if clear else '#59636e'
    line = f'M{across(effect.low)},{y}H{across(effect.high)}'
    parts += [
      _words(name, _LEFT - 12, y + 5, 'end'),
      tag('path', d=line, stroke=colour, fill='none', **{'stroke-width': 2}),
      tag('circle', cx=across(effect.mean), cy=y, r=4, fill=colour),
    ]
  left, right = ('\u2190 worse', 'better \u2192') if higher else ('\u2190 better', 'worse \u2192')
  parts += [
    _words('0', zero, bottom + 18, 'middle'),
    _words(left, _LEFT, bottom + 18, 'start'),
    _words(right, _LEFT + _WIDTH, bottom + 18, 'end'),
    _words(f'change of {metric}', _LEFT + _WIDTH // 2, bottom + 40, 'middle'),
  ]
  return tag('svg', *parts, viewBox=f'0 0 700 {bottom + 50}', role='img')


def _words(value: str, x: float, y: float, anchor: str) -> Html:
  return label(value, x, y, anchor, size=14, fill='#1b1f24')
