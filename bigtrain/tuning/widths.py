"""muP: settings found on a narrow model hold for a wide one (Yang et al. 2022, Tensor Programs V).

    net = functools.partial(architecture.DecoderLM, vocab, depth)
    mup = tuning.mup(net(width=64), stream.spec['inputs'])
    Experiment(model=net(width), initial=mup.initial, optimizer=mup.optimizer(tuning.adamw(rate)))

What grows is read from the shapes: of the last two axes [in, out] of a parameter, each is so many
times the base model's. With m_in and m_out for these factors, 1 for what doesn't grow (pixels,
tokens, classes), the tables 3 and 8 of the paper are one row (Yang et al. 2023, A Spectral
Condition for Feature Learning):

    begins with         1 / sqrt(m_in) * min(1, sqrt(m_out / m_in))    times the base's deviation
    Adam's rate         1 / m_in
    SGD's rate          m_out / m_in

Biases, gains and embeddings have m_in = 1, output layers m_out = 1. A model as wide as the base
stays as it is. Decay is that of the base at any width: rate times decay.

Muon needs none of this for the matrices that it turns: its step has the spectral norm that muP
asks for, sqrt(out / in), so that `like='muon'` changes the rates of AdamW's share, and those of
matrices that grow on one side alone. What LAMB and Adafactor do is in proportion to the parameter,
and no muP.

Attention: where heads grow wider, rather than more, their logits are to be divided by their width,
not its root: `attention_scale=base_head_width**0.5 / head_width`. A tied output (the embedding,
transposed) needs a factor of 1 / m_out, which the gain before it can carry:
`mup(..., output_gain='out_norm')`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from bigtrain.tuning.matrices import axes_of_one
from bigtrain.tuning.optimizers import muon_labels

Like = Literal['adam', 'sgd', 'muon']


def mup(base: Any, *inputs: Any, by_unit: str = 'log_decay', output_gain: str = '') -> MuP:
  """Returns the rules for models that are wider than a base.

  Args:
    base: A Flax Linen module of the same kind and depth, of the width where settings are searched.
    inputs: What the model is called with, as shapes and types: (shape, dtype), `Batches.spec`.
    by_unit: A pattern, searched in paths, of matrices that multiply nothing: a row of numbers for
      each unit.
    output_gain: A pattern of the gain before a tied output, which multiplies (not 'rms_shifted',
      which adds 1); '' is for an output of its own.
  """

  def begin() -> Any:
    # Lazily: without the forward pass, which would count as the model's operations.
    shapes = [jax.ShapeDtypeStruct(*kind) for kind in inputs]
    return base.lazy_init(jax.random.key(0), *shapes, train=False)['params']

  return MuP(begin, by_unit, output_gain)


@dataclasses.dataclass(frozen=True)
class MuP:
  """How parameters begin and move as a model grows wider; made by `mup`.

  Attributes:
    base: Initialises the base model.
    by_unit: As for `mup`.
    output_gain: As for `mup`.
  """

  base: Callable[[], Any]
  by_unit: str
  output_gain: str

  @functools.cached_property
  def shapes(self) -> dict[str, tuple[int, ...]]:
    """The base's shapes, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(self.base))
    return {_name(path): leaf.shape for path, leaf in leaves}

  def growth(self, path: Any, leaf: Any) -> tuple[float, float]:
    """Returns m_in and m_out of a parameter.

    Raises:
      ValueError: The base has no such parameter, or differs in more than width.
    """
    name = _name(path)
    base = self.shapes.get(name)
    axes = axes_of_one(path, leaf)
    if base is None or len(base) != leaf.ndim or leaf.shape[: leaf.ndim - axes] != base[:-axes]:
      raise ValueError(
        f'the base model of mup differs in more than width: {name} is {leaf.shape} here and '
        f'{"absent" if base is None else base} there. Give it the same depth and parts'
      )
    ratios = [mine / other for mine, other in zip(leaf.shape, base, strict=True)]
    if axes < 2 or re.search(self.by_unit, name):
      return 1.0, max(ratios[-axes:], default=1.0)
    return ratios[-2], ratios[-1]

  def initial(self, params: Any) -> Any:
    """Scales fresh parameters, for `Experiment.initial`: whatever the model's own initialisation
    makes of width, matrices begin as the base's would in a model so wide. What is 0 stays 0.
    """
    base = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(self.base())}

    def begin(path: Any, leaf: jax.Array) -> jax.Array:
      m_in, m_out = self.growth(path, leaf)
      name = _name(path)
      if self._is_gain(name):
        return leaf / m_out
      if axes_of_one(path, leaf) < 2 or m_in == m_out == 1 or re.search(self.by_unit, name):
        return leaf
      wanted = _rms(base[name]) * min(1.0, math.sqrt(m_out / m_in)) / math.sqrt(m_in)
      now = _rms(leaf)
      return (leaf * jnp.where(now > 0, wanted / jnp.where(now > 0, now, 1), 1)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(begin, params)

  def rates(self, params: Any, like: Like = 'adam') -> Any:
    """Returns the factor of each parameter's rate, as numbers in a tree.

    Raises:
      ValueError: `like` is none of the three.
    """
    if like not in ('adam', 'sgd', 'muon'):
      raise ValueError(f"like must be 'adam', 'sgd' or 'muon', got {like!r}")
    turned = muon_labels(params) if like == 'muon' else jax.tree.map(lambda _: 'rest', params)

    def factor(path: Any, leaf: Any, label: str) -> float:
      m_in, m_out = self.growth(path, leaf)
      if self._is_gain(_name(path)):
        return 1 / m_out
      if label == 'inside':
        mine, base = (
          _stretch(path, leaf.shape, leaf),
          _stretch(path, self.shapes[_name(path)], leaf),
        )
        return math.sqrt(m_out / m_in) * base / mine
      return m_out / m_in if like == 'sgd' else 1 / m_in

    return jax.tree_util.tree_map_with_path(factor, params, turned)

  def optimizer(
    self, inner: optax.GradientTransformation, like: Like = 'adam'
  ) -> optax.GradientTransformationExtraArgs:
    """Returns an optimiser whose rates are right for each parameter's width.

    The inner one sees each parameter divided by its factor, and what it adds is multiplied by it:
    so decoupled decay, which is in proportion to the parameter, stays the base's.

    Args:
      inner: Tuned for the base.
      like: What its step depends on: 'adam' (also Lion, RMSprop, NAdam, SOAP, Sophia) is for steps
        that don't depend on the gradient's size, 'sgd' for those in proportion to it, 'muon' for
        `tuning.muon`.

    Raises:
      ValueError: As `rates`; or, in `init`, for `schedule_free`, whose state holds parameters.
    """
    extra = optax.with_extra_args_support(inner)

    def scaled(tree: Any, factors: Any, power: int) -> Any:
      return jax.tree.map(lambda x, f: x * jnp.asarray(f**power, x.dtype), tree, factors)

    def init(params):
      state = extra.init(scaled(params, self.rates(params, like), -1))
      free = contrib.ScheduleFreeState
      if any(
        isinstance(x, free) for x in jax.tree.leaves(state, is_leaf=lambda x: type(x) is free)
      ):
        raise ValueError('mup does not go around schedule_free: take tuning.adamw with a schedule')
      return state

    def update(updates, state, params=None, **more):
      factors = self.rates(updates if params is None else params, like)
      if 'grad_fn' in more:
        of = more['grad_fn']
        more['grad_fn'] = lambda params, *rest: of(scaled(params, factors, 1), *rest)
      seen = None if params is None else scaled(params, factors, -1)
      updates, state = extra.update(updates, state, seen, **more)
      return scaled(updates, factors, 1), state

    return optax.GradientTransformationExtraArgs(init, update)

  def _is_gain(self, name: str) -> bool:
    return bool(self.output_gain) and re.search(self.output_gain, name) is not None


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _rms(x: jax.Array) -> jax.Array:
  return jnp.sqrt(jnp.mean(jnp.square(x.astype(jnp.float32))))


def _stretch(path: Any, shape: tuple[int, ...], leaf: Any) -> float:
  """The spectral norm of Muon's step, up to its rate (`matrices.scale_by_muon`)."""
  axes = axes_of_one(path, leaf)
  rows = math.prod(shape[-axes:-1]) if axes == 4 else shape[-2]
  return math.sqrt(max(1.0, shape[-1] / rows))
