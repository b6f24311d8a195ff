"""Model soups: the mean of runs that were fine-tuned from one start, which costs no more to use.

    soup = iteration.soup(['/tmp/a', '/tmp/b', '/tmp/c'])
    dataclasses.replace(experiment(), start=iteration.warm_start(soup))

Averages of a single run are `Experiment.ema` and `Experiment.swa_start`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from bigtrain.iteration.checkpoints import Checkpoints


class Soup:
  """A source for `warm_start`: the mean of several runs' parameters, by path.

  Attributes:
    runs: (workdir, step) of each.
  """

  def __init__(self, runs: Sequence[tuple[str, int]]):
    """Takes the runs, each with the step of its checkpoint."""
    self.runs = list(runs)

  def __call__(self) -> dict[str, np.ndarray]:
    """Returns the mean, of float32 sums.

    Raises:
      ValueError: Two runs hold other arrays.
    """
    total: dict[str, np.ndarray] = {}
    kinds = {}
    for workdir, step in self.runs:
      checkpoints = Checkpoints(workdir)
      arrays = checkpoints.arrays(step)
      checkpoints.close()
      shapes = {path: x.shape for path, x in arrays.items()}
      if total and (other := dict(shapes.items() ^ {p: x.shape for p, x in total.items()}.items())):
        raise ValueError(
          f'{workdir} and {self.runs[0][0]} differ in {", ".join(sorted(other)[:5])}: a soup is of '
          'runs of one model'
        )
      kinds = kinds or {path: x.dtype for path, x in arrays.items()}
      share = np.float32(1 / len(self.runs))
      for path, x in arrays.items():
        total[path] = total.get(path, np.float32(0)) + share * x.astype(np.float32)
    return {path: x.astype(kinds[path]) for path, x in total.items()}


def soup(runs: Sequence[str]) -> Soup:
  """Returns the equal mean of the newest checkpoints of runs (Wortsman et al. 2022).

  Raises:
    ValueError: There is no run, or one has no checkpoint.
  """
  if not runs:
    raise ValueError('a soup is of at least one run, got none')
  found = []
  for workdir in runs:
    checkpoints = Checkpoints(workdir)
    found.append((workdir, checkpoints.choose()))
    checkpoints.close()
  return Soup(found)


def greedy_soup(runs: Sequence[str], score: Callable[[Soup], float]) -> Soup:
  """Returns the mean of those runs that help, tried from the best down (Wortsman et al. 2022,
  recipe 1): a run stays where the soup with it scores no lower on held-out data.

  Args:
    runs: As in `soup`.
    score: Of a soup, higher is better, such as

        def score(soup):
          program = Program(dataclasses.replace(experiment(), start=iteration.warm_start(soup)))
          return program.evaluate('held_out', program.init())['accuracy']

  Raises:
    ValueError: As in `soup`.
  """
  alone = {workdir: score(soup([workdir])) for workdir in dict.fromkeys(runs)}
  order = sorted(alone, key=lambda workdir: -alone[workdir])
  chosen = soup(order[:1])
  best = alone[order[0]] if order else 0.0
  for workdir in order[1:]:
    tried = Soup([*chosen.runs, *soup([workdir]).runs])
    if (scored := score(tried)) >= best:
      chosen, best = tried, scored
  logging.info('greedy soup: %d of %d runs, %.4g', len(chosen.runs), len(alone), best)
  return chosen
