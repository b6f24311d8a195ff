"""`inspect`: what goes in and what is built, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def inspect(
  experiment: Experiment,
  *,
  workdir: str | None = None,  # A run, to be shown with its knobs; or where one is to be.
  out: str = '',  # The page; empty is inspect.html in the run, else beside the workdir, else here.
  mesh: str = '',  # Devices by axis, such as data:2,fsdp:-1; empty is all on fsdp.
) -> str:
  """Shows data, model and cost as an HTML page, before anything is trained."""
  import jax

  from bigtrain import record
  from bigtrain.datasheet import Stream, data_sections
  from bigtrain.folders import out_file
  from bigtrain.model_summary import facts, model_sections
  from bigtrain.page import page, plain
  from bigtrain.program import Program

  if not out and workdir is not None:
    # In a folder that is no run yet, `train` would take the page for somebody's work.
    run = record.read(workdir) is not None
    out = f'{workdir}/inspect.html' if run else f'{workdir.rstrip("/")}.inspect.html'
  path = out_file(out or 'inspect.html', 'inspect.html')
  program = Program(experiment, mesh)
  if jax.process_index() > 0:
    return str(path)
  parts = {'training': experiment.data, **{k: e.data for k, e in experiment.evals.items()}}
  streams = {name: Stream.of(batches) for name, batches in parts.items()}
  found = facts(program)
  title = f'{found["model"]} on {streams["training"].about.get("name", "data")}'
  sections = {**data_sections(streams), **model_sections(program, found)}
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(page(title, sections, 'Before training.').encode('utf-8', 'replace'))
  lines = {
    **{
      name: f'{stream.batches.size:,} records, {stream.batches.batch} a batch: {stream.holds()}'
      for name, stream in streams.items()
    },
    **found,
  }
  left = max(map(len, lines))
  for name, value in lines.items():
    print(f'{name.ljust(left)}  {plain(value)}')
  print(f'\nThe page: {path}')
  return str(path)
