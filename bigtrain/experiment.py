"""The vocabulary: what an experiment is made of.

Conventions, stated once:

- A *batch* maps names to arrays whose leading axis counts examples. The optional entry 'weight'
  (float32, one number an example) is 1 for a real example and 0 for padding.
- An *objective* is `objective(apply, batch) -> {'loss': Mean, ...}`. The loss is minimised, the
  rest is reported. One objective serves training and evaluation.
- *apply* calls the model: `apply(batch['image'])`. Parameters, mode (`train=`) and randomness are
  bound already; keyword arguments such as `method='features'` reach `flax.linen.Module.apply`.

This module imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
  import jax
  import numpy as np
  import optax
  from jax.sharding import Mesh

  from bigtrain.data import Batches
  from bigtrain.evaluation import Mean

  Batch = Mapping[str, jax.Array]
  Apply = Callable[..., Any]
  Objective = Callable[[Apply, Batch], Mapping[str, Mean]]
  Start = Callable[[Any, Any], tuple[Any, Any]]  # (params, model_state) -> the same, replaced.
  Partition = Callable[[Mesh, Any], Any]  # (mesh, tree of shapes) -> tree of NamedSharding.


class Model(Protocol):
  """What a model does for training, as every Flax Linen module does it."""

  def init_with_output(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Returns what the model computes, and fresh variables."""
    ...

  def apply(self, *args: Any, **kwargs: Any) -> Any:
    """Returns what the model computes with given variables."""
    ...


class Evaluator(Protocol):
  """Metrics that rank or draw: they need every prediction at once, on the host."""

  def predict(self, apply: Apply, batch: Batch) -> Mapping[str, jax.Array]:
    """Returns columns of the table of predictions, one row an example; runs on the device."""
    ...

  def report(self, table: Mapping[str, np.ndarray]) -> Mapping[str, float]:
    """Returns metrics of the whole table (padding already removed); runs on the host."""
    ...


@dataclasses.dataclass(frozen=True)
class Eval:
  """One evaluation: which data, which numbers, how often.

  Attributes:
    data: Batches that end (`data.once`).
    objective: Gives the Means to report; adds exactly over batches.
    evaluator: Gives the metrics that need the whole table of predictions.
    every: Steps between evaluations. None evaluates once, after training: use it for the test
      split.
    patience: Evaluations in a row without a lower loss after which training ends early (Prechelt
      1998); None trains to the last step. What is kept and evaluated then is the model of the step
      where training ends, `patience` evaluations behind the lowest loss, not the best that was
      seen: choosing by loss on few examples flatters it, and `ema` smooths the difference. A
      schedule that is to end at 0 ends higher. Trials of `study` and `tune` never end early.
  """

  data: Batches
  objective: Objective | None = None
  evaluator: Evaluator | None = None
  every: int | None = None
  patience: int | None = None

  def __post_init__(self):
    if self.objective is None and self.evaluator is None:
      raise ValueError('Eval has neither an objective nor an evaluator: give one of them')
    if self.every is not None and self.every < 1:
      raise ValueError(
        f'Eval.every must be at least 1 step, got {self.every}: None is "at the end"'
      )
    if self.patience is not None and (
      self.patience < 1 or self.every is None or self.objective is None
    ):
      raise ValueError(
        f'Eval.patience must be at least 1 evaluation, of an objective every so many steps, got '
        f'{self.patience} with every={self.every}: give both, or leave patience None'
      )


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that decides a trained model. Frozen: fork it with `dataclasses.replace`.

  Attributes:
    data: Batches without end (`data.forever`).
    model: A Flax Linen module whose methods take `train: bool` by keyword, or a `Model` around one.
    objective: What is minimised (its 'loss'), and what is reported beside it.
    optimizer: An Optax transformation, with its schedule, clipping and decay inside.
    steps: Optimiser updates in all; `data.steps` derives them from epochs or examples.
    schedule: The learning rate by step, for the record; the optimiser holds its own.
    evals: Evaluations by name ('held_out', 'test').
    partition: How arrays are laid over the mesh; None is `compute.fsdp`.
    accumulate: Microbatches a step: gradients are summed over this many shares of the batch.
    initial: Maps fresh parameters to those that training begins with, within the compiled
      initialisation, such as `tuning.mup(...).initial`; None leaves them.
    start: Replaces parameters before the first step, such as `iteration.warm_start(RUN)`; None
      trains what the model was initialised with. A run that goes on has parameters of its own.
    trainable: A regular expression that matches the whole path of each parameter to train, such as
      'head/.*'; None trains all. The others cost no gradient and no optimiser state.
    ema: Decay of an exponential moving average of the parameters, which evaluation then uses; 0 is
      off. Early on the decay is (1 + step) / (10 + step), so that the start is forgotten.
    param_dtype: What parameters are kept in; None is as the model makes them, float32. 'bfloat16'
      halves them, and wants `compute.stochastic_rounding`, without which small updates are lost.
    swa_start: The first step whose parameters count in an equal average, which evaluation then uses
      (stochastic weight averaging, Izmailov et al. 2018); None is off. After the last step
      BatchNorm's statistics are taken anew.
    norms: Whether the journal has the norms of gradients, updates and parameters of each layer.
    noise_scale: Steps between measurements of the gradient noise scale (McCandlish et al. 2018),
      each of which costs one more gradient; 0 is never.
    seed: Decides initialisation and every random number of training.
  """

  data: Batches
  model: Model
  objective: Objective
  optimizer: optax.GradientTransformation
  steps: int
  schedule: Callable[[Any], Any] | None = None
  evals: Mapping[str, Eval] = dataclasses.field(default_factory=dict)
  partition: Partition | None = None
  accumulate: int = 1
  initial: Callable[[Any], Any] | None = None
  start: Start | None = None
  trainable: str | None = None
  ema: float = 0.0
  param_dtype: str | None = None
  swa_start: int | None = None
  norms: bool = False
  noise_scale: int = 0
  seed: int = 0

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f'steps must be at least 1, got {self.steps}')
    if self.accumulate < 1:
      raise ValueError(f'accumulate must be at least 1 microbatch, got {self.accumulate}')
    if self.data.batch % self.accumulate:
      raise ValueError(
        f'a batch of {self.data.batch} does not divide into {self.accumulate} microbatches: '
        f'choose accumulate among the divisors of {self.data.batch}'
      )
    if self.noise_scale < 0:
      raise ValueError(f'noise_scale counts steps, or is 0 for never, got {self.noise_scale}')
    if self.param_dtype not in (None, 'float32', 'bfloat16'):
      raise ValueError(f"param_dtype must be 'float32' or 'bfloat16', got {self.param_dtype!r}")
    if not 0 <= self.ema < 1:
      raise ValueError(f'ema is a decay, at least 0 and below 1, got {self.ema}: try 0.999')
    if self.swa_start is not None and (self.ema or not 0 < self.swa_start < self.steps):
      raise ValueError(
        f'swa_start must be a step before the last of {self.steps}, and ema 0, got '
        f'swa_start={self.swa_start} and ema={self.ema}: three quarters of the steps are usual'
      )
    if self.swa_start is not None and any(e.patience for e in self.evals.values()):
      raise ValueError(
        'swa_start averages up to a last step that is known, and Eval.patience may end before it: '
        'use one of them, or ema in place of swa_start'
      )
