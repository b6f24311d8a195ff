"""Experiments trained side by side end as each would have alone."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import toys

from bigtrain.cohort import Cohort
from bigtrain.lifting import Lifted, Trace
from bigtrain.program import Program
from bigtrain.train import fit

STEPS = 12


def halved(params, model_state):
  """Stands for what another run has learned."""
  return jax.tree.map(lambda x: x / 2, params), model_state


@pytest.fixture(scope='module')
def trained():
  knobs = [dict(seed=s, lr=lr) for s, lr in ((0, 0.01), (1, 0.01), (2, 0.03), (3, 0.001))]
  experiments = [toys.experiment(steps=STEPS, every=None, batch_norm=False, **k) for k in knobs]
  experiments[2] = dataclasses.replace(experiments[2], start=halved)
  cohort = Cohort()
  members = [cohort.member(e, k['lr']) for e, k in zip(experiments, knobs, strict=True)]
  for until in (5, STEPS):
    for chunk in cohort.chunks([(m, m.step) for m in members]):
      cohort.train(chunk, until)
  return cohort, members


@pytest.mark.parametrize('index', [1, 2])
def test_a_member_ends_as_it_would_have_alone(trained, index):
  cohort, members = trained
  member = members[index]
  assert member.step == STEPS
  alone = fit(Program(member.experiment), progress=False)
  # Without BatchNorm: the bias before it has no gradient but rounding, which Adam blows up.
  same = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5)
  jax.tree.map(same, member.state.params, jax.device_get(alone.state.params))
  found = cohort.evaluate(members, 'held_out')[index]
  expected = {key: alone.results['held_out'][key] for key in found}  # Without intervals.
  assert found == pytest.approx(expected, rel=1e-3)


def test_members_that_differ_in_numbers_share_a_compilation(trained):
  cohort, members = trained
  assert len({member.traces.kind for member in members}) == 1
  assert len(cohort.chunks([(member, 0) for member in members])) == 1
  other = cohort.member(toys.experiment(steps=STEPS, every=None))
  assert len(cohort.chunks([(member, 0) for member in (*members, other)])) == 2


def test_a_model_that_depends_on_the_seed_is_refused_one_key():
  cohort = Cohort()
  experiment = toys.experiment()
  cohort.member(experiment, 'key')
  other = dataclasses.replace(experiment, model=toys.Net(dropout=0.5))
  with pytest.raises(ValueError, match='depends on the seed'):
    cohort.member(other, 'key')


def loop(rate, power):
  """A function whose numbers stand in a scan, a while loop, a branch and a called function."""

  def function(x):
    y, _ = jax.lax.scan(lambda c, a: (c + rate * a, None), x[0], x)
    y = jax.lax.while_loop(lambda v: v < power, lambda v: v * 2 + rate, y)
    y = jax.lax.cond(y > 3, lambda v: v - rate, lambda v: v + power, y)
    return jax.jit(lambda v: v * rate)(y), jax.nn.relu(y - power)

  return function


def test_a_lifted_function_equals_each_that_it_was_made_of():
  x = np.arange(1, 5, dtype=np.float32)
  pairs = [(0.5, 2.0), (0.25, 7.0), (0.5, 30.0)]
  traces = [Trace(loop(*pair), x) for pair in pairs]
  lifted = Lifted(traces)
  for pair, trace in zip(pairs, traces, strict=True):
    np.testing.assert_allclose(lifted(lifted.constants(trace), x), loop(*pair)(x), rtol=1e-6)
  assert lifted.fits(Trace(loop(0.1, 0.2), x))
  assert not Lifted(traces[:1]).fits(traces[1])


def test_functions_that_differ_in_more_than_numbers_are_refused():
  x = np.ones(3, np.float32)
  with pytest.raises(ValueError, match='more than numbers'):
    Lifted([Trace(jax.numpy.square, x), Trace(lambda x: x + x, x)])
