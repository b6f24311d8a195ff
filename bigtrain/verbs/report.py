"""`report`: one self-contained HTML page of a run, or of many side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def report(
  experiment: Experiment,
  *,
  workdir: str = '',  # The run.
  against: tuple[str, ...] = (),  # Workdirs of others, or a folder of runs, to set beside it.
  out: str = '',  # The page; empty is report.html in the run.
) -> str:
  """Writes an HTML page of a run: knobs, metrics with intervals, curves, cost; beside others."""
  from etils import epath

  from bigtrain import record
  from bigtrain.comparison import read_run, sections
  from bigtrain.page import page

  del experiment
  path = epath.Path(out or f'{workdir}/report.html')
  if path.is_dir():
    raise ValueError(f'--out={out} is a folder: name a file, such as {path / "report.html"}')
  places = [workdir]
  for place in against:
    if record.read(place) is None and epath.Path(place).is_dir():
      places += [
        str(run) for run in sorted(epath.Path(place).iterdir()) if (run / record.RECORD).exists()
      ]
    else:
      places.append(place)
  runs = [read_run(place) for place in dict.fromkeys(places)]
  title = runs[0].name if len(runs) == 1 else f'{runs[0].name} and {len(runs) - 1} more'
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(page(title, sections(runs), 'A report of runs.').encode('utf-8', 'replace'))
  print(f'The page: {path}')
  return str(path)
