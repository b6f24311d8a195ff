"""SOAP equals its algorithm written out; Sophia and SAM see a second gradient; averages count."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

from bigtrain import tuning
from bigtrain.state import TrainState, begin, init
from bigtrain.train import train_step

RNG = np.random.default_rng(0)
SHAPE = (4, 4)  # A first gradient without a null space, whose basis would be anyone's guess.


def written_out(grads, *, rate, b1, b2, eps, every):
  """Vyas et al. 2024, algorithm 3, in NumPy, for one matrix: yields the parameter's changes."""
  mean, square, left, right = np.zeros(SHAPE), np.zeros(SHAPE), 0.0, 0.0
  u = v = np.eye(SHAPE[0])
  for count, g in enumerate(grads):
    if count:
      mean = b1 * mean + (1 - b1) * g
      square = b2 * square + (1 - b2) * (u.T @ g @ v) ** 2
      root = np.sqrt(square / (1 - b2**count)) + eps
      yield -rate * u @ (u.T @ mean @ v / (1 - b1**count) / root) @ v.T
    else:
      yield np.zeros(SHAPE)
    left, right = b2 * left + (1 - b2) * g @ g.T, b2 * right + (1 - b2) * g.T @ g
    if count == 0:
      u, v = (np.linalg.eigh(c)[1][:, ::-1] for c in (left, right))
    elif count % every == 0:
      rows, columns = (np.argsort(-np.diag(b.T @ c @ b)) for b, c in ((u, left), (v, right)))
      square = square[rows][:, columns]
      u, v = (np.linalg.qr(c @ b)[0] for c, b in ((left, u[:, rows]), (right, v[:, columns])))


def test_soap_equals_its_algorithm_written_out():
  mixed = np.exp(RNG.normal(size=SHAPE))  # So that the covariances are no multiples of 1.
  grads = [mixed * RNG.normal(size=SHAPE) for _ in range(12)]
  step = tuning.soap(0.1, decay=0.0, clip=None, every=4)
  params = {'kernel': np.zeros(SHAPE, np.float32)}
  state = step.init(params)
  expected = written_out(grads, rate=0.1, b1=0.95, b2=0.95, eps=1e-8, every=4)
  update = jax.jit(step.update)
  for g, change in zip(grads, expected, strict=True):
    updates, state = update({'kernel': g.astype(np.float32)}, state, params)
    np.testing.assert_allclose(updates['kernel'], change, rtol=2e-3, atol=2e-5)


def test_soap_without_rotation_is_adam_one_step_late():
  soap = tuning.soap(0.1, decay=0.0, clip=None, longest=1)
  adam = tuning.adamw(0.1, decay=0.0, clip=None, b1=0.95)
  params = {'kernel': np.zeros(SHAPE, np.float32), 'bias': np.zeros(3, np.float32)}
  states = soap.init(params), adam.init(params)
  for index in range(3):
    grads = jax.tree.map(lambda x: RNG.normal(size=x.shape).astype(np.float32), params)
    ours, first = soap.update(grads, states[0], params)
    if index == 0:
      np.testing.assert_array_equal(ours['kernel'], 0)
      states = first, states[1]
      continue
    theirs, second = adam.update(grads, states[1], params)
    np.testing.assert_allclose(ours['kernel'], theirs['kernel'], rtol=1e-4)
    states = first, second


def seen(optimizer, accumulate=1):
  """The state after one step of a toy, and its experiment."""
  experiment = dataclasses.replace(
    toys.experiment(dropout=0.0, batch_norm=False, accumulate=accumulate, ema=0.0),
    optimizer=optimizer,
  )
  batch = experiment.data[0]
  state = begin(experiment, initial_params(), {})
  return jax.jit(lambda s, b: train_step(experiment, s, b)[0])(state, batch), experiment, batch


def initial_params():
  experiment = toys.experiment(dropout=0.0, batch_norm=False)
  state = init(experiment, experiment.data[0])
  return jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(1), p.shape),
                      state.params)  # fmt: skip


@pytest.mark.parametrize('accumulate', [1, 4])
def test_sam_descends_along_the_gradient_uphill(accumulate):
  state, experiment, batch = seen(tuning.sam(optax.sgd(1.0), radius=0.3), accumulate)
  params = initial_params()

  def loss(params):
    return experiment.objective(
      lambda x: experiment.model.apply({'params': params}, x, train=False), batch
    )['loss'].value

  gradient = jax.jit(jax.grad(loss))
  here = gradient(params)
  uphill = jax.tree.map(lambda p, g: p + 0.3 * g / optax.tree.norm(here), params, here)
  expected = jax.tree.map(lambda p, g: p - g, params, gradient(uphill))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, expected)


def test_sophia_knows_the_diagonal_of_a_quadratic():
  diagonal = {'kernel': np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}
  step = tuning.sophia(1.0, decay=0.0, clip=None, b1=0.0, b2=0.0, gamma=1.0)
  params = {'kernel': np.full((2, 2), 0.5, np.float32)}

  def gradient(params):
    return jax.tree.map(jnp.multiply, diagonal, params)

  state = step.init(params)
  _, state = step.update(gradient(params), state, params, grad_fn=gradient)
  # The diagonal is known now: a step of Newton, whatever the sizes.
  updates, _ = step.update(gradient(params), state, params, grad_fn=gradient)
  np.testing.assert_allclose(updates['kernel'], -0.5, rtol=1e-5)
  with pytest.raises(ValueError, match='grad_fn='):
    step.update(gradient(params), step.init(params), params)


def test_sophia_and_schedule_free_train_in_microbatches_as_in_one():
  for make in (tuning.sophia, tuning.schedule_free):
    one, many = (seen(make(0.1), accumulate)[0] for accumulate in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), one.params, many.params)


def test_evaluation_uses_the_average_of_schedule_free():
  step = tuning.schedule_free(0.1, decay=0.0, clip=None)
  params = {'w': jnp.ones(3), 'frozen': jnp.full(2, 7.0)}
  state = step.init({'w': params['w']})
  zs, trained = [], {'w': params['w']}
  for index in range(4):
    updates, state = step.update({'w': jnp.arange(3.0) + index}, state, trained)
    trained = optax.apply_updates(trained, updates)
    zs.append(state.z['w'])
  whole = TrainState(jnp.zeros(()), {**params, **trained}, {}, (state, ()), None)
  # A constant rate: the plain mean of the iterates.
  np.testing.assert_allclose(whole.averaged['w'], np.mean(zs, axis=0), rtol=1e-4)
  np.testing.assert_array_equal(whole.averaged['frozen'], 7.0)


def test_a_state_of_low_precision_changes_little():
  params = {'w': jnp.ones((8, 8))}
  grads = {'w': jnp.asarray(RNG.normal(size=(8, 8)), jnp.float32)}
  ends = []
  for step in (tuning.adamw(0.1), tuning.low_precision(tuning.adamw(0.1))):
    state = step.init(params)
    for _ in range(5):
      updates, state = step.update(grads, state, params)
    ends.append(updates['w'])
  kinds = {x.dtype for x in jax.tree.leaves(state) if x.ndim}
  assert kinds == {jnp.dtype('bfloat16')}
  np.testing.assert_allclose(ends[0], ends[1], rtol=0.02)
