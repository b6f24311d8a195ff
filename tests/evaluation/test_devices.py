"""No metric depends on how many devices measure it; one program serves all of an evaluation."""

import dataclasses

import jax
import pytest

from bigtrain import appraisal, data, evaluation
from bigtrain.experiment import Eval
from bigtrain.program import Program
from tests import toys

TRACES = []


def objective(apply, batch):
  TRACES.append(batch)
  return evaluation.softmax_cross_entropy(apply, batch)


@pytest.fixture(scope='module')
def experiment():
  made = toys.experiment(batch=8)
  source = toys.source(21)  # Batches of 8, 8 and 5.
  metrics = objective, evaluation.Classification(resamples=50)
  return dataclasses.replace(made, evals={'held_out': Eval(data.once(source, 8), *metrics)})


@pytest.fixture(scope='module')
def alone(experiment):
  return measured(experiment, 1)


def measured(experiment, count):
  program = Program(experiment, devices=jax.devices()[:count])
  assert program.mesh.size == count
  state = program.init()
  TRACES.clear()
  program.evaluate('held_out', state)
  found = appraisal.appraise(program, 'held_out', state)
  assert len(TRACES) == 1  # Neither the ragged end nor a closer look is another program.
  return found.metrics


@pytest.mark.parametrize('count', [2, 8])
def test_no_metric_depends_on_the_number_of_devices(experiment, alone, count):
  assert measured(experiment, count) == pytest.approx(alone, abs=1e-6)
  assert {'loss_low', 'brier', 'roc_auc_ovo_low', 'calibration_error'} <= set(alone)


@pytest.mark.slow
def test_a_million_predictions_take_seconds():
  import time

  import numpy as np

  rng = np.random.default_rng(0)
  label = rng.integers(0, 10, 1_000_000)
  logits = rng.normal(size=(len(label), 10)).astype(np.float32)
  logits[np.arange(len(label)), label] += 1
  table = {'log_probability': np.asarray(jax.nn.log_softmax(logits)), 'label': label}
  start = time.process_time()  # Of all threads: an upper bound of what 2 cores take.
  report = evaluation.Classification().report(table)
  # 2.5 seconds of processor time were measured.
  assert time.process_time() - start < 10
  assert all(np.isfinite(value) for value in report.values())
