"""Kernels give what XLA gives, gradients too, and are chosen where they can do what is asked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import compute
from bigtrain.architecture import attention_kernels, attentions
from bigtrain.architecture.attention_kernels import cudnn, kernel, splash
from bigtrain.architecture.sequence_attention import Mask

CASES = {
  'causal, grouped heads, segments': ({'causal': True}, 2, True),
  'window': ({'causal': True, 'window': 70}, 4, False),
  'both ways, capped': ({'window': 70, 'soft_cap': 3.0}, 4, True),
  'all': ({}, 1, False),
}


@pytest.mark.parametrize('mesh', ['', 'data:4,tensor:2'])
@pytest.mark.parametrize('case', CASES)
def test_splash_attention_is_plain_attention(case, mesh):
  options, groups, segmented = CASES[case]
  if mesh and case != 'causal, grouped heads, segments':
    pytest.skip('one case is enough on a mesh')
  B, L, H, K = 4 if mesh else 1, 256, 4, 16
  keys = jax.random.split(jax.random.key(0), 4)
  q, dy = (jax.random.normal(key, (B, L, H, K)) for key in keys[:2])
  k, v = (jax.random.normal(key, (B, L, groups, K)) for key in keys[2:])
  segment = jnp.broadcast_to(jnp.arange(L) // 100, (B, L))
  segments = (segment, segment) if segmented else None
  by_kernel = functools.partial(splash, segments=segments, mask=Mask(**options), interpret=True)
  plain = functools.partial(attentions.attention, segments=segments, **options)

  @functools.partial(jax.jit, static_argnums=0)
  def results(function, q, k, v):
    y, back = jax.vjp(function, q, k, v)
    return y, *back(dy)

  expected = results(plain, q, k, v)
  if mesh:
    with jax.set_mesh(compute.make_mesh(mesh)):
      found = results(by_kernel, q, k, v)
  else:
    found = results(by_kernel, q, k, v)
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def shape(L=256, heads=4, K=64, dtype=jnp.bfloat16):
  return jax.ShapeDtypeStruct((2, L, heads, K), dtype)


@pytest.mark.parametrize(
  ('platform', 'query', 'segments', 'mask', 'chosen'),
  [
    ('cpu', shape(), None, {}, None),
    ('tpu', shape(), None, {'causal': True}, splash),
    ('tpu', shape(dtype=jnp.float32), 'segments', {'window': 9, 'soft_cap': 2.0}, splash),
    ('tpu', shape(L=200), None, {}, None),
    ('gpu', shape(), None, {'causal': True, 'window': 9}, cudnn),
    ('gpu', shape(), None, {'window': 9}, None),
    ('gpu', shape(), 'segments', {}, None),
    ('gpu', shape(), None, {'soft_cap': 2.0}, None),
    ('gpu', shape(dtype=jnp.float32), None, {}, None),
    ('gpu', shape(K=136), None, {}, None),
    ('gpu', shape(K=20), None, {}, None),
  ],
)
def test_a_kernel_is_chosen_where_it_can(platform, query, segments, mask, chosen, monkeypatch):
  monkeypatch.setattr(attention_kernels, 'platform', lambda: platform)
  assert kernel(query, query, segments, Mask(**mask)) is chosen
  assert kernel(query, shape(L=query.shape[1] * 2), segments, Mask(**mask)) is None


def test_the_platform_is_that_of_the_mesh(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  assert attention_kernels.platform() == 'tpu'
  with jax.set_mesh(compute.make_mesh()):
    assert attention_kernels.platform() == 'cpu'
