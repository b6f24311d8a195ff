"""What frozen features know: a linear probe in closed form, and the nearest neighbours.

Letters: N examples, M queries, D features, C classes.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class LinearProbe:
  """Scores of classes, linear in features.

  Attributes:
    kernel_DC: Weights.
    bias_C: Offsets.
  """

  kernel_DC: np.ndarray
  bias_C: np.ndarray

  def scores(self, features_MD: np.ndarray) -> np.ndarray:
    """Returns [M, C]; the largest names the class."""
    return np.asarray(features_MD, np.float64) @ self.kernel_DC + self.bias_C


def fit_linear_probe(
  features_ND: np.ndarray,
  label_N: np.ndarray,
  classes: int,
  *,
  penalty: float = 1.0,
  shots: int | None = None,
  seed: int = 0,
) -> LinearProbe:
  """Returns the ridge regression onto classes, in closed form (as in few-shot probes of Kolesnikov
  et al. 2020 and later).

  `(X' X + penalty I)^-1 X' Y` with centred X and Y one-hot, -1 and 1; the offset isn't penalised.
  With fewer examples than features the dual form of the same solution is solved.

  Args:
    features_ND: Of examples to learn from.
    label_N: Their classes, in 0 ... C - 1.
    classes: C.
    penalty: In squared units of the features, above 0.
    shots: Examples of each class that are used, drawn at random; None is all.
    seed: Of the drawing.

  Raises:
    ValueError: The penalty isn't above 0, or a class has fewer examples than shots.
  """
  if not penalty > 0:
    raise ValueError(f'fit_linear_probe: penalty must be above 0, got {penalty}')
  label_N = np.asarray(label_N)
  if shots is not None:
    rng = np.random.default_rng(seed)
    rows = []
    for c in range(classes):
      own = np.flatnonzero(label_N == c)
      if len(own) < shots:
        raise ValueError(
          f'fit_linear_probe: class {c} has {len(own)} examples, too few for shots={shots}'
        )
      rows.append(rng.choice(own, shots, replace=False))
    chosen = np.concatenate(rows)
    features_ND, label_N = np.asarray(features_ND)[chosen], label_N[chosen]
  x_ND = np.asarray(features_ND, np.float64)
  y_NC = 2.0 * (label_N[:, None] == np.arange(classes)) - 1
  mean_D, mean_C = x_ND.mean(axis=0), y_NC.mean(axis=0)
  x_ND, y_NC = x_ND - mean_D, y_NC - mean_C
  size, width = x_ND.shape
  if size < width:
    kernel_DC = x_ND.T @ np.linalg.solve(x_ND @ x_ND.T + penalty * np.eye(size), y_NC)
  else:
    kernel_DC = np.linalg.solve(x_ND.T @ x_ND + penalty * np.eye(width), x_ND.T @ y_NC)
  return LinearProbe(kernel_DC, mean_C - mean_D @ kernel_DC)


def nearest_neighbours(
  features_ND: np.ndarray,
  label_N: np.ndarray,
  queries_MD: np.ndarray,
  classes: int,
  *,
  count: int = 10,
  temperature: float = 0.07,
) -> np.ndarray:
  """Returns votes of the nearest examples by cosine, [M, C], each row adding to 1.

  A vote weighs `exp(cosine / temperature)` (Wu et al. 2018, section 3.4).

  Args:
    features_ND: Of examples whose classes are known.
    label_N: Their classes.
    queries_MD: Features to be named.
    classes: C.
    count: How many neighbours vote, at most N.
    temperature: How much nearer ones count for more.
  """
  known, queries = (np.asarray(x, np.float32) for x in (features_ND, queries_MD))
  known, queries = (
    x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (known, queries)
  )
  count = min(count, len(known))
  one_hot_NC = np.asarray(label_N)[:, None] == np.arange(classes)
  parts = [np.zeros((0, classes))]
  for begin in range(0, len(queries), 1_000):
    cosine = queries[begin : begin + 1_000] @ known.T
    near = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
    weight = np.exp((np.take_along_axis(cosine, near, axis=1) - 1) / temperature)
    votes = np.einsum('mk,mkc->mc', weight, one_hot_NC[near])
    parts.append(votes / votes.sum(axis=1, keepdims=True))
  return np.concatenate(parts)
