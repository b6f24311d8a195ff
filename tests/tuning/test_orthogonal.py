"""Polynomials of a matrix reach the nearest orthogonal one, whatever its shape and spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import tuning
from bigtrain.tuning.matrices import scale_by_muon


def matrices(*shape, spectrum=None, seed=0):
  x = np.random.default_rng(seed).normal(size=shape)
  if spectrum is not None:
    u, _, v = np.linalg.svd(x, full_matrices=False)
    x = u * spectrum @ v
  return jnp.asarray(x, jnp.float32)


def nearest(x):
  u, _, v = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
  return u @ v


def test_polar_express_has_its_published_coefficients():
  # Amsel et al. 2025, the list of section 4, before the safety factor.
  chain = tuning.polar_express(5, cushion=0.02407327424182761, safety=1.0)
  published = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
  ]
  np.testing.assert_allclose(chain, published, rtol=1e-6)


@pytest.mark.parametrize('shape', [(2, 12, 12), (3, 12, 20), (2, 12, 24), (1, 12, 64), (2, 1, 5)])
def test_the_result_is_the_nearest_orthogonal_matrix(shape):
  spectrum = np.linspace(0.2, 1, shape[1])
  x = matrices(*shape, spectrum=spectrum)
  result = tuning.orthogonalize(x, tuning.polar_express(8))
  np.testing.assert_allclose(result, nearest(x), atol=5e-3)


def test_jordans_chain_ends_near_one():
  x = matrices(2, 16, 48, spectrum=np.linspace(0.1, 1, 16))
  values = np.linalg.svd(tuning.orthogonalize(x, tuning.JORDAN), compute_uv=False)
  assert (values > 0.6).all()
  assert (values < 1.3).all()


@pytest.mark.parametrize('scale', [1e-22, 1e-6, 1.0, 1e12])
def test_the_size_of_a_matrix_does_not_matter(scale):
  x = matrices(1, 8, 16)
  chain = tuning.polar_express(8)
  result = tuning.orthogonalize(x * scale, chain)
  assert np.isfinite(result).all()
  if scale > 1e-10:  # Smaller ones are as good as zero, and may stay small, but not blow up.
    np.testing.assert_allclose(result, tuning.orthogonalize(x, chain), atol=1e-4)
  assert np.linalg.norm(result[0], 2) < 1.2


def test_the_short_cut_for_wide_matrices_changes_nothing():
  x = matrices(2, 16, 64, spectrum=np.logspace(0, -3, 16))
  chain = tuning.polar_express(5)
  y = x / (np.linalg.norm(x, axis=(1, 2), keepdims=True) * 1.01)
  for a, b, c in chain:  # The definition, step by step.
    gram = y @ jnp.swapaxes(y, 1, 2)
    y = a * y + (b * gram + c * gram @ gram) @ y
  np.testing.assert_allclose(tuning.orthogonalize(x, chain), y, atol=1e-4)


def test_bfloat16_products_do_not_blow_up():
  x = matrices(2, 64, 256, spectrum=np.logspace(0, -6, 64)).astype(jnp.bfloat16)
  for chain in (tuning.polar_express(5), tuning.polar_express(8), tuning.JORDAN):
    result = np.asarray(tuning.orthogonalize(x, chain), np.float32)
    assert np.linalg.norm(result, 2, axis=(1, 2)).max() < 1.6


def test_a_turned_matrix_gives_a_turned_result():
  x, chain = matrices(1, 8, 8), tuning.polar_express(5)
  turn = jnp.asarray(nearest(matrices(8, 8, seed=1)), jnp.float32)
  turned = tuning.orthogonalize(x @ turn, chain)
  np.testing.assert_allclose(turned, tuning.orthogonalize(x, chain) @ turn, atol=1e-4)


def test_a_stack_is_its_matrices():
  x, chain = matrices(4, 8, 12), tuning.JORDAN
  together = tuning.orthogonalize(x, chain)
  for i in range(4):
    np.testing.assert_allclose(together[i], tuning.orthogonalize(x[i : i + 1], chain)[0], atol=1e-5)


def test_a_tall_matrix_is_refused():
  with pytest.raises(ValueError, match='transpose'):
    tuning.orthogonalize(matrices(1, 8, 4), tuning.JORDAN)
  with pytest.raises(ValueError, match='steps must be at least 1'):
    tuning.polar_express(0)


def test_muon_moves_by_nesterovs_momentum():
  chain = tuning.polar_express(8)
  g1, g2 = matrices(6, 9, seed=1), matrices(6, 9, seed=2)
  optimizer = scale_by_muon(coefficients=chain, momentum=0.9)
  state = optimizer.init({'w': jnp.zeros((6, 9))})
  _, state = jax.jit(optimizer.update)({'w': g1}, state)
  update, _ = jax.jit(optimizer.update)({'w': g2}, state)
  mean = 0.9 * (0.1 * g1) + 0.1 * g2
  expected = tuning.orthogonalize((0.9 * mean + 0.1 * g2)[None], chain)[0] * np.sqrt(9 / 6)
  np.testing.assert_allclose(update['w'], expected, atol=1e-4)


def test_muon_sees_a_convolution_as_one_matrix():
  kernel = matrices(3, 3, 4, 16)
  optimizer = scale_by_muon(coefficients=tuning.polar_express(8))
  update, _ = optimizer.update({'w': kernel}, optimizer.init({'w': kernel}))
  matrix = update['w'].reshape(36, 16)
  np.testing.assert_allclose(matrix.T @ matrix, np.eye(16), atol=0.02)
  with pytest.raises(ValueError, match=r'2 to 4 axes, got shape \(5,\)'):
    optimizer.update({'w': jnp.ones(5)}, optimizer.init({'w': jnp.ones(5)}))
