"""The nearest orthogonal matrix, by a few matrix products.

For x = U S V^T the nearest (semi-)orthogonal matrix is U V^T. An odd polynomial of x acts on the
singular values alone, so a chain of quintics that each pull [0, 1] towards 1 gets there without a
decomposition, which accelerators are slow at.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

Coefficients = Sequence[tuple[float, float, float]]

# Jordan et al. 2024 (Muon): steep at 0, and content with singular values anywhere in 0.7 ... 1.2.
JORDAN: Coefficients = ((3.4445, -4.7750, 2.0315),) * 5

# The Gram form squares singular values, and its rounding errors grow with each step: beyond 3
# steps bfloat16 products blow up for matrices of decaying spectrum.
_STEPS_PER_GRAM = 3


def polar_express(
  steps: int, *, lower: float = 1e-3, cushion: float = 0.024, safety: float = 1.01
) -> Coefficients:
  """Returns the coefficients of Amsel et al. 2025 (The Polar Express, algorithm 1 and appendix G).

  Each step's quintic is the minimax approximation of 1 on the interval that the steps before it
  leave the singular values in, which makes the chain the best of its length for the worst matrix.

  Args:
    steps: Length of the chain.
    lower: The smallest singular value that matters, the largest being 1.
    cushion: Each polynomial is fitted from at least this share of the largest value on, so that
      middling values aren't sacrificed to the smallest.
    safety: Shrinks the argument of all but the last step by this factor, for values that rounding
      has pushed beyond the interval.

  Raises:
    ValueError: `steps` is below 1, or `lower` not between 0 and 1.
  """
  if steps < 1 or not 0 < lower < 1:
    raise ValueError(f'steps must be at least 1 and lower in (0, 1), got {steps} and {lower}')
  chain, upper = [], 1.0
  for step in range(steps):
    quintic = _minimax_quintic(max(lower, cushion * upper), upper)
    # Fitted to a shorter interval, it's no longer centred on the whole one.
    quintic *= 2 / (_evaluate(quintic, lower) + _evaluate(quintic, upper))
    lower = _evaluate(quintic, lower)
    upper = 2 - lower
    shrunk = quintic / safety ** np.array([1, 3, 5]) if step < steps - 1 else quintic
    chain.append(tuple(map(float, shrunk)))
  return tuple(chain)


def orthogonalize(x_NMK: jax.Array, coefficients: Coefficients) -> jax.Array:
  """Returns the nearest orthogonal matrix to each of a stack, up to the chain's accuracy.

  Args:
    x_NMK: Matrices [N, M, K], M <= K (transpose the others: the result transposes with them). A
      matrix of zeros stays zero.
    coefficients: (a, b, c) of x -> a x + b (x x^T) x + c (x x^T)^2 x, one triple a step.

  Raises:
    ValueError: `x_NMK` has another shape.
  """
  if x_NMK.ndim != 3 or x_NMK.shape[1] > x_NMK.shape[2]:
    raise ValueError(f'x must have shape [N, M, K] with M <= K, got {x_NMK.shape}: transpose it')
  norm_N11 = jnp.linalg.norm(x_NMK, axis=(1, 2), keepdims=True)
  # A hundredth below 1, for the first quintic falls off steeply beyond it.
  x_NMK = x_NMK / (norm_N11 * 1.01 + 1e-12)
  wide = x_NMK.shape[2] >= 2 * x_NMK.shape[1]
  length = _STEPS_PER_GRAM if wide else 1
  for start in range(0, len(coefficients), length):
    x_NMK = _multiply_from_left(x_NMK, coefficients[start : start + length])
  return x_NMK


def _multiply_from_left(x_NMK: jax.Array, coefficients: Coefficients) -> jax.Array:
  """Applies steps as one M x M factor, so that only two products have the long side K.

  With y = x x^T and h = a + b y + c y^2, a step makes x into h x and y into h y h (Amsel et al.
  2025, appendix F). All are polynomials in y: symmetric, and they commute.
  """
  y_NMM = x_NMK @ jnp.swapaxes(x_NMK, 1, 2)
  factor_NMM = None
  for step, (a, b, c) in enumerate(coefficients):
    h_NMM = a * jnp.eye(y_NMM.shape[-1], dtype=y_NMM.dtype) + b * y_NMM + c * (y_NMM @ y_NMM)
    factor_NMM = h_NMM if factor_NMM is None else h_NMM @ factor_NMM
    if step < len(coefficients) - 1:
      y_NMM = h_NMM @ (h_NMM @ y_NMM)
  return x_NMK if factor_NMM is None else factor_NMM @ x_NMK


def _evaluate(quintic: np.ndarray, x: float) -> float:
  return float(quintic @ np.array([x, x**3, x**5]))


def _minimax_quintic(lower: float, upper: float) -> np.ndarray:
  """Returns the odd quintic that stays closest to 1 on [lower, upper], by Remez' exchange."""
  if 1 - lower / upper < 1e-5:  # The limit, where the equations below become singular.
    return np.array([15 / 8 / upper, -10 / 8 / upper**3, 3 / 8 / upper**5])
  # The error alternates in sign at the ends and at two extrema between, which are moved until
  # they are where the derivative a + 3 b x^2 + 5 c x^4 vanishes.
  inner = np.array([(3 * lower + upper) / 4, (lower + 3 * upper) / 4])
  for _ in range(100):
    x = np.array([lower, *inner, upper])
    system = np.stack([x, x**3, x**5, [1, -1, 1, -1]], axis=1)
    a, b, c, _ = np.linalg.solve(system, np.ones(4))
    root = np.sqrt(9 * b**2 - 20 * a * c)
    moved = np.sqrt((-3 * b + np.array([-root, root])) / (10 * c))
    if np.abs(moved - inner).max() < 1e-14:
      break
    inner = moved
  return np.array([a, b, c])
