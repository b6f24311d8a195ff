"""A forecast as lines of plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from bigtrain.forecast import Forecast

RESOURCES = {
  'matrix_units': 'matrix units at their peak',
  'compiler': "computing, by the compiler's estimate",
  'memory': 'main memory',
  'links': 'links within a slice',
  'network': 'network across slices',
}


def short(number: float, unit: str = 'B') -> str:
  """Returns 1.23 GB for 1_234_567_890; the powers are of 1000."""
  power = min(int(math.log10(max(number, 1))) // 3, 6)
  return f'{number / 1000**power:.3g} {" kMGTPE"[power].strip()}{unit}'


def lines(tried: Sequence[Forecast]) -> list[str]:
  """Returns the page: the best in full, and where several were tried, a line for each."""
  best = tried[0]
  return [*_one(best), *(_many(tried) if len(tried) > 1 else [])]


def verdict(found: Forecast) -> str:
  """Says whether it fits, in one sentence."""
  if found.capacity is None:
    return f'{short(found.peak)} a device; what this device holds is not known'
  word = 'fits' if found.fits else 'does NOT fit'
  return f'{word}: {short(found.peak)} of {short(found.capacity)} a device'


def knobs(found: Forecast) -> str:
  """Returns mesh and settings as one word each."""
  return '  '.join([f'mesh={found.mesh}', *(f'{k}={v}' for k, v in found.settings.items())])


def _one(found: Forecast) -> list[str]:
  from bigtrain.forecast import advice

  rows = [
    ('devices', found.devices),
    ('settings', knobs(found)),
    ('memory', verdict(found)),
    *((f'  {name}', short(size)) for name, size in found.held.items()),
    *((f'  {short(size)}', f'{shape}  {source}') for size, shape, source in found.buffers),
    ('parameters', f'{found.parameters:,}'),
    ('FLOPs a step', f'{short(found.model_flops, "FLOP")} of the model, '
                     f'{short(found.flops, "FLOP")} with what is computed again'),
  ]  # fmt: skip
  if found.fits is not False:
    rows += [('memory traffic', f'{short(found.memory)} a device')]
    rows += [
      (f'  {kind}', f'{count:.0f} times, {short(sent)} a device')
      for kind, (count, sent) in sorted(found.collectives.items())
    ]
  if found.step_seconds:
    rows += [
      ('step, at least', f'{found.step_seconds:.3g} s: {RESOURCES[found.limit]}'),
      *((f'  {RESOURCES[name]}', f'{each:.3g} s') for name, each in found.seconds.items() if each),
      ('MFU, at most', f'{found.mfu:.1%}'),
    ]
  if found.compile_seconds:
    rows += [('compiled in', f'{found.compile_seconds:.0f} s of processor time')]
  rows += [('to change' if i == 0 else '', said) for i, said in enumerate(advice(found))]
  left = max(len(name) for name, _ in rows)
  return [f'{name.ljust(left)}  {value}' for name, value in rows]


def _many(tried: Sequence[Forecast]) -> list[str]:
  rows = [('', 'memory', 'step', 'MFU', 'limit')]
  rows += [
    (
      knobs(one),
      short(one.peak) if one.fits is not False else f'{short(one.peak)}: too much',
      f'{one.step_seconds:.3g} s' if one.step_seconds else '-',
      f'{one.mfu:.1%}' if one.mfu else '-',
      one.limit or '-',
    )
    for one in tried
  ]
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  table = ['  '.join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
  return ['', f'Tried {len(tried)}, the best first:', *table, why(tried)]


def why(tried: Sequence[Forecast]) -> str:
  """Says why the first of several was chosen."""
  best, others = tried[0], tried[1:]
  if best.fits is False:
    return 'None fits: give the search more tries, or take more devices.'
  slower = [one for one in others if one.mfu and best.mfu and one.mfu < best.mfu]
  too_big = [one for one in others if one.fits is False]
  said = [f'{len(too_big)} do not fit'] * bool(too_big)
  if slower and best.mfu and slower[0].mfu:
    saved = max(slower[0].seconds, key=lambda k: slower[0].seconds[k] - best.seconds[k])
    said.append(
      f'the next best has {slower[0].mfu:.1%} for {best.mfu:.1%}, and takes longest over '
      f'{RESOURCES[slower[0].limit]}; the best spends less on {RESOURCES[saved]}'
    )
  return f'Chosen because {"; ".join(said) or "nothing else is faster"}.'
