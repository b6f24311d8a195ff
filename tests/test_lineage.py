"""A run that begins with another: --init, and what is written of it."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import toys

from bigtrain import iteration, lineage
from bigtrain.program import Program
from bigtrain.train import fit


def make(**knobs):
  return toys.experiment(steps=3, every=None, ema=0, **knobs)


def train(experiment, workdir, **options):
  forked = lineage.forked(experiment, workdir, **options) if options else experiment
  return fit(Program(forked), workdir, progress=False).state


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Three generations, each begun with the one before."""
  folder = tmp_path_factory.mktemp('runs')
  names = [str(folder / name) for name in ('first', 'second', 'third')]
  states = [train(make(), names[0])]
  (folder / 'first' / 'record.json').write_text(json.dumps({'experiment': 'toys', 'knobs': {}}))
  states.append(train(make(seed=1), names[1], init=f'{names[0]}@3', keep='Dense_1/.*'))
  states.append(train(make(seed=2), names[2], init=names[1]))
  return names, states


def test_a_fork_begins_with_the_parameters_of_the_other_run(runs):
  names, states = runs
  begun = Program(lineage.forked(make(seed=1), 'elsewhere', names[0], keep='Dense_1/.*')).init()
  first, fresh = jax.device_get(states[0]), Program(make(seed=1)).init()
  jax.tree.map(np.testing.assert_array_equal, begun.params['Dense_0'], first.params['Dense_0'])
  jax.tree.map(np.testing.assert_array_equal, begun.params['Dense_1'], fresh.params['Dense_1'])


def test_lineage_goes_from_run_to_run(runs):
  names, _ = runs
  assert lineage.read(names[0]) is None
  second = lineage.read(names[1])
  parent = {'workdir': names[0], 'step': 3, 'experiment': 'toys', 'from': []}
  assert second['from'] == [parent]
  assert second['kept'] == ['Dense_1/bias', 'Dense_1/kernel']
  assert (second['taken'], second['fresh'], second['unused']) == (
    6, [], ['Dense_1/bias', 'Dense_1/kernel'],
  )  # fmt: skip
  third = lineage.read(names[2])
  assert third['from'] == [{'workdir': names[1], 'step': 3, 'experiment': None, 'from': [parent]}]


def test_going_on_leaves_the_lineage_and_asks_for_the_same_start(runs):
  names, states = runs
  kept = lineage.read(names[1])
  again = train(make(seed=1), names[1], init=names[0])
  jax.tree.map(np.testing.assert_array_equal, again.params, states[1].params)
  assert lineage.read(names[1]) == kept
  for workdir, init, words in (
    (names[1], names[2], ['has begun from', names[0], 'not with --init']),
    (names[0], names[1], ['has begun without --init']),
    (names[0], names[0], ['is --workdir itself']),
    (names[1], f'{names[0]}@2', ['holds no checkpoint of step 2', 'choose one of [']),
    (names[1], '/nowhere', ['--init', '/nowhere holds no checkpoint', 'name a trained run']),
  ):
    toys.check_sentence(lambda w=workdir, i=init: lineage.forked(make(), w, i), words, '--')
  toys.check_sentence(
    lambda: lineage.forked(make(), 'x', names[0], rename=['a->b']), ["'a->b'"], '--init_rename'
  )
  with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
    lineage.forked(make(), 'x', names[0], keep='(')


def test_what_it_began_with_is_evaluated_too_and_again_after_a_break(runs, tmp_path):
  names, states = runs
  before = Program(make()).evaluate('held_out', states[0])
  experiment = dataclasses.replace(make(), start=iteration.warm_start(names[0]))
  evals = {'held_out': dataclasses.replace(experiment.evals['held_out'], every=2)}
  program = Program(dataclasses.replace(experiment, evals=evals))
  for _ in range(2):
    results = fit(program, str(tmp_path), progress=False).results
    assert list(results) == ['held_out_before', 'held_out']
    assert results['held_out_before'] == pytest.approx(before, rel=1e-5)
    assert results['held_out'] != results['held_out_before']


def test_a_soup_is_the_mean_and_keeps_its_lineage(runs, tmp_path):
  names, states = runs
  start = iteration.warm_start(iteration.soup(names))
  experiment = dataclasses.replace(make(), start=start)
  begun = Program(experiment).init()
  mean = jax.tree.map(lambda *x: sum(map(np.asarray, x)) / 3, *(s.params for s in states))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), begun.params, mean)
  lineage.write(str(tmp_path), start)
  assert [node['workdir'] for node in lineage.read(str(tmp_path))['from']] == names


def test_a_greedy_soup_takes_what_helps(runs):
  names, _ = runs
  scores = {(0,): 0.5, (1,): 0.7, (2,): 0.6, (1, 2): 0.65, (1, 0): 0.7}
  asked = []

  def score(soup):
    asked.append(tuple(names.index(workdir) for workdir, _ in soup.runs))
    return scores[asked[-1]]

  assert iteration.greedy_soup(names, score).runs == [(names[1], 3), (names[0], 3)]
  assert asked == [(0,), (1,), (2,), (1, 2), (1, 0)]
  with pytest.raises(ValueError, match='at least one run'):
    iteration.soup([])


def test_an_equal_average_from_a_step_on_with_statistics_of_its_own(tmp_path):
  plain = make(dropout=0)
  experiment = dataclasses.replace(plain, steps=6, swa_start=4, evals={})
  workdir = str(tmp_path)
  after = [  # The same steps, kept at each.
    fit(Program(dataclasses.replace(plain, steps=n, evals={})), progress=False).state
    for n in (4, 5, 6)
  ]
  state = fit(Program(experiment), workdir, progress=False).state
  mean = jax.tree.map(lambda *x: sum(map(np.asarray, x)) / 3, *(s.params for s in after))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.averaged, mean)
  iterator = experiment.data.iterator(0, 1)
  x = np.stack([next(iterator)['image'].reshape(8, -1) for _ in range(6)])
  y = x @ mean['Dense_0']['kernel'] + mean['Dense_0']['bias']
  stats = state.model_state['batch_stats']['BatchNorm_0']
  np.testing.assert_allclose(stats['mean'], y.mean((0, 1)), atol=1e-4)
  np.testing.assert_allclose(stats['var'], y.var(1).mean(0), rtol=1e-3)
  again = fit(Program(experiment), workdir, progress=False).state  # What was saved is what is used.
  jax.tree.map(np.testing.assert_array_equal, again.model_state, state.model_state)
  for changed in (dict(swa_start=6), dict(swa_start=0), dict(swa_start=4, ema=0.9)):
    with pytest.raises(ValueError, match='swa_start must be a step before the last of 6'):
      dataclasses.replace(experiment, **changed)
