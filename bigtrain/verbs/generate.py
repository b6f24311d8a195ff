"""`generate`: text from a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
  beams: int = 0,  # Search for the likeliest text among so many at a time, in place of drawing.
  sampling_seed: int = 0,  # Of the draws; --seed is the experiment's own.
  stop: tuple[str, ...] = (),  # Strings that end the text; \n and \t are understood.
  samples: int = 1,  # Texts; one is shown as it comes, several when all are done.
  out: str = '',  # A new file of JSON lines for the texts, as data.json_lines reads them.
  mesh: str = '',  # Devices by axis, such as data:2,fsdp:-1; empty is the first device alone.
) -> list[str]:
  """Writes text after a prompt, and returns what was written."""
  import functools
  import json

  import jax
  import numpy as np
  from etils import epath

  from bigtrain import architecture, iteration, trained
  from bigtrain.writers import Writer, texts_file

  # Refuses what cannot write, before all else.
  architecture.cached_decode(trained.alone(experiment.model)[0])
  if tokens < 1 or samples < 1 or beams < 0:
    raise ValueError(
      f'--tokens and --samples must be at least 1, and --beams 0 or more, got {tokens}, {samples} '
      f'and {beams}'
    )
  writer = Writer.of(experiment, workdir, prompt, tokens)
  stop = tuple(word.replace('\\n', '\n').replace('\\t', '\t') for word in stop)
  streams = [iteration.TextStream(writer.tokenizer.decode, stop) for _ in range(samples)]
  draw = functools.partial(
    iteration.sample, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
  )
  jax.eval_shape(draw, jax.random.split(jax.random.key(0), 1), np.zeros((1, writer.model.vocab)))
  file = texts_file(out) if out else None
  decode, begin = architecture.cached_decode(writer.model)
  devices, variables, ids = writer.placed(experiment, workdir, step, samples, mesh, beams)
  with jax.set_mesh(devices):
    if beams:
      found, _ = iteration.beam_search(
        decode, variables, begin, ids, tokens=tokens, beams=beams, end=writer.tokenizer.end
      )
      chunks: Any = [found[:, 0]]
    else:
      chunks = iteration.generate(
        decode, variables, begin, ids, tokens=tokens, draw=draw, seed=sampling_seed
      )
    alone = samples == 1
    if alone:
      print(prompt, end='', flush=True)
    left, done = tokens, [False] * samples
    for chunk in chunks:
      left -= chunk.shape[1]
      for i, row in enumerate(chunk):
        if done[i]:
          continue
        ends = (
          np.flatnonzero(row == writer.tokenizer.end) if writer.tokenizer.end is not None else []
        )
        over = bool(len(ends)) or left <= 0
        shown = streams[i].add(row[: ends[0]] if len(ends) else row, over)
        done[i] = over or streams[i].stopped
        if alone:
          print(shown, end='', flush=True)
      if all(done):
        break
  texts = [stream.text for stream in streams]
  if file is not None:
    file([prompt + text for text in texts])
  if alone:
    print()
  elif not out:
    for i, text in enumerate(texts):
      print(f'--- {i + 1} of {samples} ---\n{prompt}{text}')
  drawn = f'temperature {temperature:g}, top_k {top_k}, top_p {top_p:g}, min_p {min_p:g}'
  drawn = f'{beams} beams' if beams else drawn
  step = iteration.Checkpoints(workdir).choose(step)
  with (epath.Path(workdir) / 'samples.jsonl').open('a') as file:  # For `report`.
    for text in texts:
      row = {'step': step, 'drawn': drawn, 'prompt': prompt, 'text': text}
      file.write(json.dumps(row) + '\n')
  if out:
    print(f'The texts: {out}')
  return texts
