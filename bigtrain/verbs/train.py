"""`train`: trains, or goes on exactly where the workdir stands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment
  from bigtrain.record import Record


def prepare() -> None:
  """Starts JAX as the backend wants it, before the experiment can touch a device."""
  from bigtrain import compute

  compute.start()


def train(
  experiment: Experiment,
  *,
  workdir: str = '',  # Where the run is kept.
  init: str = '',  # A run to take parameters of, as WORKDIR or WORKDIR@STEP; empty starts afresh.
  init_keep: str = '',  # Pattern of paths of parameters that stay as initialised, such as head/.*
  init_rename: tuple[str, ...] = (),  # PATTERN=>PATH: what --init's run calls what matches.
  mesh: str = '',  # Devices by axis, such as data:2,fsdp:-1; empty is all on fsdp.
  log_every: int = 50,  # Steps between entries of the journal.
  save_every: int = 0,  # Steps between checkpoints; 0 is about three minutes. The end always saves.
  check_parameters: bool = False,  # Compares the copies on all devices and hosts at each save.
  hang_after: float = 1800.0,  # Seconds a batch or device may take; twice that ends it. 0: ever.
  leaks: Literal['warn', 'refuse', 'off'] = 'warn',  # Of records both trained on and evaluated.
  norms: bool = False,  # The journal has each layer's norms of gradients, updates and parameters.
  noise_scale: int = 0,  # Steps between measurements of the gradient noise scale; 0 is never.
  profile: str = '',  # STEP:COUNT traces so many steps of this start, for XProf or Perfetto.
  progress: Literal['auto', 'off'] = 'auto',  # The live line on a terminal, log lines elsewhere.
  trackers: tuple[str, ...] = ('tensorboard',),  # Also wandb, mlflow and trackio, if installed.
  record: Record | None = None,
) -> None:
  """Trains, evaluates on the way and at the end, and leaves a run in the workdir."""
  import dataclasses

  import jax
  from absl import logging

  from bigtrain import architecture, compute, lineage
  from bigtrain.attempts import attempt
  from bigtrain.checks import check_save_every
  from bigtrain.goodput import line
  from bigtrain.gradient_noise import noise_said
  from bigtrain.journal import table
  from bigtrain.next_steps import next_commands
  from bigtrain.trackers import check

  if log_every < 1:
    raise ValueError(f'--log_every counts steps and must be at least 1, got {log_every}')
  check_save_every(save_every)
  if hang_after < 0:
    raise ValueError(f'--hang_after counts seconds, or is 0 for never, got {hang_after}')
  check(trackers)
  if init:
    experiment = lineage.forked(experiment, workdir, init, keep=init_keep, rename=init_rename)
  elif init_keep or init_rename:
    raise ValueError('--init_keep and --init_rename are rules for --init: name a run there')
  experiment = dataclasses.replace(
    experiment,
    norms=norms or experiment.norms,
    noise_scale=noise_scale or experiment.noise_scale,
  )
  program, run = attempt(
    experiment,
    workdir,
    record,
    mesh=mesh,
    log_every=log_every,
    save_every=save_every,
    hang_after=hang_after,
    leaks=leaks,
    profile=profile,
    progress=progress == 'auto',
    trackers=trackers,
    check_parameters=check_parameters,
  )
  if jax.process_index() == 0:
    spent = program.goodput.read()
    if spent['steps']:
      logging.info('%s%s', line(spent), compute.memory_said())
    if run.stopped:
      again = f': {record.command}' if record else ''
      print(f'Stopped at step {run.step} and saved. The same command goes on from there{again}')
    else:
      early = f' of {experiment.steps}, out of patience' if run.step < experiment.steps else ''
      print(f'Done at step {run.step}{early}: {workdir}')
      print(table(run.results))
      if experiment.noise_scale and (said := noise_said(workdir, experiment.data.batch)):
        print(said)
      if record is not None:
        writes = isinstance(experiment.model, architecture.DecoderLM)
        print('\n'.join(['Next:', *next_commands(record, run.results, writes=writes)]))
  if run.stopped:
    sys.exit(run.stopped)
