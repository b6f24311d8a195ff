"""`lm_eval`: a language model on task files, by EleutherAI's lm-eval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def lm_eval(
  experiment: Experiment,
  *,
  workdir: str = '',  # The run to evaluate.
  step: int = 0,  # Of the checkpoint; 0 is the newest.
  tasks: tuple[str, ...] = (),  # Names of tasks, as their files have them.
  include_path: str = '',  # A folder of task files; empty is lm-eval's own, which download.
  num_fewshot: int = 0,  # Solved examples before each question.
  limit: int = 0,  # Only so many items of each task; 0 is all.
  rows: int = 8,  # Texts of one call of the device.
) -> dict[str, float]:
  """Runs lm-eval's tasks, prints their metrics with intervals, and returns them by task/metric."""
  import json
  import math

  import jax
  from etils import epath

  from bigtrain import appraisal, architecture, harness, trained
  from bigtrain.data import views
  from bigtrain.iteration import Checkpoints
  from bigtrain.verdict import lines

  if not tasks:
    raise ValueError('--tasks names at least one task: write --tasks=NAME,NAME')
  if include_path and not epath.Path(include_path).is_dir():
    raise ValueError(f'--include_path={include_path} is no folder: name one that holds task files')
  model = experiment.model
  if not isinstance(model, architecture.DecoderLM):
    raise ValueError(f'lm_eval needs a DecoderLM, got a {type(model).__name__}')
  tokenizer = views.behind(experiment.data.source, 'tokenizer')
  if tokenizer is None:
    raise ValueError('the training data has no tokenizer, so no text can be judged: use data.pack')
  length = experiment.data.spec['inputs'][0][1]  # What was trained; more positions are unknown.
  variables = jax.device_put(trained.variables(experiment, workdir, step))

  def logits(variables: Any, tokens_BL: Any) -> Any:
    return model.apply(variables, tokens_BL, train=False)

  decoder = harness.language_model(harness.Scorer(logits, variables, length, rows), tokenizer)
  from lm_eval import evaluator  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
  from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

  manager = TaskManager(include_path=include_path or None, include_defaults=not include_path)
  unknown = [name for name in tasks if name not in manager.all_tasks]
  if unknown:
    known = ', '.join(sorted(manager.all_tasks)[:20]) or 'none'
    raise ValueError(f'--tasks={unknown[0]} is no task that was found; there are: {known}')
  run: Any = evaluator.simple_evaluate  # Its types leave out what a wrapper adds.
  answer = run(
    decoder, tasks=list(tasks), task_manager=manager, num_fewshot=num_fewshot or None,
    limit=limit or None, bootstrap_iters=2_000, log_samples=False,
  )  # fmt: skip
  found: dict[str, float] = {}
  for task, values in answer['results'].items():
    for name, value in values.items():
      metric, _, rest = name.partition(',')
      if not isinstance(value, (int, float)) or not rest or metric.endswith('_stderr'):
        continue
      key = f'{task}/{metric}' + ('' if rest == 'none' else f' ({rest})')
      found[key] = float(value)
      error = values.get(f'{metric}_stderr,{rest}')
      if isinstance(error, (int, float)) and math.isfinite(error):
        found |= {f'{key}_low': value - 1.96 * error, f'{key}_high': value + 1.96 * error}
  nested = appraisal.nested(found)
  place = epath.Path(appraisal.named(workdir, 'lm_eval'))
  place.mkdir(parents=True, exist_ok=True)
  checkpoints = Checkpoints(workdir)
  content = {'step': checkpoints.choose(step), 'metrics': nested}
  checkpoints.close()
  (place / 'metrics.json').write_text(json.dumps(content, indent=1) + '\n')
  print(lines(['metric', 'value'], [[k, appraisal.with_interval(found, k)] for k in nested]))
  print(f'Kept in {place / "metrics.json"}')
  return found
