"""A run whose held-out loss rises ends early, at the same step however often it was interrupted."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import toys

from bigtrain import train
from bigtrain.program import Program


def experiment(patience, **knobs):
  # Labels of noise: what is learned by heart helps nobody, and the held-out loss rises.
  found = toys.experiment(steps=60, every=5, lr=0.05, **knobs)
  held_out = dataclasses.replace(found.evals['held_out'], patience=patience)
  return dataclasses.replace(found, evals={**found.evals, 'held_out': held_out})


def losses(folder):
  rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  return [row['held_out/loss'] for row in rows if 'held_out/loss' in row]


def test_a_run_out_of_patience_ends_and_an_interrupted_one_at_the_same_step(tmp_path):
  program = Program(experiment(2))
  whole = train.fit(program, str(tmp_path / 'whole'), progress=False)
  found = losses(tmp_path / 'whole')
  assert len(found) - 1 - np.argmin(found) == 2  # No sooner and no later.
  assert whole.step == 5 * len(found) < 60
  assert whole.stopped is None
  assert set(whole.results) == {'held_out', 'test'}

  # Interrupted after the lowest loss, just after one evaluation of the two that are waited for.
  cut = dataclasses.replace(experiment(None), steps=whole.step - 5)
  train.fit(Program(cut), str(tmp_path / 'cut'), progress=False)
  resumed = train.fit(program, str(tmp_path / 'cut'), progress=False)
  assert (resumed.step, resumed.results) == (whole.step, whole.results)
  jax.tree.map(np.testing.assert_array_equal, resumed.state, whole.state)
  assert losses(tmp_path / 'cut') == found
  again = train.fit(program, str(tmp_path / 'cut'), progress=False)
  assert (again.step, again.results) == (whole.step, whole.results)


@pytest.mark.parametrize('knobs', [{'patience': 0}, {'patience': 2, 'every': None}])
def test_patience_that_waits_for_nothing_is_refused(knobs):
  held_out = toys.experiment().evals['held_out']
  with pytest.raises(ValueError, match=r'Eval\.patience must be at least 1 evaluation'):
    dataclasses.replace(held_out, **knobs)


def test_an_average_up_to_the_last_step_needs_a_last_step():
  with pytest.raises(ValueError, match='use one of them, or ema'):
    dataclasses.replace(experiment(2, ema=0.0), swa_start=30)
