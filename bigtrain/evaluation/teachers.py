"""The objective of a student whose teachers lie beside it in one model and answer at once.

Conventions as in `batches`; letters as in `distillation_losses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp

from bigtrain.evaluation.batches import INPUTS, Apply, Batch, inputs
from bigtrain.evaluation.distillation_losses import (
  attention_distillation,
  distillation,
  feature_distillation,
)
from bigtrain.evaluation.means import Mean

_SEEN = 'intermediates'


def taught(
  apply: Apply,
  batch: Batch,
  *,
  temperature: float = 2.0,
  hard: float = 0.0,
  hidden: Mapping[str, str] | None = None,
  attention: Mapping[str, str] | None = None,
  hidden_weight: float = 1.0,
  attention_weight: float = 1.0,
) -> dict[str, Mean]:
  """Imitates teachers: their probabilities, and their hidden states and attention where asked.

  Args:
    apply: Maps the batch's input to the student's logits, and to the teachers' by the method
      'teach'; a student's hidden states to the teacher's width by 'project' (`iteration.Taught`).
    batch: As for `distillation`, without the teacher's logits.
    temperature: As for `distillation`.
    hard: As for `distillation`.
    hidden: From modules of the student to modules of the teachers, by their paths, such as
      {'student/block_1': 'teachers_0/block_5'}: the outputs are compared as by
      `feature_distillation`, after a projection that the student learns with the rest.
    attention: The same for modules that attend, such as {'student/block_1/attention': ...}, as by
      `attention_distillation`; of the mean over heads where their numbers differ.
    hidden_weight: Of the hidden states in the loss.
    attention_weight: Of the attention.

  Returns:
    What `distillation` does, and 'hidden' and 'attention', means over the pairs.

  Raises:
    ValueError: A module is not there, or states do not fit.
  """
  hidden, attention = dict(hidden or {}), dict(attention or {})
  shown = {*hidden, *hidden.values()}
  options: dict[str, Any] = {}
  if hidden or attention:
    options = {
      'mutable': [_SEEN],
      'capture_intermediates': lambda module, _: '/'.join(module.path) in shown,
    }

  def ask(**more: Any) -> tuple[Any, dict[str, Any]]:
    if 'inputs' in batch and not any(key in batch for key in INPUTS):
      given = batch['inputs']
      if 'segment_ids' in batch:
        more['segment_ids'] = batch['segment_ids']
    else:
      given = inputs(batch)
    found = apply(given, **options, **more)
    logits, seen = found if options else (found, {})
    # A sown value lies in a tuple of its own.
    flat: dict[str, Any] = traverse.flatten_dict(dict(seen.get(_SEEN, {})), sep='/')
    return logits, {path: values[0] for path, values in flat.items()}

  teacher, of_teacher = ask(method='teach')
  logits, of_student = ask()
  means = distillation(
    lambda *_, **__: logits,
    {**batch, 'teacher_logits': teacher},
    temperature=temperature,
    hard=hard,
  )
  terms: dict[str, list[Mean]] = {'hidden': [], 'attention': []}
  for i, (ours, theirs) in enumerate(hidden.items()):
    state = apply(_rows(_one(of_student, ours, '__call__')), method='project', index=i)
    want = {**batch, 'teacher_features': _rows(_one(of_teacher, theirs, '__call__'))}
    terms['hidden'].append(feature_distillation(lambda *_, s=state, **__: s, want)['loss'])
  for ours, theirs in attention.items():
    own, other = _one(of_student, ours, 'attention'), _one(of_teacher, theirs, 'attention')
    if own.shape[1] != other.shape[1]:
      own, other = own.mean(1, keepdims=True), other.mean(1, keepdims=True)
    want = {**batch, 'teacher_attention': other}
    terms['attention'].append(attention_distillation(lambda *_, a=own, **__: a, want)['loss'])
  loss = means['loss']
  for name, weight in (('hidden', hidden_weight), ('attention', attention_weight)):
    if terms[name]:
      value = jnp.mean(jnp.stack([term.value for term in terms[name]]))
      means[name] = Mean(total=value * loss.weight, weight=loss.weight)
      loss += Mean(total=weight * value * loss.weight, weight=jnp.zeros(()))
  return {**means, 'loss': loss}


def _rows(hidden: Any) -> jax.Array:
  """Returns hidden states as [B, D] or [B, L, D]: an image's places are positions."""
  return hidden if hidden.ndim < 4 else hidden.reshape(len(hidden), -1, hidden.shape[-1])


def _one(seen: Mapping[str, Any], path: str, name: str) -> Any:
  if f'{path}/{name}' not in seen:
    known = ', '.join(sorted(p.removesuffix(f'/{name}') for p in seen if p.endswith(f'/{name}')))
    raise ValueError(f'no module {path!r} shows what is to be imitated: there is {known or "none"}')
  return seen[f'{path}/{name}']
