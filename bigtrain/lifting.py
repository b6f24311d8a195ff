"""Functions that differ in numbers alone become one function, which takes the numbers.

Two experiments of different learning rate, decay, dropout or seed compile to two programs that
differ in a few constants. `Lifted` traces each of them, compares the traces equation by equation,
and makes the constants that differ an argument: one compilation serves all, and `jax.vmap` over the
constants runs them side by side. Which knobs these are need not be said anywhere: what the traces
say decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

# What holds inner traces that are read and replayed; the traces of other equations (the addition
# of a scatter, say) belong to their structure.
_CALLS = {
  'call_jaxpr': ['closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call'],
  'jaxpr': ['checkpoint', 'jit', 'pjit', 'remat', 'remat2', 'scan'],
  'branches': ['cond'],
}
_HELD = {name: [key] for key, names in _CALLS.items() for name in names}
_HELD['while'] = ['body_jaxpr', 'cond_jaxpr']


class Trace:
  """A function's trace: its structure, and the numbers written in it.

  Attributes:
    structure: The same for traces that differ in numbers alone.
    numbers: Every constant in it, in the order of the equations.
  """

  def __init__(self, function: Callable[..., Any], *arguments: Any):
    """Traces a function on arguments (arrays or shapes)."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    self.closed = closed
    self.tree = jax.tree.structure(shapes)
    self.numbers: list[np.ndarray] = []
    words: list[str] = [str(jax.tree.structure(arguments)), str(self.tree)]
    _read(closed, words, self.numbers)
    self.structure = hashlib.sha256('\n'.join(words).encode()).hexdigest()


class Lifted:
  """Traces of one structure as one function: `lifted(constants, *arguments)`.

  Args:
    traces: Traces of one structure; numbers in which they differ become constants.
  """

  def __init__(self, traces: Sequence[Trace]):
    first = traces[0]
    if any(trace.structure != first.structure for trace in traces):
      raise ValueError('functions that differ in more than numbers cannot be lifted together')
    self._trace = first
    self._free = [
      index
      for index, number in enumerate(first.numbers)
      if any(not _same(number, trace.numbers[index]) for trace in traces)
    ]

  def fits(self, trace: Trace) -> bool:
    """Whether a trace differs from these in constants alone that are arguments already."""
    if trace.structure != self._trace.structure:
      return False
    fixed = set(range(len(trace.numbers))) - set(self._free)
    return all(_same(trace.numbers[i], self._trace.numbers[i]) for i in fixed)

  def constants(self, trace: Trace) -> list[np.ndarray]:
    """Returns a trace's values of the constants."""
    return [trace.numbers[index] for index in self._free]

  def __call__(self, constants: Sequence[Any], *arguments: Any) -> Any:
    """Returns what the function whose constants these are returns; may be traced."""
    numbers: list[Any] = list(self._trace.numbers)
    for index, value in zip(self._free, constants, strict=True):
      numbers[index] = value
    flat = _Replay(numbers).run(self._trace.closed, jax.tree.leaves(arguments))
    return jax.tree.unflatten(self._trace.tree, flat)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
  return a.tobytes() == b.tobytes()


def _jaxprs(value: Any) -> list[core.ClosedJaxpr]:
  """Returns the traces in a parameter of an equation, each with its consts."""
  if isinstance(value, core.ClosedJaxpr):
    return [value]
  if isinstance(value, core.Jaxpr):
    return [core.ClosedJaxpr(value, [])]
  if isinstance(value, (tuple, list)):
    return [jaxpr for element in value for jaxpr in _jaxprs(element)]
  return []


def _read(closed: core.ClosedJaxpr, words: list[str], numbers: list[np.ndarray]) -> None:
  """Appends what a trace says to `words`, and the numbers in it to `numbers`."""
  names: dict[Any, int] = {}

  def name(var: Any) -> str:
    return f'{names.setdefault(var, len(names))}:{var.aval}'

  words.append(' '.join(map(name, closed.jaxpr.invars)))
  for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True):
    words.append(f'const {name(var)}')
    numbers.append(_number(const))
  for equation in closed.jaxpr.eqns:
    given = []
    for var in equation.invars:
      if isinstance(var, core.Literal):
        numbers.append(_written(var))
        given.append(f'number:{var.aval}')
      else:
        given.append(name(var))
    made = [name(var) for var in equation.outvars]
    words.append(f'{equation.primitive.name} {given} {made}')
    held = _HELD.get(equation.primitive.name, [])
    for key, value in sorted(equation.params.items()):
      words.append(f'{key} is held' if key in held else f'{key}={_plain(value)}')
    for jaxpr in [jaxpr for key in held for jaxpr in _jaxprs(equation.params[key])]:
      _read(jaxpr, words, numbers)
  for var in closed.jaxpr.outvars:
    if isinstance(var, core.Literal):
      numbers.append(_written(var))
    words.append('out number' if isinstance(var, core.Literal) else f'out {name(var)}')


def _written(literal: Any) -> np.ndarray:
  return np.asarray(literal.val, literal.aval.dtype)


def _count(closed: core.ClosedJaxpr) -> int:
  numbers: list[np.ndarray] = []
  _read(closed, [], numbers)
  return len(numbers)


def _number(const: Any) -> np.ndarray:
  if jnp.issubdtype(const.dtype, jax.dtypes.prng_key):
    raise ValueError('a random key made outside the step cannot be lifted: make it from the seed')
  return np.asarray(const)


def _plain(value: Any) -> str:
  """A parameter as text; a function's own address would make any two traces differ."""
  return getattr(value, '__qualname__', type(value).__name__) if callable(value) else str(value)


class _Replay:
  """Runs a trace with other numbers, in the order in which `_read` has read them."""

  def __init__(self, numbers: Sequence[Any]):
    self._numbers = numbers
    self._next = 0

  def _take(self) -> Any:
    self._next += 1
    return self._numbers[self._next - 1]

  def run(self, closed: core.ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
    """Returns the outputs of a trace, and moves on behind its numbers."""
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.invars, arguments, strict=True))
    values |= {var: self._take() for var in jaxpr.constvars}
    for equation in jaxpr.eqns:
      inputs = [
        jnp.asarray(self._take()) if isinstance(var, core.Literal) else values[var]
        for var in equation.invars
      ]
      outputs = self._apply(equation, inputs)
      values |= dict(zip(equation.outvars, outputs, strict=True))
    return [self._take() if isinstance(var, core.Literal) else values[var] for var in jaxpr.outvars]

  def _apply(self, equation: Any, inputs: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    keys = _HELD.get(name)
    if keys is None:
      outputs = equation.primitive.bind(*inputs, **params)
      return list(outputs) if equation.primitive.multiple_results else [outputs]
    calls = [self._call(jaxpr) for key in keys for jaxpr in _jaxprs(params[key])]
    if name == 'scan':
      return _scan(calls[0], params, inputs)
    if name == 'while':
      return _while(calls[1], calls[0], params, inputs)
    if name == 'cond':
      return list(jax.lax.switch(inputs[0], calls, *inputs[1:]))
    return calls[0](*inputs)

  def _call(self, closed: core.ClosedJaxpr) -> Callable[..., list[Any]]:
    """Returns an inner trace as a function, and moves on behind its numbers."""
    start = self._next
    self._next += _count(closed)

    def function(*arguments):
      replay = _Replay(self._numbers)
      replay._next = start
      return replay.run(closed, arguments)

    return function


def _scan(body: Callable[..., list[Any]], params: Any, inputs: list[Any]) -> list[Any]:
  consts, carried = params['num_consts'], params['num_carry']
  fixed, carry = inputs[:consts], inputs[consts : consts + carried]

  def step(carry, xs):
    outputs = body(*fixed, *carry, *xs)
    return tuple(outputs[:carried]), tuple(outputs[carried:])

  carry, stacked = jax.lax.scan(
    step, tuple(carry), tuple(inputs[consts + carried :]), params['length'], params['reverse']
  )
  return [*carry, *stacked]


def _while(
  test: Callable[..., list[Any]], body: Callable[..., list[Any]], params: Any, inputs: list[Any]
) -> list[Any]:
  first, second = params['cond_nconsts'], params['body_nconsts']
  fixed, more, state = inputs[:first], inputs[first : first + second], inputs[first + second :]
  return list(
    jax.lax.while_loop(
      lambda s: test(*fixed, *s)[0], lambda s: tuple(body(*more, *s)), tuple(state)
    )
  )
