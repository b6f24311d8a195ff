"""FLOPs counted on a traced program equal those counted by hand."""

import types

import jax
import jax.numpy as jnp
import pytest

from bigtrain import compute


def count(function, *shapes):
  return compute.count_flops(jax.make_jaxpr(function)(*(jnp.zeros(s) for s in shapes)).jaxpr)


def test_a_product_costs_two_operations_an_element_of_its_sum():
  assert count(lambda a, b: a @ b, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
  batched = count(lambda a, b: jnp.einsum('bij,bkj->bik', a, b), (4, 3, 5), (4, 7, 5))
  assert batched == 4 * 2 * 3 * 5 * 7


@pytest.mark.parametrize('groups', [1, 4])
def test_a_convolution(groups):
  def convolve(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (1, 1),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      feature_group_count=groups,
    )

  flops = count(convolve, (2, 6, 6, 8), (3, 3, 8 // groups, 16))
  assert flops == 2 * (2 * 6 * 6 * 16) * 3 * 3 * 8 / groups


def test_scanned_bodies_count_once_an_iteration():
  def loop(x, w):
    return jax.lax.scan(lambda x, _: (jax.jit(lambda x: x @ w)(x), None), x, length=10)[0]

  assert count(loop, (4, 4), (4, 4)) == 10 * 2 * 4**3


def test_rematerialised_and_custom_functions_are_looked_into():
  @jax.custom_jvp
  def square(x):
    return x @ x

  square.defjvps(lambda t, _, x: t @ x)
  assert count(jax.checkpoint(square), (4, 4)) == 2 * 4**3


@pytest.mark.parametrize(
  ('kind', 'peak'),
  [('TPU v5 lite', 197e12), ('TPU v5', 459e12), ('NVIDIA H100 80GB HBM3', 989e12), ('cpu', None)],
)
def test_peaks(kind, peak):
  assert compute.peak_flops(types.SimpleNamespace(device_kind=kind)) == peak
