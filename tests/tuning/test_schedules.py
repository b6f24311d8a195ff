"""Schedules peak where they say, fall how they say, and join end to end."""

import jax
import numpy as np
import pytest

from bigtrain import tuning

STEPS = 100


def values(schedule, steps=STEPS):
  return np.array(jax.vmap(schedule)(np.arange(steps + 1)))


@pytest.mark.parametrize(
  ('schedule', 'top', 'end'),
  [
    (tuning.inverse_sqrt(2.0, STEPS, warmup=10), 10, 2 * np.sqrt(11 / 101)),
    (tuning.polynomial(2.0, STEPS, warmup=10, power=3, end=0.1), 10, 0.2),
    (tuning.step_decay(2.0, STEPS, warmup=10), 10, 0.02),
    (tuning.one_cycle(2.0, STEPS, rise=0.1), 10, 2e-4),
  ],
)
def test_one_peak_then_no_rise(schedule, top, end):
  found = values(schedule)
  assert found[0] > 0
  assert found[top] == pytest.approx(2.0) == pytest.approx(found.max())
  assert (np.diff(found[: top + 1]) > 0).all()
  assert (np.diff(found[top:]) <= 1e-6).all()
  assert found[STEPS] == pytest.approx(end, rel=1e-3)


def test_steps_fall_where_they_are_said_to():
  found = values(tuning.step_decay(1.0, STEPS, at=(0.2, 0.6), factor=0.5))
  np.testing.assert_allclose(found[[0, 19, 20, 59, 60, 100]], [1, 1, 0.5, 0.5, 0.25, 0.25])


def test_a_power_of_one_is_a_straight_line():
  line, power = tuning.warmup_linear(1.0, STEPS), tuning.polynomial(1.0, STEPS, power=1.0)
  np.testing.assert_allclose(values(line), values(power), rtol=1e-6)


def test_cycles_repeat_and_shrink():
  found = values(tuning.cyclic(1.0, STEPS, cycles=2, low=0.0, shrink=0.5))
  np.testing.assert_allclose(found[[0, 25, 50, 75, 100]], [0, 1, 0, 0.5, 0], atol=1e-6)


def test_joined_schedules_each_begin_at_their_own_start():
  part = tuning.warmup_linear(1.0, 10, warmup=5)
  found = values(tuning.join([(part, 10), (tuning.constant(3.0), 5)], part), 24)
  np.testing.assert_allclose(found[:10], found[15:25])
  np.testing.assert_allclose(found[10:15], 3.0)


@pytest.mark.parametrize(
  ('make', 'words'),
  [
    (lambda: tuning.step_decay(1.0, 10, at=(1.5,)), r'shares of the run'),
    (lambda: tuning.one_cycle(1.0, 10, rise=1.0), 'before and after'),
    (lambda: tuning.cyclic(1.0, 3, cycles=2), 'at least 2 steps'),
    (lambda: tuning.join([(tuning.constant(1.0), 0)], tuning.constant(1.0)), 'at least 1 step'),
    (lambda: tuning.polynomial(1.0, 0), 'steps must be at least 1'),
  ],
)
def test_nonsense_is_refused(make, words):
  with pytest.raises(ValueError, match=words):
    make()
