"""Attention's options, each against another way to say the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import architecture
from bigtrain.architecture import positions

RNG = np.random.default_rng(0)
Q, K, V = (RNG.normal(size=(2, 6, heads, 8)).astype(np.float32) for heads in (4, 2, 2))
attention = architecture.attention


def test_grouped_heads_are_repeated_heads():
  repeated = (np.repeat(x, 2, axis=2) for x in (K, V))
  want = attention(Q, *repeated, causal=True)
  np.testing.assert_allclose(attention(Q, K, V, causal=True), want, atol=1e-6)


@pytest.mark.parametrize('causal', [True, False])
def test_a_window_is_a_bias_of_minus_infinity(causal):
  ago = np.arange(6)[:, None] - np.arange(6)
  seen = (ago < 3) & (ago >= 0 if causal else ago > -3)
  want = attention(Q, K, V, bias=jnp.where(seen, 0, -jnp.inf))
  np.testing.assert_allclose(attention(Q, K, V, causal=causal, window=3), want, atol=1e-6)
  where = np.broadcast_to(np.arange(6), (2, 6))
  got = attention(Q, K, V, causal=causal, window=3, positions=(where + 4, where + 4))
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_soft_cap_scale_and_dropped_weights():
  logits = 30 * np.tanh(np.einsum('blhk,bmhk->bhlm', Q, np.repeat(K, 2, axis=2)) * 0.5 / 30)
  weights = jax.nn.softmax(logits) * 2
  want = np.einsum('bhlm,bmhk->blhk', weights, np.repeat(V, 2, axis=2))
  got = attention(Q, K, V, scale=0.5, soft_cap=30.0, drop=lambda weights: 2 * weights)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_low_precision_is_weighed_in_float32():
  want = attention(*(jnp.asarray(x, jnp.bfloat16).astype(jnp.float32) for x in (Q, K, V)))
  got = attention(*(jnp.asarray(x, jnp.bfloat16) for x in (Q, K, V)))
  assert got.dtype == jnp.bfloat16
  np.testing.assert_allclose(got.astype(jnp.float32), want, atol=0.03)


def test_positions_count_from_0_in_each_document():
  segments = np.array([[5, 5, 0, 0, 0], [0, 1, 1, 2, 2]])
  want = [[0, 1, 0, 1, 2], [0, 0, 1, 0, 1]]
  np.testing.assert_array_equal(positions.within_segments(segments), want)


def test_rotary_scaling_slows_what_turns_slowly():
  frequency = jnp.array([1.0, 2 * np.pi * 2.5 / 64, 1e-3])
  scaled = architecture.Llama3Scaling(8.0, 1.0, 4.0, 64)(frequency)
  np.testing.assert_allclose(scaled, frequency * np.array([1, (1 + 1 / 8) / 2, 1 / 8]), rtol=1e-6)
  x = jnp.asarray(Q)
  halved = architecture.rotary(x, scaling=architecture.LinearScaling(2.0))
  np.testing.assert_allclose(halved[:, ::2], architecture.rotary(x[:, ::2]), atol=1e-6)
