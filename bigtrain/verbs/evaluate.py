"""`evaluate`: every metric of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def evaluate(
  experiment: Experiment,
  *,
  workdir: str = '',  # The run to evaluate.
  step: int = 0,  # Of the checkpoint; 0 is the newest.
  only: tuple[str, ...] = (),  # Evaluations to make, such as held_out; empty is all.
  mesh: str = '',  # Devices by axis, such as data:2,fsdp:-1; empty is all on fsdp.
) -> dict[str, dict[str, float]]:
  """Prints every metric of a checkpoint, and returns them by evaluation."""
  import jax

  from bigtrain.checks import check_evals
  from bigtrain.evaluation import note_test
  from bigtrain.iteration import Checkpoints
  from bigtrain.journal import table
  from bigtrain.program import Program
  from bigtrain.provenance import revision

  unknown = [name for name in only if name not in experiment.evals]
  if unknown:
    known = ', '.join(experiment.evals)
    raise ValueError(f'--only={unknown[0]} is no evaluation of this experiment: it has {known}')
  checkpoints = Checkpoints(workdir)
  step = checkpoints.choose(step)
  program = Program(experiment, mesh)
  check_evals(program, only or experiment.evals)
  state, _ = checkpoints.restore(step, program.shapes)
  results = {name: program.evaluate(name, state) for name in only or experiment.evals}
  if jax.process_index() == 0:
    git = revision(__file__) or {}
    for name in results:
      others = note_test(workdir, name, verb='evaluate', step=step, revision=git.get('revision'))
      if others:
        print(
          f'Note: {name} was looked at at {others} other steps of this run (audit.jsonl): choosing '
          'between them by it makes it a held-out split'
        )
    print(f'Step {step} of {workdir}')
    print(table(results))
  return results
