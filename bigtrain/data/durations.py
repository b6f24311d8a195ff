"""Durations: steps, epochs or examples, turned into steps in plain Python."""

import math
from collections.abc import Sized


def steps(
  source: Sized,
  batch: int,
  *,
  steps: int | None = None,
  epochs: float | None = None,
  examples: int | None = None,
) -> int:
  """Returns how many steps a duration lasts; exactly one of the three is given.

  Args:
    source: what is trained on; only its number of records counts.
    batch: examples per step, over all devices.
    steps: optimiser updates.
    epochs: passes over the source; a last part of a batch counts as a step.
    examples: examples seen; a last part of a batch counts as a step.

  Raises:
    ValueError: unless exactly one is given and it is positive.

  >>> steps(range(1000), 64, epochs=2)
  32
  >>> steps(range(1000), 64, examples=64_000)
  1000
  """
  given = {'steps': steps, 'epochs': epochs, 'examples': examples}
  given = {name: value for name, value in given.items() if value is not None}
  if len(given) != 1:
    names = ' and '.join(given) or 'none'
    raise ValueError(
      f'data.steps: a duration is one of steps, epochs and examples, got {names}: give exactly one'
    )
  if batch < 1:
    raise ValueError(f'data.steps: batch must be at least 1, got {batch}')
  ((name, value),) = given.items()
  if not value > 0:
    raise ValueError(
      f'data.steps: {name} must be positive, got {value}: train for at least one step'
    )
  if name == 'steps':
    return int(value)
  # Rounded before the ceiling, or 0.1 epochs of 30 records would count a 3.0000000000000004th
  # example.
  return max(1, math.ceil(round(value * len(source) if name == 'epochs' else value, 6) / batch))
