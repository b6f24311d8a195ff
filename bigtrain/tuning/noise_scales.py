"""The gradient noise scale: from which batch size on more examples a step are wasted.

McCandlish et al. 2018 (An Empirical Model of Large-Batch Training). G is the gradient of the loss
over all data and Sigma the covariance of one example's. With batches of B a goal takes
1 + critical / B times the fewest steps, and 1 + B / critical times the fewest examples, where
critical is about tr(Sigma) / |G|^2. It grows as the loss falls, and differs between optimisers: it
is a scale, good to a factor of about 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def noise_terms(part: Any, whole: Any, part_batch: float, whole_batch: float) -> tuple[Any, Any]:
  """Estimates tr(Sigma) and |G|^2 without bias from gradients over two batch sizes (appendix A.1).

  Either may come out negative in a single step: average each over many, and divide then.

  Args:
    part: The squared norm of the gradient over `part_batch` examples; a mean over several such
      parts is better.
    whole: The squared norm of the gradient over `whole_batch` examples.
    part_batch: Fewer than `whole_batch`.
    whole_batch: Examples.

  Returns:
    tr(Sigma), |G|^2.
  """
  variance = (part - whole) / (1 / part_batch - 1 / whole_batch)
  square = (whole_batch * whole - part_batch * part) / (whole_batch - part_batch)
  return variance, square


def critical_batch(variances: Any, squares: Any) -> float:
  """Returns the critical batch size, in examples, from the terms of many steps.

  It is the ratio of their means; infinite where the gradient is lost in noise, that is where the
  mean of |G|^2 isn't above 0.
  """
  variance, square = float(np.mean(variances)), float(np.mean(squares))
  return max(variance, 0.0) / square if square > 0 else np.inf


def batch_costs(batch: float, critical: float) -> tuple[float, float]:
  """Returns what a batch size costs: steps in units of the fewest, examples likewise (eq. 2.7)."""
  return 1 + critical / batch, 1 + batch / critical
