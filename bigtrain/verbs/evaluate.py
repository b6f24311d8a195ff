"""`evaluate`: every metric of a checkpoint, with intervals, slices and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def evaluate(
  experiment: Experiment,
  *,
  workdir: str = '',  # The run to evaluate.
  step: int = 0,  # Of the checkpoint; 0 is the newest.
  only: tuple[str, ...] = (),  # Evaluations to make, such as held_out; empty is all.
  slice: str = '',  # Key of the records, such as label: each of its values is reported apart.
  cluster: str = '',  # Key of what records share, such as a speaker: intervals are over those.
  temperature: str = '',  # Evaluation to fit softmax's temperature on, such as held_out.
  leaks: Literal['warn', 'refuse', 'off'] = 'warn',  # Of records both trained on and evaluated.
  pictures: bool = True,  # Whether to draw, into evaluation/NAME of the workdir.
  mesh: str = '',  # Devices by axis, such as data:2,fsdp:-1; empty is all on fsdp.
) -> dict[str, dict[str, float]]:
  """Prints every metric of a checkpoint with its interval, and returns them by evaluation."""
  import dataclasses

  import jax

  from bigtrain import appraisal, evaluation
  from bigtrain.checks import check_evals
  from bigtrain.iteration import Checkpoints
  from bigtrain.journal import table
  from bigtrain.leaks import check_leaks
  from bigtrain.program import Program
  from bigtrain.provenance import revision
  from bigtrain.trackers import send_pictures
  from bigtrain.verdict import lines

  for flag, names in (('only', only), ('temperature', (temperature,) if temperature else ())):
    for name in names:
      if name not in experiment.evals:
        known = ', '.join(experiment.evals)
        raise ValueError(f'--{flag}={name} is no evaluation of this experiment: it has {known}')
  if temperature:
    evaluation.check_split(temperature, '--temperature')
  checkpoints = Checkpoints(workdir)
  step = checkpoints.choose(step)
  names = list(only or experiment.evals)
  made = [*names, *([temperature] if temperature and temperature not in names else [])]
  experiment = dataclasses.replace(
    experiment, evals={name: experiment.evals[name] for name in made}
  )
  program = Program(experiment, mesh)
  check_evals(program, made)
  check_leaks(experiment, leaks)
  state, _ = checkpoints.restore(step, program.shapes)
  found = {name: appraisal.appraise(program, name, state, cluster) for name in made}
  slices = {name: appraisal.by_slice(found[name], slice) if slice else {} for name in names}
  if temperature:
    logits = found[temperature].told.table.get('log_probability')
    if logits is None:
      raise ValueError(
        f'--temperature={temperature} scales the logits of classes, and its evaluator keeps none: '
        'give that Eval an evaluator such as evaluation.Classification()'
      )
    fitted = evaluation.fit_temperature(logits, found[temperature].told.table['label'])
    for name in names:
      if 'log_probability' in found[name].told.table:
        found[name].metrics.update({'temperature': fitted, **appraisal.scaled(found[name], fitted)})
  results = {name: found[name].metrics for name in names}
  if jax.process_index():
    return results
  git = revision(__file__) or {}
  for name in names:
    others = evaluation.note_test(
      workdir, name, verb='evaluate', step=step, revision=git.get('revision')
    )
    if others:
      print(
        f'Note: {name} was looked at at {others} other steps of this run (audit.jsonl): choosing '
        'between them by it makes it a held-out split'
      )
  print(f'Step {step} of {workdir}, intervals of 95 %')
  print(table(results))
  if temperature:
    print(
      f'Temperature {fitted:.4g}, fitted on {temperature}: what is scaled_ is after it; on '
      f'{temperature} itself it flatters'
    )
  for name, own in slices.items():
    if own:
      lowest = appraisal.worst_slice(own)
      metric = lowest[1] if lowest else 'loss'
      rows = [
        [value, f'{metrics["examples"]:.0f}', appraisal.with_interval(metrics, metric)]
        for value, metrics in own.items()
      ]
      print(f'\n{name} by {slice}\n{lines([slice, "examples", metric], rows)}')
      if lowest:
        print(f'The worst, of those with 10 examples or more: {slice}={lowest[0]}')
  if pictures:
    for name in names:
      place = appraisal.named(workdir, name)
      drawn = appraisal.write(place, found[name], step, slice, slices[name])
      print(f'{place}: {", ".join(["metrics.json", *(f"{p}.png" for p in drawn)])}')
    send_pictures(workdir)
  return results
