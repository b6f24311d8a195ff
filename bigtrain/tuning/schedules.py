"""Learning rates over time, as optax schedules: functions of the step.

Convention: step s is the update that takes parameters s to parameters s + 1, s = 0 ... steps - 1.
The first update already has a rate above 0 (a rate of 0 would waste it), the peak is reached at
step `warmup`, and a schedule that falls has fallen at `steps`, one past its last update, and stays
there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import optax

_WARMUP_SHARE = 0.05
_WARMUP_MOST = 2_000  # Longer runs don't need a longer start.


def constant(value: float) -> optax.Schedule:
  """Returns the same rate for every step."""
  return optax.constant_schedule(value)


def warmup_constant(peak: float, steps: int, *, warmup: int | None = None) -> optax.Schedule:
  """Rises linearly and stays, for `schedule_free`; arguments and errors as for `warmup_cosine`."""
  return _after_warmup(peak, _warmup(steps, warmup), constant(peak))


def warmup_cosine(
  peak: float, steps: int, *, warmup: int | None = None, end: float = 0.0
) -> optax.Schedule:
  """Rises linearly, then falls along half a cosine (Loshchilov and Hutter 2017, SGDR, equation 5).

  Args:
    peak: The highest rate.
    steps: Updates of the whole run.
    warmup: Updates before the peak; None for a twentieth of the run, at most 2,000.
    end: The rate at `steps`, as a share of the peak.

  Raises:
    ValueError: warmup isn't shorter than the run, or steps < 1.

  >>> rate = warmup_cosine(0.1, 100, warmup=10)
  >>> [round(float(rate(step)), 4) for step in (0, 10, 55, 99, 100)]
  [0.0091, 0.1, 0.05, 0.0, 0.0]
  """
  warmup = _warmup(steps, warmup)
  return _after_warmup(peak, warmup, optax.cosine_decay_schedule(peak, steps - warmup, alpha=end))


def warmup_linear(
  peak: float, steps: int, *, warmup: int | None = None, end: float = 0.0
) -> optax.Schedule:
  """Rises linearly, then falls linearly; arguments and errors as for `warmup_cosine`.

  A straight line to 0 is the better default for language models (Bergsma et al. 2025, Straight to
  Zero).
  """
  warmup = _warmup(steps, warmup)
  return _after_warmup(peak, warmup, optax.linear_schedule(peak, peak * end, steps - warmup))


def warmup_stable_decay(
  peak: float, steps: int, *, warmup: int | None = None, decay: int | None = None, end: float = 0.0
) -> optax.Schedule:
  """Rises linearly, stays at the peak, and falls as 1 - sqrt (Haegele et al. 2024, equation 1).

  The stable part can be prolonged, or its checkpoints cooled down, without having known the length
  of the run in advance.

  Args:
    peak: The highest rate.
    steps: Updates of the whole run.
    warmup: Updates before the peak; None for a twentieth of the run, at most 2,000.
    decay: Updates of the fall at the end; None for a fifth of the run.
    end: The rate at `steps`, as a share of the peak.

  Raises:
    ValueError: warmup and decay together are longer than the run, or steps < 1.
  """
  warmup = _warmup(steps, warmup)
  decay = max(1, steps // 5) if decay is None else decay
  if not 0 < decay <= steps - warmup:
    raise ValueError(
      f'decay must be at least 1 and fit into the {steps - warmup} steps after the warm-up, '
      f'got {decay}: use at most {steps - warmup}'
    )
  start = steps - warmup - decay

  def stable_decay(step):
    fallen = jnp.sqrt(jnp.clip((step - start) / decay, 0.0, 1.0))
    return peak * (1.0 - (1.0 - end) * fallen)

  return _after_warmup(peak, warmup, stable_decay)


def inverse_sqrt(peak: float, steps: int, *, warmup: int | None = None) -> optax.Schedule:
  """Rises linearly, then falls as 1 / sqrt(step) (Vaswani et al. 2017); never reaches 0.

  Arguments and errors as for `warmup_cosine`. Without a warm-up the fall begins at once.
  """
  warmup = _warmup(steps, warmup)

  def fall(step):
    return peak * jnp.sqrt((warmup + 1) / (step + warmup + 1))

  return _after_warmup(peak, warmup, fall)


def polynomial(
  peak: float, steps: int, *, power: float = 2.0, warmup: int | None = None, end: float = 0.0
) -> optax.Schedule:
  """Rises linearly, then falls as a power of the steps that are left.

  Arguments and errors as for `warmup_cosine`; `power` 1 is a straight line.
  """
  warmup = _warmup(steps, warmup)
  fall = optax.polynomial_schedule(peak, peak * end, power, steps - warmup)
  return _after_warmup(peak, warmup, fall)


def step_decay(
  peak: float,
  steps: int,
  *,
  at: Sequence[float] = (0.5, 0.75),
  factor: float = 0.1,
  warmup: int | None = 0,
) -> optax.Schedule:
  """Rises linearly, and is multiplied by `factor` at each of some shares of the run.

  Args:
    peak: The highest rate.
    steps: Updates of the whole run.
    at: Shares of the run, each in (0, 1).
    factor: What the rate is multiplied by.
    warmup: Updates before the peak; None for a twentieth of the run, at most 2,000.

  Raises:
    ValueError: a share outside (0, 1), or an error of `warmup_cosine`.
  """
  warmup = _warmup(steps, warmup)
  if any(not 0 < share < 1 for share in at):
    raise ValueError(f'at must hold shares of the run in (0, 1), got {tuple(at)}')
  falls = jnp.asarray([round(share * steps) - warmup for share in at])
  return _after_warmup(peak, warmup, lambda step: peak * factor ** (step >= falls).sum())


def one_cycle(
  peak: float, steps: int, *, rise: float = 0.3, start: float = 0.04, end: float = 1e-4
) -> optax.Schedule:
  """Rises and falls along half cosines (Smith and Topin 2018, Super-Convergence).

  Args:
    peak: The highest rate.
    steps: Updates of the whole run.
    rise: Share of the run before the peak.
    start: The rate at step 0, as a share of the peak.
    end: The rate at `steps`, as a share of the peak.

  Raises:
    ValueError: rise leaves no step on one side of the peak, or steps < 1.
  """
  _warmup(steps, 0)
  top = round(rise * steps)
  if not 0 < top < steps:
    raise ValueError(f'rise must leave steps before and after the peak, got {rise} of {steps}')

  def schedule(step):
    up = peak * (1 - (1 - start) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / top, 1.0))))
    share = jnp.clip((step - top) / (steps - top), 0.0, 1.0)
    down = peak * (end + (1 - end) * 0.5 * (1 + jnp.cos(jnp.pi * share)))
    return jnp.where(step < top, up, down)

  return schedule


def cyclic(
  peak: float, steps: int, *, cycles: int = 4, low: float = 0.1, shrink: float = 1.0
) -> optax.Schedule:
  """Goes up and down in triangles (Smith 2017, Cyclical Learning Rates).

  Args:
    peak: The highest rate, in the middle of the first cycle.
    steps: Updates of the whole run.
    cycles: Triangles in the run.
    low: The rate between them, as a share of the peak.
    shrink: Each triangle's height, in units of the one before it.

  Raises:
    ValueError: fewer than 2 steps a cycle, or no cycle.
  """
  if cycles < 1 or steps < 2 * cycles:
    raise ValueError(f'cycles must be at least 1, of at least 2 steps, got {cycles} in {steps}')

  def schedule(step):
    place = step * cycles / steps
    height = 1 - jnp.abs(2 * (place - jnp.floor(place)) - 1)
    return peak * (low + (1 - low) * height * shrink ** jnp.floor(place))

  return schedule


def join(parts: Sequence[tuple[optax.Schedule, int]], last: optax.Schedule) -> optax.Schedule:
  """Follows each schedule for its number of steps, then the last; each begins at its own step 0.

  Raises:
    ValueError: a part of less than 1 step.
  """
  if any(length < 1 for _, length in parts):
    raise ValueError(f'each part must last at least 1 step, got {[n for _, n in parts]}')
  ends = list(itertools.accumulate(length for _, length in parts))
  return optax.join_schedules([*(schedule for schedule, _ in parts), last], ends)


def _warmup(steps: int, warmup: int | None) -> int:
  if steps < 1:
    raise ValueError(f'steps must be at least 1, got {steps}')
  if warmup is None:
    return min(int(steps * _WARMUP_SHARE), _WARMUP_MOST)
  if not 0 <= warmup < steps:
    raise ValueError(
      f'warmup must be at least 0 and less than the {steps} steps of the run, got {warmup}: '
      f'leave it out for {int(steps * _WARMUP_SHARE)}'
    )
  return warmup


def _after_warmup(peak: float, warmup: int, schedule: optax.Schedule) -> optax.Schedule:
  if not warmup:
    return schedule
  rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
  return optax.join_schedules([rise, schedule], [warmup])
