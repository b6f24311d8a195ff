"""What objectives read from a batch, and how outputs and targets are brought together.

Conventions of every objective:

- `apply(x)` is the model with parameters, mode and randomness bound; the objective picks x and the
  targets from the batch by their keys, named in each docstring.
- batch['weight'], float [B] >= 0, is optional everywhere: 0 marks padding, which is ignored.
- A loss is in nats or in the units of the label, in float32 whatever the model computes in.
- Options are keyword arguments: `functools.partial(softmax_cross_entropy, smoothing=0.1)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Apply = Callable[..., Any]
Batch = Mapping[str, Any]

INPUTS = ('image', 'features', 'audio', 'tokens')


def inputs(batch: Batch) -> Any:
  """Returns the model's input: the first of 'image', 'features', 'audio' and 'tokens'."""
  for key in INPUTS:
    if key in batch:
      return batch[key]
  raise ValueError(
    f"batch must hold 'image' or 'features' (or 'audio', 'tokens') as the model's input, "
    f'got {sorted(batch)}'
  )


def entry(batch: Batch, key: str) -> jax.Array:
  """Returns one entry of a batch, or says which keys there are."""
  if key not in batch:
    raise ValueError(f'batch must hold {key!r}, got {sorted(batch)}: add {key!r}')
  return jnp.asarray(batch[key])


def outputs_and_label(apply: Apply, batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Returns the model's outputs in float32 and the label, of one shape ([B, 1] becomes [B])."""
  outputs, label = as_float(apply(inputs(batch))), entry(batch, 'label')
  if outputs.ndim == label.ndim + 1 and outputs.shape[-1] == 1:
    outputs = outputs[..., 0]
  # Checked, because [B, 1] against [B] would broadcast to [B, B] without a word.
  if outputs.shape != label.shape:
    raise ValueError(
      f"batch['label'] must have the shape of the model's outputs, {outputs.shape}, "
      f'got {label.shape}'
    )
  return outputs, label.astype(jnp.float32)


def as_float(outputs: Any) -> jax.Array:
  """Returns outputs in float32."""
  return jnp.asarray(outputs, jnp.float32)


def pick(logits: jax.Array, index: jax.Array) -> jax.Array:
  """Returns logits[..., index], one of the last axis for each index."""
  return jnp.take_along_axis(logits, index[..., None], axis=-1)[..., 0]


def sigmoid_nats(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Returns softplus(z) - y z elementwise, in the form that doesn't overflow."""
  return jnp.maximum(logits, 0) - logits * label + jnp.log1p(jnp.exp(-jnp.abs(logits)))
