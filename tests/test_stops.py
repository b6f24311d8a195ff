"""Signals amid a wait: a valid checkpoint, the exit code, and the same numbers later."""

import dataclasses
import os
import signal
import threading
import time

import jax
import numpy as np
import pytest
import toys

from bigtrain import evaluation, train
from bigtrain.experiment import Eval
from bigtrain.program import Program


class Slow:
  """A source whose records take their time from one on, as a stalled disk would."""

  def __init__(self, inner, reached):
    self.inner, self.reached, self.stalled = inner, reached, False

  def __len__(self):
    return len(self.inner)

  def __getitem__(self, index):
    if self.stalled and index != 0:  # Record 0 says what records look like, before a run.
      self.reached.set()
      time.sleep(30)
    return self.inner[index]


def raise_when(reached, number):
  """Sends this process a signal as soon as a moment is reached."""

  def wait():
    reached.wait(60)
    time.sleep(0.2)
    os.kill(os.getpid(), number)

  threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('moment', ['loader', 'evaluation'])
def test_a_signal_ends_a_wait_at_once_and_the_run_goes_on_later(tmp_path, moment, number):
  plain = toys.experiment(every=None, steps=24)
  plain = dataclasses.replace(plain, evals={})
  whole = train.fit(Program(plain), progress=False)
  reached = threading.Event()
  slow = Slow(toys.source(), reached)
  if moment == 'loader':
    experiment = dataclasses.replace(plain, data=dataclasses.replace(plain.data, source=slow))
  else:
    held_out = dataclasses.replace(toys.experiment().evals['held_out'].data, source=slow)
    evals = {'held_out': Eval(held_out, evaluation.softmax_cross_entropy, every=8)}
    experiment = dataclasses.replace(plain, evals=evals)
  program = Program(experiment)
  program.compile()
  if moment == 'loader':
    train.fit(Program(dataclasses.replace(experiment, steps=16)), str(tmp_path), progress=False)
  slow.stalled = True
  raise_when(reached, number)
  begin = time.monotonic()
  run = train.fit(program, str(tmp_path), progress=False)
  assert time.monotonic() - begin < 20
  assert run.stopped == 128 + number
  assert run.step == {'loader': 16, 'evaluation': 8}[moment]
  slow.stalled = False
  resumed = train.fit(program, str(tmp_path), progress=False)
  jax.tree.map(np.testing.assert_array_equal, resumed.state, whole.state)
  if moment == 'evaluation':  # The one that was cut short is made up for.
    assert '"step": 8, ' in (tmp_path / 'metrics.jsonl').read_text()
