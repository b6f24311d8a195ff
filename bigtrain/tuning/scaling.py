"""Scaling laws: from the losses of small runs to that of a large one.

L(N, D) = limit + a / N^alpha + b / D^beta, for N parameters and D examples seen (Hoffmann et al.
2022, Training Compute-Optimal Large Language Models, approach 3). N counts every parameter, and D
what a batch counts; another unit of D changes b alone. The law is one of fresh data: of runs that
see a record again and again it says too much good.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_GRID = np.array([0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4])  # Exponents to begin with.
_STARTS = 6  # Of them, the best pairs.
_BOUNDS = (0.01, 3.0)  # Of an exponent.
_AT_BOUND = 0.01  # Of a bound: as good as at it.
_FAR = 50.0  # Of a logarithm.
_LEVELS = 3  # Of sizes and of lengths, or an exponent cannot be told from the limit.
_ALIKE = 0.995  # Correlation of log N and log D from which their shares cannot be told apart.


@dataclasses.dataclass(frozen=True)
class ScalingLaw:
  """L(N, D) = limit + a / N^alpha + b / D^beta.

  Attributes:
    limit: The loss that neither size nor data lowers.
    a: What a model of 1 parameter would lose more.
    b: What 1 example would.
    alpha: The exponent of size.
    beta: The exponent of data.
  """

  limit: float
  a: float
  b: float
  alpha: float
  beta: float

  def loss(self, parameters: Any, examples: Any) -> Any:
    """Returns the loss of models of so many parameters after so many examples."""
    n, d = np.asarray(parameters, float), np.asarray(examples, float)
    return self.limit + self.a * n**-self.alpha + self.b * d**-self.beta

  def optimum(self, flops: float, cost: Cost) -> tuple[float, float]:
    """Returns the parameters and examples of the least loss that so many operations can reach."""
    a, alpha, b, beta, power = self.a, self.alpha, self.b, self.beta, cost.power
    # D = flops / cost(N) in the law; the derivative by log N is 0 where the two terms balance.
    log_n = np.log(alpha * a / (power * beta * b)) + beta * np.log(flops / cost.factor)
    n = np.exp(log_n / (alpha + power * beta))
    return float(n), float(flops / cost(n))


@dataclasses.dataclass(frozen=True)
class Cost:
  """Floating-point operations of an example: factor * N^power.

  Of a large transformer the power is 1, and the factor 6 times the tokens of an example.
  """

  factor: float
  power: float = 1.0

  def __call__(self, parameters: Any) -> Any:
    """Returns the operations of an example in models of so many parameters."""
    return self.factor * np.asarray(parameters, float) ** self.power

  @classmethod
  def fitted(cls, parameters: Sequence[float], flops: Sequence[float]) -> Cost:
    """Returns the cost that runs of at least two sizes had, by least squares of logarithms."""
    power, factor = np.polyfit(np.log(np.asarray(parameters)), np.log(np.asarray(flops)), 1)
    return cls(float(np.exp(factor)), float(power))


def fit_scaling_law(
  parameters: Sequence[float], examples: Sequence[float], losses: Sequence[float], *,
  delta: float = 1e-3,
) -> ScalingLaw:  # fmt: skip
  """Fits the law by the Huber loss of log L, from several starts.

  Args:
    parameters: Of each run, [R].
    examples: That it had seen, [R].
    losses: That it had then, [R].
    delta: The relative error from which one counts linearly and no longer by its square.

  Raises:
    ValueError: The runs can't tell the law's five numbers: too few sizes or lengths, both growing
      in step, or a loss that isn't positive.
  """
  points = _points(parameters, examples, losses)
  return min((_descend(points, x, delta) for x in _starts(points)), key=lambda found: found[0])[1]


def refit_scaling_law(
  parameters: Sequence[float], examples: Sequence[float], losses: Sequence[float],
  runs: Sequence[Any], *, law: ScalingLaw, refits: int = 100, delta: float = 1e-3, seed: int = 0,
) -> list[ScalingLaw]:  # fmt: skip
  """Fits the law again to runs drawn with replacement: a bootstrap, whose spread is the law's.

  Points of one run are drawn together, for their errors are of one kind. Draws that can't tell the
  law are drawn again. Of few runs the spread is too narrow rather than too wide.

  Args:
    parameters: As for `fit_scaling_law`, as are examples, losses and delta.
    examples: See there.
    losses: See there.
    runs: The run of each point, [R].
    law: Fitted to all: each refit begins there.
    refits: How many.
    delta: See there.
    seed: Of the draws.
  """
  n, d, loss = (np.asarray(x, float) for x in (parameters, examples, losses))
  names = sorted(set(runs), key=str)
  members = [np.flatnonzero([run == name for run in runs]) for name in names]
  rng = np.random.default_rng(seed)
  found: list[ScalingLaw] = []
  for _ in range(20 * refits):
    if len(found) == refits:
      break
    take = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
    try:
      points = _points(n[take], d[take], loss[take])
    except ValueError:
      continue
    found.append(_descend(points, _inward(law, points), delta)[1])
  return found


def law_doubts(law: ScalingLaw, intervals: Mapping[str, tuple[float, float]]) -> list[str]:
  """Returns sentences on what in a fitted law isn't to be trusted; none where all is well.

  Args:
    law: As fitted.
    intervals: Of its numbers, by name: both ends.
  """
  said = []
  for name in ('alpha', 'beta'):
    value, (low, high) = getattr(law, name), intervals[name]
    ends = [end for end in _BOUNDS if abs(value / end - 1) < _AT_BOUND]
    if ends:
      said.append(
        f'{name} is {value:.3g}, at the bound of what is fitted: the losses do not tell it. Give '
        f'{"sizes" if name == "alpha" else "lengths"} further apart'
      )
    elif high - low > value:
      said.append(
        f'{name} is {value:.3g}, and its interval, {low:.3g} to {high:.3g}, is wider than that: '
        f'give more {"sizes" if name == "alpha" else "lengths"}, further apart, or more seeds'
      )
  low, high = intervals['limit']
  if high - low > law.limit:
    said.append(
      f'the limit is {law.limit:.3g}, and its interval, {low:.3g} to {high:.3g}, is wider than '
      'that: what the law says far beyond these runs is not to be relied on'
    )
  return said


@dataclasses.dataclass(frozen=True)
class _Points:
  """Logarithms; sizes and lengths around their means, where the law's numbers are of one size."""

  n: np.ndarray
  d: np.ndarray
  loss: np.ndarray
  mean_n: float
  mean_d: float


def _points(parameters: Any, examples: Any, losses: Any) -> _Points:
  n, d, loss = (np.asarray(x, float) for x in (parameters, examples, losses))
  if not (np.isfinite(loss).all() and (loss > 0).all()):
    raise ValueError('a scaling law is of losses that are finite and above 0: leave others out')
  for what, values in (('sizes', n), ('lengths', d)):
    if len(np.unique(values)) < _LEVELS:
      raise ValueError(
        f'a scaling law takes at least {_LEVELS} {what}, got {len(np.unique(values))}'
      )
  n, d = np.log(n), np.log(d)
  if abs(np.corrcoef(n, d)[0, 1]) > _ALIKE:
    raise ValueError(
      'sizes and lengths grow in step, so that their shares of the loss cannot be told apart: give '
      'each size two lengths or more'
    )
  return _Points(n - n.mean(), d - d.mean(), np.log(loss), n.mean(), d.mean())


def _starts(points: _Points) -> list[np.ndarray]:
  """For each pair of exponents the law is linear: the pairs that fit best by least squares."""
  from scipy.optimize import nnls

  loss = np.exp(points.loss)
  tried = []
  for alpha in _GRID:
    for beta in _GRID:
      terms = np.stack([np.ones_like(loss), np.exp(-alpha * points.n), np.exp(-beta * points.d)], 1)
      weights, error = nnls(terms / loss[:, None], np.ones_like(loss))
      logs = np.log(np.maximum(weights, 1e-3 * loss.min()))
      tried.append((error, np.array([*logs, alpha, beta])))
  tried.sort(key=lambda pair: pair[0])
  return [x for _, x in tried[:_STARTS]]


def _inward(law: ScalingLaw, points: _Points) -> np.ndarray:
  logs = np.log(np.maximum([law.limit, law.a, law.b], 1e-300))
  shift = np.array([0.0, law.alpha * points.mean_n, law.beta * points.mean_d])
  return np.array([*(logs - shift), law.alpha, law.beta])


def _descend(points: _Points, start: np.ndarray, delta: float) -> tuple[float, ScalingLaw]:
  """Minimises from one start; Gauss-Newton, for L-BFGS creeps along the valley of a and alpha."""
  from scipy.optimize import least_squares

  def terms(x):
    limit, a, b, alpha, beta = x
    return np.stack([np.full_like(points.n, limit), a - alpha * points.n, b - beta * points.d], 1)

  def error(x):
    return np.logaddexp.reduce(terms(x), axis=1) - points.loss

  def slopes(x):
    shares = terms(x)
    shares = np.exp(shares - np.logaddexp.reduce(shares, axis=1, keepdims=True))
    return np.column_stack([shares, -shares[:, 1] * points.n, -shares[:, 2] * points.d])

  low, high = np.array([[-_FAR, _FAR]] * 3 + [_BOUNDS] * 2).T
  found = least_squares(
    error, np.clip(start, low + 1e-6, high - 1e-6), bounds=(low, high), loss='huber',
    jac=slopes,  # pyright: ignore[reportArgumentType]
    f_scale=delta, x_scale='jac', ftol=1e-10, xtol=1e-10, gtol=1e-12, max_nfev=200,
  )  # fmt: skip
  limit, a, b, alpha, beta = found.x
  limit, a, b = np.exp([limit, a + alpha * points.mean_n, b + beta * points.mean_d])
  return found.cost, ScalingLaw(*map(float, (limit, a, b, alpha, beta)))
