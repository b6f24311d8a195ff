"""What `compile` foretells of memory is what the run's own program asks for."""

import jax
import pytest
import toys

from bigtrain import architecture, data, evaluation, tuning
from bigtrain.experiment import Experiment
from bigtrain.forecast import forecast
from bigtrain.program import Program


def compiled_peak(program):
  """Returns the bytes a device that the compiler says the training step of a run takes."""
  memory = program.lower().compile().memory_analysis()
  return (
    memory.argument_size_in_bytes + memory.temp_size_in_bytes
    + memory.output_size_in_bytes - memory.alias_size_in_bytes
  )  # fmt: skip


def decoder():
  rows = data.pack(data.arrays(text=['some words to be learned by heart'] * 40), 64)
  return Experiment(
    data=data.forever(rows, 8),
    model=architecture.DecoderLM(vocab=256, depth=2, width=64, heads=4),
    objective=evaluation.next_token,
    optimizer=tuning.adamw(1e-3),
    steps=10,
  )


@pytest.mark.parametrize('make', [toys.experiment, decoder])
@pytest.mark.parametrize('count', [1, 8])
def test_the_peak_is_foretold(make, count):
  experiment, devices = make(), jax.devices()[:count]
  program = Program(experiment, '', devices)
  assert program.per_dispatch > 1  # Of which the forecast compiles one step alone.
  found = forecast(experiment, '', devices)
  assert found.peak == pytest.approx(compiled_peak(program), rel=0.15)
  assert found.peak == pytest.approx(sum(found.held.values()))
