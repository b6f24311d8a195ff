"""Records that are not here: their shapes and types, for what compiles but does not train."""

from typing import Any

import numpy as np

from bigtrain.data import sources


class Described(sources.Arrays):
  """One record of zeros, from which a batch's shapes can be read; no iterator takes it."""

  only_described = True


def described(**values: tuple[tuple[int, ...], Any]) -> Described:
  """Returns a source that says what records look like, and has none.

  `compile` and `inspect` need no more. Training and evaluation refuse it.

  Args:
    **values: name to (shape, type) of a record's values, such as `inputs=((2048,), 'int32')`.

  Raises:
    ValueError: where nothing is described.
  """
  zeros = {key: np.zeros((1, *shape), kind) for key, (shape, kind) in values.items()}
  return Described(zeros, {'name': 'described'})


def check_not_described(source: Any) -> None:
  """Raises ValueError where there are no records to read."""
  if getattr(source, 'only_described', False):
    raise ValueError(
      'data: the records are only described, which is enough to compile but not to read: say where '
      "they are by the experiment's knob, such as --records=FOLDER"
    )
