"""Compiles the large experiments for the slices they are meant for, and writes tpu/TABLE.md.

  python -m tpu.table            # what is not in tpu/table.json yet, and the table
  python -m tpu.table --again    # all of it: an hour and a half on 2 CPU cores

Needs libtpu: pip install -e '.[tpu]'.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import math
import pathlib
from typing import Any

from absl import flags

from bigtrain import forecast
from bigtrain.forecast_page import RESOURCES, short

FOLDER = pathlib.Path(__file__).resolve().parent
SLICES = {
  'v5e-16': 'v5e:4x4',
  'v5e-64': 'v5e:8x8',
  'v5e-256': 'v5e:16x16',
  'v5p-128': 'v5p:4x4x4',  # 128 cores, two a chip.
  'v6e-256': 'v6e:16x16',
}
COLUMNS = ('v5e-16', 'v5e-256', 'v5p-128', 'v6e-256')


@dataclasses.dataclass(frozen=True)
class Case:
  """An experiment on a slice, or on several.

  Attributes:
    experiment: Its name.
    slice: A key of SLICES.
    rows: Examples a device; 0 leaves the experiment's own batch.
    slices: How many.
    mesh: As `--mesh`.
  """

  experiment: str
  slice: str
  rows: int = 0
  slices: int = 1
  mesh: str = ''

  @property
  def name(self) -> str:
    """The case as one word."""
    times = f'{self.slices}x' if self.slices > 1 else ''
    return f'{self.experiment} {times}{self.slice} {self.rows or "own"}'


# The experiment to be scaled: two windows of 4096 tokens a chip, whatever the number of chips.
SCALED = (
  Case('lm_8b', 'v5e-16', 2),
  Case('lm_8b', 'v5e-64', 2),
  Case('lm_8b', 'v5e-256', 2),
  Case('lm_8b', 'v5e-256', 2, 4),
)
LARGE = (
  *(Case('lm_1b', column, 4) for column in COLUMNS),
  *(Case('lm_8b', column, 4 if column == 'v5p-128' else 2) for column in COLUMNS),
  *(Case('moe_lm', column, 4, mesh='fsdp:-1,expert:8') for column in COLUMNS),
  *(Case('vit_imagenet', column) for column in COLUMNS),
)
# What matters most comes first: each takes minutes.
ORDER = (SCALED[2], LARGE[0], LARGE[6], *SCALED, *LARGE)


def compiled(case: Case) -> dict[str, Any]:
  """Compiles a case, and returns its forecast as JSON takes it."""
  from bigtrain import compute

  compute.start()
  devices = compute.topology_devices(SLICES[case.slice], case.slices)
  build = importlib.import_module(f'experiments.{case.experiment}').experiment
  made = build(batch=case.rows * len(devices)) if case.rows else build()
  return forecast.as_dict(forecast.forecast(made, case.mesh, devices))


def table(found: dict[str, dict[str, Any]]) -> str:
  """Returns tpu/TABLE.md of what was compiled."""
  lines = [
    '# The large experiments, compiled ahead of time',
    '',
    'Written by `python -m tpu.table` from the compiled programs; nothing was run. Memory is a',
    "device's at its fullest. The step time is a lower bound: the slowest of computing (the",
    "compiler's estimate, and all products at the chip's peak), memory, links and network, as if",
    'all else were hidden behind it; the MFU is the model at that bound.',
    '',
    '| experiment | slice | mesh | examples a device | memory | step, at least | limit '
    '| MFU, at most | compiled in |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
  ]
  for case in LARGE:
    if case.name in found:
      lines.append(_row(case, found[case.name]))
  lines += ['', '## `lm_8b` on more and more chips, two windows a chip', '', *_scaling(found), '']
  return '\n'.join(lines)


def _row(case: Case, one: dict[str, Any]) -> str:
  cells = [
    f'`{case.experiment}`', case.slice, one['mesh'], str(case.rows or 'own batch'),
    f'{one["peak"] / 1e9:.2f} GB' + ('' if one['fits'] else ': too much'),
    f'{one["step_seconds"]:.3g} s' if one['step_seconds'] else '-',
    RESOURCES.get(one['limit'], '-'),
    f'{one["mfu"]:.0%}' if one['mfu'] else '-', f'{one["compile_seconds"]:.0f} s',
  ]  # fmt: skip
  return f'| {" | ".join(cells)} |'


def _scaling(found: dict[str, dict[str, Any]]) -> list[str]:
  lines = [
    '| chips | memory | sent within the slice | sent across slices | step, at least | efficiency |',
    '| --- | --- | --- | --- | --- | --- |',
  ]
  first, falls = None, None
  for case in SCALED:
    one = found.get(case.name)
    if one is None:
      continue
    chips = case.slices * math.prod(map(int, SLICES[case.slice].split(':')[1].split('x')))
    sent = {
      where: sum(v[1] for k, v in one['collectives'].items() if where in k)
      for where in ('within', 'across')
    }
    if not one['step_seconds']:
      lines.append(f'| {chips} | {short(one["peak"])}: too much | - | - | - | - |')
      continue
    first = first or one['step_seconds']
    efficiency = first / one['step_seconds']
    if efficiency < 0.9 and falls is None:
      falls = chips
    lines.append(
      f'| {chips} | {short(one["peak"])} | {short(sent["within"])} | {short(sent["across"])} '
      f'| {one["step_seconds"]:.3g} s, {RESOURCES[one["limit"]]} | {efficiency:.0%} |'
    )
  below = f'first at {falls} chips' if falls else 'nowhere among the sizes compiled so far'
  return [*lines, '', f'Efficiency against the smallest slice falls below 90 % {below}.']


def main() -> None:
  """Compiles what is missing, and writes the table after each."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--again', action='store_true', help='what is known already too')
  again = parser.parse_args().again
  flags.FLAGS.mark_as_parsed()
  kept = FOLDER / 'table.json'
  found = json.loads(kept.read_text()) if kept.exists() and not again else {}
  for case in dict.fromkeys(ORDER):
    if case.name not in found:
      print(case.name, flush=True)
      try:
        found[case.name] = compiled(case)
      except ValueError as error:
        print(f'  {error}', flush=True)
        continue
      kept.write_text(json.dumps(found, indent=1) + '\n')
  (FOLDER / 'TABLE.md').write_text(table(found))


if __name__ == '__main__':
  main()
