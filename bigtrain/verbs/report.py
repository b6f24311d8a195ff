"""`report`: one self-contained HTML page of a run, of many side by side, or of a folder of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from collections.abc import Sequence

  from bigtrain.workdirs import Kept


def report(
  *,
  workdir: str = '',  # A run, or a folder of runs: these make a gallery.
  against: tuple[str, ...] = (),  # Workdirs of others, or a folder of runs, to set beside it.
  out: str = '',  # The page; empty is report.html in the workdir.
  serve: bool = False,  # Shows the page at an address instead, and follows runs that go on.
  host: str = '127.0.0.1',  # Where to serve; another host's address lets others in.
  port: int = 8000,  # Where to serve; 0 is a free one.
) -> str:
  """Writes an HTML page of runs: what differs, metrics with intervals, curves, pictures, cost."""
  import os

  from etils import epath

  from bigtrain import comparison, gallery, record
  from bigtrain.folders import out_file
  from bigtrain.page import page
  from bigtrain.workdirs import Shelf

  if not 0 <= port < 2**16:
    raise ValueError(f'--port must lie in 0 to 65535, got {port}: use 8000, or 0 for a free one')
  many = not against and record.read(workdir) is None
  shelf = Shelf([workdir, *against])
  runs = shelf.read()
  title = runs[0].name if len(runs) == 1 else f'{runs[0].name} and {len(runs) - 1} more'
  path = out_file(out or f'{workdir}/report.html', 'report.html')

  def draw(runs: Sequence[Kept]) -> dict[str, Any]:
    if not many:
      return comparison.sections(runs)
    above = workdir if serve else path.parent
    pages = {str(run.folder): run.folder / 'report.html' for run in runs}
    return gallery.sections(runs, {run: os.path.relpath(own, above) for run, own in pages.items()})

  def write(path: epath.Path, title: str, sections: dict[str, Any], script: str = '') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = page(title, sections, 'A report of runs.', script=script)
    path.write_bytes(whole.encode('utf-8', 'replace'))

  if many:
    title = epath.Path(workdir).name
  script = gallery.SCRIPT if many else ''
  if serve:
    from bigtrain.serving import Live, serve_pages

    first = Live(title, shelf, draw, script)
    return serve_pages(first, host, port, beside=workdir if many else None)
  for run in runs if many else ():
    write(run.folder / 'report.html', run.name, comparison.sections([run]))
  write(path, title, draw(runs), script)
  print(f'The page: {path}')
  return str(path)
