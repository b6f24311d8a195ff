"""What a run recorded, as a model card tells it."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Any

import jax
from etils import epath

from bigtrain import record
from bigtrain.evaluation import looks
from bigtrain.iteration import Card
from bigtrain.json_lines import entries
from bigtrain.kinds import text
from bigtrain.workdirs import Workdir

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def card(
  experiment: Experiment, workdir: str, step: int, variables: Any, use: str, library: str = ''
) -> Card:
  """Returns the card of a checkpoint.

  Args:
    experiment: What the run in the workdir trained.
    workdir: The run; one without a record (trained by a program) tells less.
    step: Of the checkpoint.
    variables: Of the model: arrays, or shapes and types.
    use: How to run it, Markdown.
    library: That loads it, as in `Card`.
  """
  found = record.read(workdir)
  name, about, flags = 'model', '', ''
  training: dict[str, Any] = {'steps': step, 'examples a step': experiment.data.batch}
  if found is not None:
    run = Workdir(workdir).read()
    name = found['experiment']
    flags = '\n'.join(f'--{knob}={text(value)}' for knob, value in found['knobs'].items())
    about = ast.get_docstring(ast.parse(run.source)) or '' if run.source else ''
    start = run.starts[-1] if run.starts else {}
    git = (start.get('git') or {}).get('experiment') or {}
    training |= {
      'minutes of wall time, over all starts': run.seconds / 60,
      'starts': len(run.starts),
      'begun at': run.starts[0]['at'] if run.starts else '',
      'git revision': f'{git["revision"]}{", with changes" if git["changed"] else ""}'
      if git
      else '',
      'packages': ', '.join(
        f'{each} {start["packages"][each]}'
        for each in ('jax', 'flax', 'optax')
        if each in start.get('packages', {})
      ),
    }
    if run.lineage.get('from'):
      begun = [f'{node["workdir"]} at step {node["step"]}' for node in run.lineage['from']]
      training['begun with the parameters of'] = ', '.join(begun)
  arrays = jax.tree.leaves(variables['params'])
  model = {
    'kind': type(experiment.model).__name__,
    'parameters': sum(math.prod(x.shape) for x in arrays),
    'types': ', '.join(sorted({str(x.dtype) for x in arrays})),
  }
  streams = {'training': experiment.data, **{n: e.data for n, e in experiment.evals.items()}}
  data = {
    stream: {'records': batches.size, **getattr(batches.source, 'about', {})}
    for stream, batches in streams.items()
  }
  return Card(
    name=name,
    about=about.split('\n\n')[0],
    model=model,
    use=use,
    results=_results(experiment, workdir, step),
    data=data,
    training={key: value for key, value in training.items() if value != ''},
    flags=flags,
    library=library,
    notes=_notes(experiment, workdir, step),
  )


def _results(experiment: Experiment, workdir: str, step: int) -> dict[str, dict[str, float]]:
  """Returns what the journal has for this step, by evaluation."""
  results: dict[str, dict[str, float]] = {name: {} for name in experiment.evals}
  path = epath.Path(workdir) / 'metrics.jsonl'
  for row in entries(path.read_text() if path.exists() else ''):
    for key, value in row.items() if row['step'] == step else ():
      name, _, metric = key.partition('/')
      if name in results and metric:
        results[name][metric] = value
  return {name: metrics for name, metrics in results.items() if metrics}


def _notes(experiment: Experiment, workdir: str, step: int) -> list[str]:
  notes = []
  if step < experiment.steps:
    notes.append(
      f'Training was to take {experiment.steps:,} steps: this is the model after {step:,}.'
    )
  others = {look['step'] for look in looks(workdir)} - {step}
  if others:
    notes.append(
      f'A test split was looked at at {len(others)} other steps of this run: its figure is no '
      'longer that of a test.'
    )
  if experiment.ema:
    notes.append(f'The parameters are averages over training, of decay {experiment.ema}.')
  return notes
