"""A student learns from teachers that lie beside it and stay as they are."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys
from toys import check_sentence, initialised

from bigtrain import architecture, evaluation, iteration
from bigtrain.program import Program
from bigtrain.state import init, shapes_of
from bigtrain.train import fit

VIT = architecture.ViT(classes=10, patch=2, depth=2, width=8, heads=2)
IMAGE = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
BATCH = {'image': IMAGE, 'label': np.array([1, 2, 3])}


def taught(teachers, runs, **options):
  """Returns an experiment whose student is a perceptron."""
  return dataclasses.replace(
    toys.experiment(steps=3, every=None),
    model=iteration.Taught(architecture.MLP(widths=(8,), classes=10), teachers),
    objective=functools.partial(evaluation.taught, **options),
    start=iteration.teachers_from(*runs),
    trainable=iteration.STUDENT,
  )


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Workdirs of two teachers, with dropout and batch statistics."""
  places = [str(tmp_path_factory.mktemp('teacher')) for _ in range(2)]
  for seed, place in enumerate(places):
    fit(Program(toys.experiment(steps=2, seed=seed, every=None)), place, progress=False)
  return places


def test_teachers_of_another_family_stay_as_they_were_trained(runs):
  experiment = taught((toys.Net(), toys.Net()), runs)
  before = Program(experiment).init()
  after = fit(Program(experiment), progress=False).state
  for i, run in enumerate(runs):
    own = iteration.Checkpoints(run).arrays()
    kept = {**after.params[f'teachers_{i}'], **after.model_state['batch_stats'][f'teachers_{i}']}
    for name in ('Dense_0', 'Dense_1', 'BatchNorm_0'):
      for leaf, x in kept[name].items():
        path = f'{name}/{leaf}'
        np.testing.assert_array_equal(x, own.get(path, own.get(f'batch_stats/{path}')))
  assert 'teachers' not in str(jax.tree_util.tree_structure((after.opt_state, after.ema)))
  changed = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, after.params)
  assert all(jax.tree.leaves(changed['student']))


def test_several_teachers_answer_with_the_mean_of_their_logits(runs):
  experiment = taught((toys.Net(), toys.Net()), runs)
  state = Program(experiment).init()
  variables = {'params': state.params, **state.model_state}
  got = experiment.model.apply(variables, IMAGE, train=True, method='teach')
  each = []
  for i in range(2):
    own = {name: part[f'teachers_{i}'] for name, part in variables.items()}
    each.append(toys.Net().apply(own, IMAGE, train=False))
  np.testing.assert_allclose(got, sum(each) / 2, rtol=1e-5, atol=1e-6)
  alone = experiment.model.apply(variables, IMAGE, train=False)
  student = experiment.model.student.apply({'params': state.params['student']}, IMAGE, train=False)
  np.testing.assert_array_equal(alone, student)


@pytest.fixture(scope='module')
def twins():
  """A student that is its teacher, with a projection that changes nothing."""
  model = iteration.Taught(VIT, (VIT.clone(),), projections=(8,))
  own = initialised(VIT, IMAGE)['params']
  projection = {'kernel': np.eye(8, dtype=np.float32), 'bias': np.zeros(8, np.float32)}
  return model, {'student': own, 'teachers_0': own, 'projections_0': projection}


def imitation(model, params, **options):
  def apply(*args, **kwargs):
    return model.apply({'params': params}, *args, train=True, **kwargs)

  means = evaluation.taught(apply, BATCH, **options)
  return {name: float(mean.value) for name, mean in means.items()}


SEEN = dict(
  hidden={'student/block_0': 'teachers_0/block_0'},
  attention={'student/block_1/attention': 'teachers_0/block_1/attention'},
)


def test_what_is_imitated_is_the_divergence_the_states_and_the_attention(twins):
  model, params = twins
  same = imitation(model, params, **SEEN)
  for name in ('loss', 'divergence', 'hidden', 'attention'):
    assert same[name] == pytest.approx(0, abs=1e-6)
  assert same['agreement'] == 1
  other = {**params, 'student': initialised(VIT, IMAGE, seed=7)['params']}
  got = imitation(model, other, **SEEN, hidden_weight=2.0, attention_weight=3.0)
  parts = got['divergence'], 2 * got['hidden'], 3 * got['attention']
  assert min(parts) > 1e-4
  assert got['loss'] == pytest.approx(sum(parts), rel=1e-5)
  states = [
    VIT.apply({'params': own}, IMAGE, train=False, capture_intermediates=True, mutable=True)[1]
    for own in (other['student'], other['teachers_0'])
  ]
  ours, theirs = (s['intermediates']['block_0']['__call__'][0] for s in states)
  assert got['hidden'] == pytest.approx(float(jnp.square(ours - theirs).mean()), rel=1e-5)
  ours, theirs = (s['intermediates']['block_1']['attention']['attention'][0] for s in states)
  np.testing.assert_allclose(ours.sum(-1), 1, rtol=1e-5)
  divergence = (theirs * (jnp.log(theirs) - jnp.log(ours))).sum(-1).mean()
  assert got['attention'] == pytest.approx(float(divergence), rel=1e-3)


def test_no_gradient_reaches_a_teacher_and_initialising_sees_what_training_sees(twins):
  model, params = twins
  experiment = dataclasses.replace(
    toys.experiment(), model=model, objective=functools.partial(evaluation.taught, **SEEN)
  )
  state = jax.eval_shape(functools.partial(init, experiment), shapes_of(experiment.data))
  assert set(state.params) == {'student', 'teachers_0', 'projections_0'}
  assert not state.model_state

  def loss(params):
    def apply(*args, **kwargs):
      return model.apply({'params': params}, *args, train=True, **kwargs)

    return evaluation.taught(apply, BATCH)['loss'].total

  other = {**params, 'student': initialised(VIT, IMAGE, seed=7)['params']}
  gradient = jax.grad(loss)(other)
  assert not any(g.any() for g in jax.tree.leaves(gradient['teachers_0']))
  assert any(g.any() for g in jax.tree.leaves(gradient['student']))


def test_what_does_not_fit_is_named(runs, twins):
  check_sentence(
    lambda: imitation(*twins, hidden={'student/block_9': 'teachers_0/block_0'}),
    ["'student/block_9'"],
    'no module',
  )
  wrong = taught((architecture.MLP(widths=(8,), classes=10),), runs[:1])
  check_sentence(lambda: Program(wrong).init(), [runs[0], 'head/'], '.*is no run of teacher 0')
  shared = iteration.Taught(VIT, (VIT,))
  check_sentence(lambda: initialised(shared, IMAGE), ['model.clone()'], 'student and teachers')
  few = taught((toys.Net(),), runs)
  check_sentence(lambda: Program(few).init(), ['as many teachers'], 'there is no teacher 1')
