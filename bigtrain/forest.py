"""A forest plot: effects with their intervals, one below the other, around a line of no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bigtrain.page import Html, plain, tag

if TYPE_CHECKING:
  from bigtrain.tuning.comparisons import Effect

_ROW, _LEFT, _WIDTH = 28, 300, 380


def forest(effects: Mapping[str, Effect], unit: str) -> Html:
  """Returns the drawing: a dot for each effect, a line for its interval, its name on the left."""
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
  parts += [
    _words(plain(low), _LEFT, bottom + 20, 'start'),
    _words(unit, _LEFT + _WIDTH // 2, bottom + 20, 'middle'),
    _words(plain(high), _LEFT + _WIDTH, bottom + 20, 'end'),
  ]
  return tag('svg', *parts, viewBox=f'0 0 700 {bottom + 30}', role='img')


def _words(value: str, x: float, y: float, anchor: str) -> Html:
  place = {'x': x, 'y': y, 'text-anchor': anchor, 'font-size': 14, 'fill': '#1b1f24'}
  return tag('text', value, **place)
