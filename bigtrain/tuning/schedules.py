"""Learning rates over time, as optax schedules: functions of the step.

Convention: step s is the update that takes parameters s to parameters s + 1, s = 0 ... steps - 1.
The first update already has a rate above 0 (a rate of 0 would waste it), the peak is reached at
step `warmup`, and a schedule that falls has fallen at `steps`, one past its last update, and stays
there.
"""

from __future__ import annotations

import jax.numpy as jnp
import optax

_WARMUP_SHARE = 0.05
_WARMUP_MOST = 2_000  # Longer runs don't need a longer start.


def constant(value: float) -> optax.Schedule:
  """Returns the same rate for every step."""
  return optax.constant_schedule(value)


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
