"""Attention over positions on several devices equals attention on one, gradients too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import compute
from bigtrain.architecture import attention
from bigtrain.architecture.sequence_attention import Mask, gathered_attention, ring_attention

CASES = {
  'all': {},
  'causal': {'causal': True},
  'window': {'causal': True, 'window': 5},
  'both ways': {'window': 5},
  'capped': {'causal': True, 'soft_cap': 2.0, 'scale': 0.7},
}


def inputs(heads=4, groups=2, length=16, dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(0), 4)
  q, dy = (jax.random.normal(k, (2, length, heads, 8), dtype) for k in keys[:2])
  k, v = (jax.random.normal(key, (2, length, groups, 8), dtype) for key in keys[2:])
  return q, k, v, dy


def results(function, q, k, v, dy, mesh):
  """Returns the outputs and the three gradients."""

  def both(q, k, v):
    y, back = jax.vjp(function, q, k, v)
    return y, *back(dy)

  with jax.set_mesh(compute.make_mesh(mesh)):
    return jax.jit(both)(q, k, v)


@pytest.mark.parametrize('kind', [ring_attention, gathered_attention])
@pytest.mark.parametrize('case', CASES)
def test_is_the_attention_of_one_device(kind, case):
  options = CASES[case]
  segment = jnp.asarray(np.repeat([[0, 0, 1, 2], [0, 1, 1, 1]], 4, axis=1))
  segments = (segment, segment) if case in ('causal', 'both ways') else None
  *arrays, dy = inputs()
  spread = functools.partial(kind, segments=segments, mask=Mask(**options))
  plain = functools.partial(attention, segments=segments, **options)
  found = results(spread, *arrays, dy, 'fsdp:2,sequence:4')
  expected = results(plain, *arrays, dy, 'data:8')
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_heads_are_split_too():
  *arrays, dy = inputs()
  found = results(ring_attention, *arrays, dy, 'sequence:4,tensor:2')
  for a, b in zip(found, results(attention, *arrays, dy, 'data:8'), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_no_device_holds_all_keys():
  *arrays, dy = inputs(length=64)
  with jax.set_mesh(compute.make_mesh('sequence:8')):
    text = jax.jit(ring_attention).lower(*arrays).compile().as_text()
  assert 'collective-permute' in text
  assert 'all-gather' not in text
