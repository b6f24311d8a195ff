"""`export`: a trained model for other programs, with a card that says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


_MARKER = 'export.json'  # Tells an export from other folders, and says what it holds.


def export(
  experiment: Experiment,
  *,
  to: Literal['hugging_face', 'stablehlo'] = 'hugging_face',  # What is to read it.
  workdir: str = '',  # The run whose model is exported.
  step: int = 0,  # Of the checkpoint; 0 is the newest.
  out: str = '',  # A new folder; empty is WORKDIR/export-TO.
  overwrite: bool = False,  # Replace a folder that an earlier export made.
  platforms: tuple[str, ...] = ('cpu', 'cuda', 'tpu'),  # Of stablehlo: where it is to run.
  examples: int = 0,  # Of stablehlo: examples at a time; 0 is any number.
  weights: Literal['beside', 'inside'] = 'beside',  # Of stablehlo: an argument, or constants.
) -> str:
  """Writes a trained model for Hugging Face's libraries, or as StableHLO, with a model card."""
  import dataclasses
  import json

  import jax

  from bigtrain import architecture, iteration, trained
  from bigtrain.card import card
  from bigtrain.folders import replacing
  from bigtrain.forward import forward

  folder = out or f'{workdir}/export-{to}'
  model, own = trained.alone(experiment.model)
  with replacing(folder, marker=_MARKER, overwrite=overwrite) as part:
    about: dict[str, Any] = {'to': to}
    if to == 'hugging_face':
      try:
        kind, family = architecture.family_of(model)
      except ValueError as error:
        raise ValueError(f'{error}. --to=stablehlo takes any model') from None
      step, variables = _read(experiment, workdir, step)
      variables = own(variables)
      tokenizer, files = _tokenizer(experiment)
      config = family.to_config(model)
      if tokenizer is not None:
        config['eos_token_id'] = tokenizer.end
      names = family.names(model)
      iteration.export_hugging_face(str(part), names, variables, config)
      for name, content in files.items():
        (part / name).write_bytes(content)
      use, library = _transformers(config['architectures'][0], bool(files)), 'transformers'
      about['model_type'] = kind
    else:
      called = forward(dataclasses.replace(experiment, model=model))
      step, variables = _read(experiment, workdir, step)
      variables = own(variables)
      outputs = iteration.export_stablehlo(
        str(part), called.function, variables, called.inputs,
        platforms=platforms, batch=examples, weights=weights,
      )  # fmt: skip
      about |= {
        'platforms': list(platforms),
        'inputs': {n: _shape(x, examples) for n, x in called.inputs.items()},
        'outputs': jax.tree.map(lambda x: f'{x.dtype}{list(x.shape)}', outputs),
      }
      use, library = _jax(about['inputs'], weights), ''
    text = card(experiment, workdir, step, variables, use, library).text()
    (part / 'README.md').write_text(text, encoding='utf-8')
    (part / _MARKER).write_text(json.dumps({**about, 'step': step}, indent=2) + '\n')
  print(f'Step {step} of {workdir}: {folder}')
  return folder


def _read(experiment: Experiment, workdir: str, step: int) -> tuple[int, dict[str, Any]]:
  from bigtrain import iteration, trained

  step = iteration.Checkpoints(workdir).choose(step)
  return step, trained.variables(experiment, workdir, step)


def _tokenizer(experiment: Experiment) -> tuple[Any, dict[str, bytes]]:
  """Returns the tokenizer of the training data and its files; None and none where there is none."""
  from bigtrain import data

  tokenizer = getattr(experiment.data.source, 'tokenizer', None)
  return tokenizer, {} if tokenizer is None else data.tokenizer_files(tokenizer)


def _shape(x: Any, batch: int) -> str:
  return f'{x.dtype}[{", ".join(map(str, (batch or "batch", *x.shape[1:])))}]'


def _transformers(kind: str, text: bool) -> str:
  lines = ['```python', f'from transformers import {"AutoTokenizer, " * text}{kind}', '']
  lines += [f"model = {kind}.from_pretrained('.')  # This folder.", '```']
  if text:
    lines[-1:-1] = [
      "tokenizer = AutoTokenizer.from_pretrained('.')",
      "tokens = tokenizer('A text', return_tensors='pt')",
      'logits = model(**tokens).logits',
    ]
  return '\n'.join(lines)


def _jax(inputs: dict[str, str], weights: str) -> str:
  beside = weights == 'beside'
  first = "load_file('weights.safetensors'), " * beside
  given = ', '.join(f'{name!r}: {name}' for name in inputs)
  lines = [
    f'Inputs: {", ".join(f"`{name}` {shape}" for name, shape in inputs.items())}. It needs jax,',
    f'flatbuffers{", safetensors" * beside} and no code of the model:',
    '',
    '```python',
    'from jax import export',
    *['from safetensors.numpy import load_file'] * beside,
    '',
    "model = export.deserialize(bytearray(open('model.jax_export', 'rb').read()))",
    f'outputs = model.call({first}{{{given}}})',
    '```',
    '',
    '`model.mlir` is the same for one batch size, as StableHLO text, for other compilers.',
  ]
  return '\n'.join(lines)
