"""`generate`: text from a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigtrain.verbs.train import prepare as prepare

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def generate(
  experiment: Experiment,
  *,
  workdir: str = '',  # The run whose model writes.
  step: int = 0,  # Of the checkpoint; 0 is the newest.
  prompt: str = '',  # How the text begins.
  tokens: int = 200,  # To write at most.
  temperature: float = 0.8,  # 0 always takes the likeliest token.
  top_k: int = 0,  # Only so many of the likeliest tokens; 0 is all.
  top_p: float = 1.0,  # Only the likeliest tokens that have this probability together.
  min_p: float = 0.0,  # Only tokens at least so likely, as a share of the likeliest.
  sampling_seed: int = 0,  # Of the draws; --seed is the experiment's own.
  stop: str = '',  # A string that ends the text; \n and \t are understood.
  samples: int = 1,  # Texts; one is shown as it comes, several when all are done.
) -> list[str]:
  """Writes text after a prompt, and returns what was written."""
  import functools
  import json

  import jax
  import numpy as np
  from etils import epath

  from bigtrain import architecture, iteration, trained

  model, kind = experiment.model, type(experiment.model).__name__
  if not isinstance(model, architecture.DecoderLM):
    raise ValueError(f'{kind} keeps no cache to write from: generate needs a DecoderLM')
  source = getattr(experiment.data, 'source', None)
  tokenizer = getattr(source, 'tokenizer', None)
  if tokenizer is None:
    raise ValueError('the training data has no tokenizer, so tokens are no text: use data.pack')
  if tokens < 1 or samples < 1:
    raise ValueError(f'--tokens and --samples must be at least 1, got {tokens} and {samples}')
  for name, content in getattr(source, 'files', {}).items():
    kept = epath.Path(workdir) / name
    if kept.exists() and kept.read_bytes() != content:
      raise ValueError(f'{kept} is not the tokenizer that the data gives now: bring back the data')
  # A document follows the end of another one in training, so it does here.
  begin = [] if tokenizer.end is None else [tokenizer.end]
  ids = np.array([*begin, *tokenizer.encode(prompt)], np.int32)
  if not len(ids):
    raise ValueError('this tokenizer has no token that begins a text: give --prompt')
  if model.position == 'learned' and len(ids) + tokens > (model.length or 0):
    raise ValueError(
      f'the model learned {model.length} positions, and the prompt takes {len(ids)} of them: '
      f'lower --tokens={tokens} to {(model.length or 0) - len(ids)} or less'
    )
  stop = stop.replace('\\n', '\n').replace('\\t', '\t')
  draw = functools.partial(
    iteration.sample, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
  )
  jax.eval_shape(draw, jax.random.split(jax.random.key(0), 1), np.zeros((1, model.vocab)))

  def decode(variables, cache, tokens_BL):
    variables = {**variables, 'cache': cache}
    logits, changed = model.apply(variables, tokens_BL, method='decode', mutable=['cache'])
    return logits, changed['cache']

  chunks = iteration.generate(
    decode, jax.device_put(trained.variables(experiment, workdir, step)),
    functools.partial(architecture.init_cache, model), np.tile(ids, (samples, 1)),
    tokens=tokens, draw=draw, seed=sampling_seed,
  )  # fmt: skip
  written = [np.zeros(0, np.int32)] * samples
  texts, done = [''] * samples, [False] * samples
  if samples == 1:
    print(prompt, end='', flush=True)
  for chunk in chunks:
    for i, row in enumerate(chunk):
      if done[i]:
        continue
      ends = np.flatnonzero(row == tokenizer.end) if tokenizer.end is not None else []
      written[i] = np.concatenate([written[i], row[: ends[0]] if len(ends) else row])
      over = bool(len(ends)) or len(written[i]) == tokens
      text, stopped = iteration.settled(tokenizer.decode(written[i]), stop, over)
      done[i] = over or stopped
      if samples == 1:
        print(text[len(texts[i]) :], end='', flush=True)
      texts[i] = text
    if all(done):
      break
  if samples == 1:
    print()
  else:
    for i, text in enumerate(texts):
      print(f'--- {i + 1} of {samples} ---\n{prompt}{text}')
  drawn = f'temperature {temperature:g}, top_k {top_k}, top_p {top_p:g}, min_p {min_p:g}'
  step = iteration.Checkpoints(workdir).choose(step)
  with (epath.Path(workdir) / 'samples.jsonl').open('a') as file:  # For `report`.
    for text in texts:
      row = {'step': step, 'drawn': drawn, 'prompt': prompt, 'text': text}
      file.write(json.dumps(row) + '\n')
  return texts
