"""Looking for settings that fit and are predicted to be faster: microbatches, remat, mesh.

What does not fit is refused by the compiler in seconds, what fits takes a minute or more: so the
search goes from the greediest settings (everything kept, one microbatch) to the thriftiest, mesh by
mesh, and leaves a mesh where a thriftier setting can only cost time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bigtrain import compute
from bigtrain.forecast import Forecast, forecast, settings

if TYPE_CHECKING:
  from bigtrain.experiment import Experiment

_LEAST_TO_MOST = ('none', 'dots', 'full')  # Names of `remat`, by what is computed again.


def find(
  experiment: Experiment,
  mesh: str = '',
  devices: Sequence[Any] | None = None,
  *,
  tries: int = 8,
  windowed: bool = False,
) -> list[Forecast]:
  """Returns what was tried, the best first: what fits, by predicted MFU, then what does not.

  Args:
    experiment: The first to be tried.
    mesh: Where given, no other mesh is tried.
    devices: Those here, unless given.
    tries: Compilations at most.
    windowed: See `compute.compiler_options`.

  Raises:
    ValueError: The experiment's own settings suit no mesh.
  """
  tried = [forecast(experiment, mesh, devices, windowed=windowed)]
  seen = {(tried[0].mesh, *tried[0].settings.values())}
  count = compute.make_mesh(mesh, 0, devices).size
  slices = len({getattr(device, 'slice_index', 0) for device in devices or []}) or 1
  for own in [mesh] if mesh else meshes(count, slices):
    for candidate in variants(experiment):
      if len(tried) >= tries:
        return ranked(tried)
      try:
        batch = candidate.data.batch // candidate.accumulate
        name = compute.describe(compute.make_mesh(own, batch, devices))
        key = (name, *settings(candidate).values())
        if key in seen:
          found = next(f for f in tried if (f.mesh, *f.settings.values()) == key)
        else:
          found = forecast(candidate, own, devices, windowed=windowed)
          tried.append(found)
          seen.add(key)
      except ValueError:
        continue  # A size that does not divide.
      if found.fits is not False:
        break  # Thriftier still would only compute or exchange more.
  return ranked(tried)


def meshes(count: int, slices: int = 1) -> Iterator[str]:
  """Yields meshes worth a try, the likeliest first: all on fsdp, then replicas and tensor."""
  within = count // slices
  yield f'data:{slices},fsdp:{within}'
  for n in (2, 4, 8):
    if within % n == 0 and within > n:
      yield f'data:{slices * n},fsdp:{within // n}'
      yield f'data:{slices},fsdp:{within // n},tensor:{n}'


def variants(experiment: Experiment) -> Iterator[Experiment]:
  """Yields the experiment with other microbatches and remat, from the greediest on."""
  model: Any = experiment.model
  policies = _LEAST_TO_MOST if hasattr(model, 'remat') else (None,)
  for accumulate in (1, 2, 4, 8, 16):
    for remat in policies:
      if experiment.data.batch % accumulate == 0:
        other = model if remat is None else model.clone(remat=remat)
        yield dataclasses.replace(experiment, model=other, accumulate=accumulate)


def ranked(tried: Sequence[Forecast]) -> list[Forecast]:
  """Returns forecasts, the best first."""
  return sorted(tried, key=lambda f: (f.fits is False, -(f.mfu or 0.0), f.peak))
