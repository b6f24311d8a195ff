"""A mean is the same however its examples are grouped, padded or ordered."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bigtrain.evaluation import Mean

# Small whole numbers: float32 adds them exactly, so that equal can mean equal.
VALUES = hnp.arrays(np.float32, st.integers(1, 30), elements=st.integers(-100, 100).map(float))
TOKENS = hnp.arrays(
  np.float32,
  st.tuples(st.integers(1, 6), st.integers(1, 5)),
  elements=st.integers(-9, 9).map(float),
)
NOTHING = st.sampled_from([np.nan, np.inf, -np.inf, 1e38, -7.0])


def halves(mean):
  return float(mean.total), float(mean.weight)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.data())
def test_any_grouping_adds_up_to_the_whole(values, data):
  cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
  parts = [Mean.of(part) for part in np.split(values, cuts)]
  total = parts[0]
  for part in parts[1:]:
    total = total + part
  assert halves(total) == halves(Mean.of(values)) == (values.sum(), len(values))
  assert float(total.value) == pytest.approx(values.mean(), rel=1e-6, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.integers(1, 10), NOTHING)
def test_padding_changes_nothing_whatever_it_holds(values, padding, nothing):
  padded = np.concatenate([values, np.full(padding, nothing, np.float32)])
  weight = np.concatenate([np.ones(len(values)), np.zeros(padding)])
  assert halves(Mean.of(padded, weight)) == halves(Mean.of(values))


@settings(max_examples=50, deadline=None)
@given(TOKENS, st.data())
def test_an_examples_weight_is_the_weight_of_each_of_its_tokens(values, data):
  B, L = values.shape
  weight = np.array(data.draw(st.lists(st.integers(0, 3), min_size=B, max_size=B)), np.float32)
  by_example = Mean.of(values, weight)
  assert halves(by_example) == halves(Mean.of(values, np.repeat(weight[:, None], L, axis=1)))
  assert halves(by_example) == ((values.sum(axis=1) * weight).sum(), L * weight.sum())


def test_a_weight_counts_as_repetition():
  assert halves(Mean.of(np.array([1.0, 5.0]), np.array([3.0, 2.0]))) == (13, 5)
  assert halves(Mean.of(np.array([1, 5]), 2.0)) == (12, 4)
  assert halves(Mean.of(np.array([True, False, True]))) == (2, 3)


def test_a_ratio_ignores_both_halves_of_padding():
  totals, counts = np.array([6.0, np.nan]), np.array([2.0, np.inf])
  assert halves(Mean.ratio(totals, counts, np.array([1.0, 0.0]))) == (6, 2)


def test_half_precision_is_summed_in_float32():
  ones = jnp.ones(257, jnp.bfloat16)  # 257 isn't a number of bfloat16.
  assert halves(Mean.of(ones)) == (257, 257)


@pytest.mark.parametrize('shape', [(3,), (2, 2), (2, 3, 1), (1,)])
def test_a_weight_that_does_not_fit_is_refused(shape):
  with pytest.raises(ValueError, match=r'weight must have a shape that opens .* \(2, 3\)'):
    Mean.of(np.ones((2, 3)), np.ones(shape))


def test_a_mean_of_nothing_is_nan_and_pulls_at_nothing():
  def mean(values):
    return Mean.of(values, jnp.zeros(2)).value

  value, gradient = jax.value_and_grad(mean)(jnp.ones(2))
  assert math.isnan(value)
  np.testing.assert_array_equal(gradient, 0)
  assert jax.grad(lambda total: Mean(total, jnp.zeros(())).value)(jnp.zeros(())) == 0
  assert math.isnan(Mean.of(np.ones(0)).host().value)
  nothing, something = Mean.of(jnp.ones(2), jnp.zeros(2)), Mean.of(jnp.ones(2))
  assert float((nothing + something).value) == 1


def test_padding_gets_no_gradient():
  def mean(values):
    return Mean.of(values, jnp.array([1.0, 0.0, 1.0])).value

  gradient = jax.grad(mean)(jnp.array([1.0, jnp.nan, 3.0]))
  np.testing.assert_allclose(gradient, [0.5, 0, 0.5])


def test_means_pass_through_jit_and_scan():
  values = np.arange(12, dtype=np.float32).reshape(4, 3)

  @jax.jit
  def summed(values):
    def add(total, row):
      mean = Mean.of(row)
      return total + mean, mean

    return jax.lax.scan(add, Mean(jnp.zeros(()), jnp.zeros(())), values)

  total, each = summed(values)
  assert halves(total) == halves(Mean.of(values))
  np.testing.assert_allclose(each.value, values.mean(axis=1))


def test_the_host_counts_beyond_float32():
  many = Mean(total=jnp.float32(2.0**24), weight=jnp.float32(2.0**24))
  one = Mean.of(np.ones(1))
  assert halves(many + one) == (2**24, 2**24)  # Float32 can't: what `host` is for.
  assert halves(many.host() + one.host()) == (2**24 + 1, 2**24 + 1)
