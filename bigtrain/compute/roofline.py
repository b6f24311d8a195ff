"""How long a step must take at least, and what it waits for (Williams et al. 2009)."""

import dataclasses

from bigtrain.compute.chips import Chip
from bigtrain.compute.program_costs import Costs


@dataclasses.dataclass(frozen=True)
class Roofline:
  """Seconds a step of each resource, were it alone; together they overlap at best.

  Attributes:
    matrix_units: All products, recomputed ones included, at the chip's peak.
    compiler: The compiler's estimate of computing, exchanges and kernels left out; 0 is none.
    memory: Traffic with main memory.
    links: Exchanges within a slice, all links busy.
    network: Exchanges across slices.
  """

  matrix_units: float
  compiler: float
  memory: float
  links: float
  network: float

  @classmethod
  def of(cls, flops: float, costs: Costs, chip: Chip) -> 'Roofline':
    """Returns the seconds a step of each resource.

    Args:
      flops: A step of one device, recomputed ones included.
      costs: Of the compiled program.
      chip: That it is compiled for.
    """
    return cls(
      matrix_units=flops / chip.peak,
      compiler=costs.cycles / chip.clock if chip.clock else 0.0,
      memory=costs.memory / chip.bandwidth,
      links=costs.sent(across=False) / chip.links,
      network=costs.sent(across=True) / chip.network,
    )

  @property
  def seconds(self) -> float:
    """The slowest resource's time: a lower bound of the step."""
    return max(dataclasses.astuple(self))

  @property
  def limit(self) -> str:
    """The resource that takes longest."""
    times = dataclasses.asdict(self)
    return max(times, key=lambda name: times[name])
