"""What `generate` needs of a run: its model, tokenizer and prompt, and where they are placed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from bigtrain import architecture, compute, trained

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Writer:
  """A language model that writes on.

  Attributes:
    model: A Flax module.
    tokenizer: Of the training data.
    ids: The prompt's tokens, int32 [L].
  """

  model: Any
  tokenizer: Any
  ids: np.ndarray

  @classmethod
  def of(cls, experiment: Experiment, workdir: str, prompt: str, tokens: int) -> Writer:
    """Returns the writer of an experiment; reads no parameters.

    Raises:
      ValueError: There is no tokenizer or another one, nothing to begin with, or no room for so
        many tokens.
    """
    source = experiment.data.source
    tokenizer = getattr(source, 'tokenizer', None)
    if tokenizer is None:
      raise ValueError('the training data has no tokenizer, so tokens are no text: use data.pack')
    for name, content in getattr(source, 'files', {}).items():
      kept = epath.Path(workdir) / name
      if kept.exists() and kept.read_bytes() != content:
        raise ValueError(
          f'{kept} is not the tokenizer that the data gives now: bring back the data'
        )
    # A document follows the end of another one in training, so it does here.
    begin = [] if tokenizer.end is None else [tokenizer.end]
    ids = np.array([*begin, *tokenizer.encode(prompt)], np.int32)
    if not len(ids):
      raise ValueError('this tokenizer has no token that begins a text: give --prompt')
    model, _ = trained.alone(experiment.model)
    if getattr(model, 'position', '') == 'learned' and len(ids) + tokens > model.length:
      cure = f'lower --tokens={tokens} to {model.length - len(ids)} or less'
      if len(ids) >= model.length:
        cure = 'give a shorter --prompt'
      raise ValueError(
        f'the model learned {model.length} positions, and the prompt takes {len(ids)} of them: '
        f'{cure}'
      )
    if jax.default_backend() == 'cpu' and model.dtype == jnp.bfloat16:
      model = model.clone(
        dtype=jnp.float32
      )  # XLA takes several times as long to multiply bfloat16.
    return cls(model, tokenizer, ids)

  def placed(
    self, experiment: Experiment, workdir: str, step: int, samples: int, mesh: str, beams: int = 0
  ) -> tuple[Any, Any, Any]:
    """Returns the mesh, and on it the variables and the prompt of every sample, [samples, L].

    Parameters lie as in training, or as tiles for one text on one CPU device; texts are spread
    where they divide by what spreads examples.
    """
    # One text cannot be spread: a mesh must not ask it to.
    devices = compute.make_mesh(mesh, 0, None if mesh else jax.devices()[:1])
    _, own = trained.alone(experiment.model)
    variables = own(trained.variables(experiment, workdir, step))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), variables)
    shardings = (experiment.partition or compute.fsdp)(devices, shapes)
    over = compute.batch_sharding(devices)
    rows = np.tile(self.ids, (samples, 1))
    if samples % math.prod(devices.shape[axis] for axis in over.spec[0]):
      over = compute.replicate(devices, rows)
    variables = jax.device_put(variables, shardings)
    if compute.tiles_pay(jax.default_backend(), samples * max(1, beams), devices.size):
      variables = architecture.tiled(self.model, variables)
    return devices, variables, jax.device_put(rows, over)


def texts_file(out: str) -> Callable[[Sequence[str]], None]:
  """Returns what writes texts to a new file of JSON lines, whole or not at all.

  Raises:
    ValueError: The file is there.
  """
  path = epath.Path(out)
  if path.exists():
    raise ValueError(f'--out={out} is there: name a new file')

  def write(texts: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f'.{path.name}.part'
    part.write_text(''.join(json.dumps({'text': text}) + '\n' for text in texts))
    part.replace(path)

  return write
