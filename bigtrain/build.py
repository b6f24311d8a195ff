"""What a verb that runs an experiment many times gets: the function that builds it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bigtrain import flags, record
from bigtrain.kinds import nearest

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment


def origin(function: Callable[..., Any]) -> tuple[str, str]:
  """Returns the file of an experiment's function, and the experiment's name."""
  plain = inspect.unwrap(function)
  file = plain.__code__.co_filename
  return file, pathlib.Path(file).stem if os.path.isfile(file) else plain.__name__


@dataclasses.dataclass(frozen=True)
class Build:
  """An experiment's function with the knobs of the command line.

  Attributes:
    function: From knobs to an experiment.
    knobs: The value of every knob: the command line's, else the default.
    explicit: Names of the knobs that the command line gave.
    name: The experiment's name.
  """

  function: Callable[..., Experiment]
  knobs: Mapping[str, Any]
  explicit: frozenset[str] = frozenset()
  name: str = 'experiment'

  @classmethod
  def of(cls, function: Callable[..., Experiment], **knobs: Any) -> Build:
    """Returns what launch would, for a notebook or a test."""
    values = {**flags.defaults(flags.knobs(function)), **knobs}
    build = cls(function, values, frozenset(knobs), origin(function)[1])
    build.check(knobs, build.name)
    return build

  def __call__(self, **knobs: Any) -> Experiment:
    """Builds the experiment with some knobs changed.

    Raises:
      ValueError: A knob that the experiment doesn't have.
    """
    self.check(knobs, self.name)
    return self.function(**{**self.knobs, **knobs})

  def table(self, name: str) -> dict[str, Any]:
    """Returns a dict of the experiment's file, such as LEVERS; empty where there is none."""
    return dict(inspect.unwrap(self.function).__globals__.get(name, {}))

  def with_defaults(self, knobs: Mapping[str, Any]) -> Build:
    """Returns the same with other defaults: what the command line gave stays."""
    self.check(knobs, self.name)
    changed = {name: value for name, value in knobs.items() if name not in self.explicit}
    return dataclasses.replace(self, knobs={**self.knobs, **changed})

  def check(self, knobs: Mapping[str, Any], place: str) -> None:
    """Raises ValueError for what is no knob of the experiment, or no value of its type."""
    known = flags.knobs(self.function)
    for name, value in knobs.items():
      if name not in known:
        raise ValueError(f'{place}: {name} is no knob of the experiment{nearest(name, known)}')
      kind = known[name].kind
      if not kind.holds(value) and not (type(value) is int and kind.holds(float(value))):
        raise ValueError(f'{place}: {name}={value!r} is not of its type, {kind.name}')

  def read(self, knob: str, word: str) -> Any:
    """Returns a knob's value as the command line would read it."""
    self.check({knob: self.knobs.get(knob)}, self.name)
    return flags.knobs(self.function)[knob].kind.read(word)

  def key(self, knobs: Mapping[str, Any]) -> str:
    """Returns what identifies a training run: a hash of every knob and of the file's code."""
    values = json.dumps({**self.knobs, **knobs}, sort_keys=True, default=str)
    return hashlib.sha256(f'{self.code}\n{values}'.encode()).hexdigest()[:16]

  @functools.cached_property
  def code(self) -> str:
    """What the experiment's file does, as it stood when this was first asked."""
    try:
      return record.code(inspect.getsource(inspect.getmodule(self.function) or self.function))
    except (OSError, TypeError, SyntaxError):
      return ''
