"""Many experiments trained side by side, in one compiled step for all that differ in numbers alone.

A cohort is for what one asks of small runs by the dozen: which rate, which seed, which lever.
Experiments whose traces differ in constants only (`lifting.py`) share a compilation; their states
are stacked, spread over the devices, and stepped by `jax.vmap`. Each member reads its own batches
and has its own random numbers, so that a member ends as it would have alone, up to rounding.

One host; each member fits on one device. Where that does not hold, train one by one (`train.fit`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bigtrain.evaluation import Mean
from bigtrain.lifting import Lifted
from bigtrain.side_by_side import over_one, several, spread
from bigtrain.state import started
from bigtrain.traces import Traces

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment

_STEPS = 10  # Of one dispatch.
_BUSY = 2e8  # Operations of a step from which a device is busy with one member at a time.
_MOST = 8  # Members on one device.


@dataclasses.dataclass
class Member:
  """One experiment of a cohort.

  Attributes:
    experiment: What is trained.
    traces: Its traces.
    step: Updates taken so far.
    state: Its TrainState, as NumPy arrays; None before the first step.
    losses: The mean training loss of each dispatch.
  """

  experiment: Experiment
  traces: Traces
  step: int = 0
  state: Any = None
  iterator: Any = None
  losses: list[float] = dataclasses.field(default_factory=list)


class Cohort:
  """Experiments that are trained side by side."""

  def __init__(self):
    self._traces: dict[Hashable, Traces] = {}
    self._lifted: dict[tuple[str, Any], list[Lifted]] = {}
    self._programs: dict[Any, Any] = {}
    self._devices = jax.local_devices()

  def traces(self, experiment: Experiment, like: Hashable = None) -> Traces:
    """Returns an experiment's traces.

    Args:
      experiment: What is traced.
      like: Given, the traces are kept under it, and serve all experiments that differ from the
        first of that key in seed and data alone.
    """
    if like is None or like not in self._traces:
      found = Traces(experiment)
      if like is None:
        return found
      self._traces[like] = found
    if self._traces[like].model != experiment.model:
      raise ValueError('the model depends on the seed: give each seed a key of its own')
    return self._traces[like]

  def member(self, experiment: Experiment, like: Hashable = None) -> Member:
    """Returns a new member; arguments as for `traces`."""
    return Member(experiment, self.traces(experiment, like))

  def evaluate(self, members: Sequence[Member], name: str) -> list[dict[str, float]]:
    """Returns each member's metrics of one of its evaluations."""
    found: dict[int, dict[str, float]] = {}
    for chunk in self.chunks([(m, ()) for m in members]):
      found |= dict(zip(map(id, chunk), self._evaluate(chunk, name), strict=True))
    return [found[id(member)] for member in members]

  def chunks(self, pairs: Sequence[tuple[Member, Any]]) -> list[list[Member]]:
    """Groups members, each given with a key, into those of one kind and key that run together."""
    groups: dict[Any, list[Member]] = {}
    for member, key in pairs:
      groups.setdefault((member.traces.kind, key), []).append(member)
    chunks = []
    for group in groups.values():
      for name in group[0].traces.parts:
        self._lift(name, [member.traces for member in group])
      while group:
        size = self._width(group)
        chunks.append(group[:size])
        group = group[size:]
    return chunks

  def _lift(self, name: str, traces: Sequence[Traces]) -> Lifted:
    known = self._lifted.setdefault((name, traces[0].kind), [])
    for lifted in known:
      if all(lifted.fits(t.parts[name]) for t in traces):
        return lifted
    known.insert(0, Lifted([t.parts[name] for t in traces]))
    return known[0]

  def _program(self, name: str, members: Sequence[Member], width: int, stacked: bool) -> Any:
    lifted = self._lift(name, [member.traces for member in members])
    key = (id(lifted), width, stacked)
    if key not in self._programs:
      mesh = self._mesh(width)
      function = over_one(lifted) if width == mesh.size else jax.vmap(lifted)
      function = several(function) if stacked else spread(function)
      many, alike = PartitionSpec('member'), PartitionSpec()
      inputs = (many, many, alike) if stacked else (many, many)
      whole = jax.shard_map(function, mesh=mesh, in_specs=inputs, out_specs=many, check_vma=False)
      self._programs[key] = jax.jit(whole)
    return self._programs[key], lifted

  def _mesh(self, width: int) -> Any:
    devices = self._devices[: min(width, len(self._devices))]
    return jax.make_mesh((len(devices),), ('member',), (AxisType.Auto,), devices=devices)

  def _place(self, stacked: Any) -> Any:
    """Lays stacked arrays out as a program returns them, or it would be compiled once more."""
    mesh = self._mesh(len(jax.tree.leaves(stacked)[0]))
    return jax.device_put(stacked, NamedSharding(mesh, PartitionSpec('member')))

  def _width(self, members: Sequence[Member]) -> int:
    """Returns how many run at once, padding included.

    Widths are a fourth of each other: what pads them costs less than compiling for more of them.
    """
    size = len(self._devices) * _per_device(members[0].traces)
    while size // 4 >= max(len(members), len(self._devices)):
      size //= 4
    return size

  def _constants(self, lifted: Lifted, name: str, members: Sequence[Member]) -> list[np.ndarray]:
    return [
      np.stack(rows)
      for rows in zip(*(lifted.constants(m.traces.parts[name]) for m in members), strict=True)
    ]

  def begin(self, members: Sequence[Member]) -> None:
    """Makes the states of a chunk of new members."""
    states = self._begin(members, _filled(members, self._width(members)))
    self._keep(members, states)

  def _begin(self, members: Sequence[Member], full: Sequence[Member]) -> Any:
    begin, lifted = self._program('init', members, len(full), False)
    example = [{k: np.zeros(*x) for k, x in m.experiment.data.spec.items()} for m in full]
    for member in members:
      member.iterator = member.experiment.data.iterator()
    states = begin(self._constants(lifted, 'init', full), (_seeds(full), _stack(example)))
    if all(m.experiment.start is None for m in members):
      return states
    rows = [jax.tree.map(operator.itemgetter(i), states) for i in range(len(members))]
    rows = [started(m.experiment, row) for m, row in zip(members, rows, strict=True)]
    return self._place(_stack(_filled(rows, len(full))))

  def _keep(self, members: Sequence[Member], states: Any) -> None:
    states = jax.device_get(states)
    for index, member in enumerate(members):
      member.state = jax.tree.map(operator.itemgetter(index), states)

  def train(self, members: Sequence[Member], until: int) -> None:
    """Trains a chunk of members, all of one step, until they have taken `until` steps."""
    if members[0].step >= until:
      return
    full = _filled(members, self._width(members))
    seeds = _seeds(full)
    if members[0].state is None:
      states = self._begin(members, full)
    else:
      states = self._place(_stack([m.state for m in full]))
    step = members[0].step
    most = 1 if members[0].traces.convolutions else _STEPS
    program, lifted = self._program('step', members, len(full), True)
    constants = self._constants(lifted, 'step', full)
    losses = []
    while step < until:
      count = min(most, until - step)
      rows = [[next(m.iterator) for _ in range(count)] for m in members]
      batches = _stack([_stack((row + row[-1:] * most)[:most]) for row in _filled(rows, len(full))])
      states, loss = program(constants, (seeds, states, batches), np.int32(count))
      losses.append((loss, count))
      if len(losses) > 1:
        jax.block_until_ready(losses[-2][0])  # The host is one dispatch ahead, not more.
      step += count
    self._keep(members, states)
    for index, member in enumerate(members):
      member.step = step
      member.losses += [float(loss[index]) / count for loss, count in losses]

  def _evaluate(self, members: list[Member], name: str) -> list[dict[str, float]]:
    full = _filled(members, self._width(members))
    part = f'eval {name}'
    program, lifted = self._program(part, members, len(full), False)
    constants = self._constants(lifted, part, full)
    states = [m.state for m in full]
    params = _stack([s.averaged for s in states])
    model_state = _stack([s.model_state for s in states])
    totals: list[dict[str, Mean]] = [{} for _ in members]
    tables: list[list[Any]] = [[] for _ in members]
    streams = [m.experiment.evals[name].data.iterator() for m in members]
    last: list[Any] = [None] * len(members)
    for row in itertools.zip_longest(*streams):
      # A member whose data have ended repeats its last batch, which is then not looked at.
      last = [batch or old for batch, old in zip(row, last, strict=True)]
      means, table, weight = jax.device_get(
        program(constants, (params, model_state, _stack(_filled(last, len(full)))))
      )
      for index, batch in enumerate(row):
        if batch is None:
          continue
        own = {
          k: type(m)(np.float64(m.total[index]), np.float64(m.weight[index]))
          for k, m in means.items()
        }
        total = totals[index]
        totals[index] = {k: total[k] + own[k] for k in own} if total else own
        tables[index].append({k: v[index][weight[index] > 0] for k, v in table.items()})
    results = []
    for member, total, rows in zip(members, totals, tables, strict=True):
      metrics = {key: float(mean.value) for key, mean in total.items()}
      evaluator = member.experiment.evals[name].evaluator
      if evaluator:
        metrics |= evaluator.report({k: np.concatenate([r[k] for r in rows]) for k in rows[0]})
      results.append(metrics)
    return results


def _per_device(traces: Traces) -> int:
  """How many members share a device: where one keeps it busy, more would only wait."""
  if traces.convolutions:
    return 1
  most = min(_MOST, max(1, _BUSY // max(traces.flops, 1)))
  return 2 ** int(math.log2(most))


def _seeds(members: Sequence[Member]) -> np.ndarray:
  return np.array([m.experiment.seed for m in members], np.int32)


def _filled(items: Sequence[Any], length: int) -> list[Any]:
  return [*items, *[items[-1]] * (length - len(items))]


def _stack(trees: Sequence[Any]) -> Any:
  return jax.tree.map(lambda *x: np.stack(x), *trees)
