"""One attempt at a run: what is checked before it, and what is written down of it.

The command line and a notebook train through this, so that a workdir is the same of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from etils import epath

from bigtrain import agreement, compute, out_of_memory
from bigtrain.checks import check_evals, check_space, check_training
from bigtrain.evaluation import looks, note_test
from bigtrain.leaks import check_leaks
from bigtrain.program import Program
from bigtrain.provenance import revision
from bigtrain.train import Run, fit

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment
  from bigtrain.record import Record


def attempt(
  experiment: Experiment,
  workdir: str,
  record: Record | None = None,
  *,
  mesh: str = '',
  leaks: str = 'warn',
  profile: str = '',
  **loop: Any,
) -> tuple[Program, Run]:
  """Trains to the end or to a stop, and notes who looked at a test split.

  Args:
    experiment: What is trained.
    workdir: Where the run is kept.
    record: What is written of this start, before anything else; None writes nothing of it.
    mesh: Devices by axis, such as 'data:2,fsdp:-1'; empty is all on fsdp.
    leaks: As for `check_leaks`.
    profile: As for `compute.Profile`.
    **loop: As for `fit`.

  Raises:
    ValueError: Something does not fit, and nothing was written; or memory ran out on the way.
  """
  if jax.process_count() > 1:  # Hashing all code takes a while, and alone there is none to differ.
    compute.agree(agreement.facts(experiment, record))
  traced = compute.Profile(profile, workdir)
  program = Program(experiment, mesh)
  program.profile = traced
  check_training(program)
  check_evals(program, experiment.evals)
  check_space(program, workdir)
  check_leaks(experiment, leaks)
  if record is not None and jax.process_index() == 0:
    record.write()
    source = getattr(experiment.data, 'source', None)
    for name, content in getattr(source, 'files', {}).items():
      (epath.Path(workdir) / name).write_bytes(content)
  try:
    run = fit(program, workdir, **loop)
  except jax.errors.JaxRuntimeError as error:
    said = out_of_memory.sentence(error, program, record.knobs if record else ())
    if said is None:
      raise
    raise ValueError(said) from error
  traced.close()
  if jax.process_index() == 0 and not run.stopped:
    git = revision(__file__) or {}
    noted = {look['evaluation'] for look in looks(workdir) if look['step'] == run.step}
    for name in set(run.results) - noted:  # The same command again shows the same look.
      note_test(workdir, name, verb='train', step=run.step, revision=git.get('revision'))
  return program, run
