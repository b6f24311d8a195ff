"""The same metrics for each slice of the data, and the slice that fares worst."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np


def by_slice(
  evaluator: Any, table: Mapping[str, np.ndarray], key: str
) -> dict[Any, dict[str, float]]:
  """Returns the evaluator's report of each slice: rows of the table that share `table[key]`.

  Args:
    evaluator: An `Evaluator`.
    table: Predictions by column, [N].
    key: The column of what is shared.

  Raises:
    ValueError: The table has no such column.
  """
  if key not in table:
    raise ValueError(f'the table of predictions holds {sorted(table)}, without {key!r} to slice by')
  columns = {name: np.asarray(column) for name, column in table.items()}
  slices, number_N = np.unique(columns[key], return_inverse=True)
  return {
    value.item(): {
      **evaluator.report({k: x[number_N == i] for k, x in columns.items() if k != key}),
      'examples': float(np.sum(number_N == i)),
    }
    for i, value in enumerate(slices)
  }


@dataclasses.dataclass(frozen=True)
class Sliced:
  """An evaluator that also reports each slice of the data by a key of the record.

  Attributes:
    evaluator: What is reported of the whole and of each slice.
    key: Of the batch, integers a row: a group, a source, a class.
    metric: By which the worst slice is found.
    higher_is_better: Of the metric.
    least: Slices of fewer examples are reported, but not called the worst.
  """

  evaluator: Any
  key: str
  metric: str = 'accuracy'
  higher_is_better: bool = True
  least: int = 10

  def predict(self, apply: Callable[..., Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the evaluator's columns, and the key's under 'slice'."""
    if self.key not in batch:
      raise ValueError(f'batch holds {sorted(batch)}, without {self.key!r} to slice by')
    return {**self.evaluator.predict(apply, batch), 'slice': jnp.asarray(batch[self.key])}

  def report(self, table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the whole's metrics; 'KEY=VALUE/METRIC' and its interval of each slice; and
    'worst_slice' (the value) with 'worst_slice/METRIC'."""
    whole = {name: column for name, column in table.items() if name != 'slice'}
    found = dict(self.evaluator.report(whole))
    slices = by_slice(self.evaluator, table, 'slice')
    for value, metrics in slices.items():
      for name in (self.metric, f'{self.metric}_low', f'{self.metric}_high', 'examples'):
        if name in metrics:
          found[f'{self.key}={value}/{name}'] = metrics[name]
    enough = [
      (metrics[self.metric], value)
      for value, metrics in slices.items()
      if metrics['examples'] >= self.least and not np.isnan(metrics[self.metric])
    ]
    if enough:
      worst = min(enough) if self.higher_is_better else max(enough)
      found['worst_slice'], found[f'worst_slice/{self.metric}'] = float(worst[1]), worst[0]
    return found

  def draw(
    self, table: Mapping[str, np.ndarray], names: Sequence[str] | None = None
  ) -> dict[str, Any]:
    """Returns the evaluator's pictures of the whole."""
    return self.evaluator.draw(table, names) if hasattr(self.evaluator, 'draw') else {}
