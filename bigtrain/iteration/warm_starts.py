"""Warm starts: parameters of something trained before, for a model that need not be the same.

Parameters are matched by path. Which value a parameter gets, first match wins:

1. `keep` matches its path: what the model initialised it with;
2. the source has its path, after `rename`: the source's array, through `reshape` if that matches;
3. it is 'PATH/int8' or 'PATH/scale', and the source has PATH: that array, rounded;
4. else what the model initialised it with, and a line of the log names it.

A path is 'block_0/attention/qkv'; what lies in another collection has that collection's name in
front, as in 'batch_stats/norm/mean'. An array of another shape that no `reshape` matches is an
error: it never goes missing in silence.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.traverse_util as traverse
import jax
import numpy as np
from absl import logging
from etils import epath

from bigtrain.iteration.checkpoints import Checkpoints
from bigtrain.iteration.low_rank import Int8

Arrays = Mapping[str, Any]  # Path to something that `np.asarray` takes.
Reshape = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]  # (array, our shape) -> our array.


@dataclasses.dataclass(frozen=True)
class Report:
  """What a warm start did: paths of the model, and of the source.

  Attributes:
    taken: Paths that got an array as it was.
    reshaped: Path to (shape in the source, shape here).
    kept: Paths that `keep` matched.
    fresh: Paths that the source does not have.
    unused: Paths of the source that no parameter asked for.
  """

  taken: tuple[str, ...]
  reshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
  kept: tuple[str, ...]
  fresh: tuple[str, ...]
  unused: tuple[str, ...]

  def lines(self, most: int = 8) -> list[str]:
    """Says it in lines for a person, each with at most so many paths."""
    reshaped = [f'{path} {a} -> {b}' for path, (a, b) in self.reshaped.items()]
    kinds = {
      'reshaped': reshaped,
      'kept as initialised': self.kept,
      'not in the source, so as initialised': self.fresh,
      'in the source, and not used': self.unused,
    }
    return [f'warm start: {len(self.taken)} arrays taken'] + [
      f'{len(paths)} {kind}: {", ".join(paths[:most])}{", ..." if len(paths) > most else ""}'
      for kind, paths in kinds.items()
      if paths
    ]


class WarmStart:
  """What `warm_start` returns, and `Experiment.start` takes.

  Attributes:
    runs: (workdir, step) of each run that it takes parameters of; 0 is the newest until it starts.
    report: What it did; None until it has started.
  """

  def __init__(self, source: 'str | Callable[[], Arrays]', step: int, rules: Mapping[str, Any]):
    """Takes what `warm_start` takes."""
    self._source, self._rules = source, rules
    named = [(source, step)] if isinstance(source, str) else getattr(source, 'runs', ())
    self.runs: list[tuple[str, int]] = list(named)
    self.report: Report | None = None

  def __call__(self, params: Any, model_state: Any) -> tuple[Any, Any]:
    """Returns parameters and collections, replaced."""
    if isinstance(self._source, str):
      checkpoints = Checkpoints(self._source)
      self.runs = [(self._source, checkpoints.choose(self.runs[0][1]))]
      arrays = checkpoints.arrays(self.runs[0][1])
      checkpoints.close()
    else:
      arrays = self._source()
    flat: dict[str, Any] = traverse.flatten_dict({'params': params, **model_state}, sep='/')
    ours = {path.removeprefix('params/'): x for path, x in flat.items()}
    chosen, report = match({path: x.shape for path, x in ours.items()}, arrays, **self._rules)
    if not chosen:
      raise ValueError(
        f'the warm start found none of the parameters, such as {next(iter(ours))}: '
        f'the source has {", ".join(list(arrays)[:5])}. Give rename='
      )
    for line in report.lines() if jax.process_index() == 0 else ():
      logging.info('%s', line)
    self.report = report
    placed = {path: _place(chosen[path], x) if path in chosen else x for path, x in ours.items()}
    collections = {name: {} for name in ('params', *model_state)}
    for path, x in placed.items():
      name, _, rest = path.partition('/')
      if name in model_state:
        collections[name][rest] = x
      else:
        collections['params'][path] = x
    trees = {name: traverse.unflatten_dict(flat, sep='/') for name, flat in collections.items()}
    return trees.pop('params'), trees


def warm_start(
  source: str | Callable[[], Arrays],
  *,
  step: int = 0,
  rename: Iterable[tuple[str, str]] = (),
  keep: str | None = None,
  reshape: Iterable[tuple[str, Reshape]] = (),
) -> WarmStart:
  r"""Returns what `Experiment.start` takes; nothing is read before training starts.

  Args:
    source: The workdir of a run, whose averaged parameters are taken where it kept some; or a
      function that returns arrays by path, such as `published(folder, family)`.
    step: Of the run's checkpoint; 0 is the newest.
    rename: (pattern, path in the source): the first pattern that matches the whole of a path here
      says what the source calls it, as in `re.sub`. `(r'block_[345]/(.*)', r'block_2/\1')` grows a
      model by three blocks, all begun as the source's third.
    keep: A pattern of paths here that stay as initialised, such as 'head/.*'.
    reshape: (pattern, function of array and our shape), such as
      `('embed/.*', extended)` or `('position_embed', resampled)`.

  Raises:
    ValueError: A pattern is none. When training starts: the source matches no parameter, or an
      array has another shape and no `reshape`.
  """
  rules = {'rename': tuple(rename), 'keep': keep, 'reshape': tuple(reshape)}
  for pattern in (
    *(p for p, _ in (*rules['rename'], *rules['reshape'])),
    *([keep] if keep else []),
  ):
    try:
      re.compile(pattern)
    except re.error as error:
      raise ValueError(f'warm start: {pattern!r} is no regular expression: {error}') from None
  return WarmStart(source, step, rules)


def match(
  shapes: Mapping[str, tuple[int, ...]],
  arrays: Arrays,
  *,
  rename: Iterable[tuple[str, str]] = (),
  keep: str | None = None,
  reshape: Iterable[tuple[str, Reshape]] = (),
) -> tuple[dict[str, np.ndarray], Report]:
  """Returns the arrays of a source for the paths of `shapes`, as `warm_start` says, and a report.

  Raises:
    ValueError: `keep` matches no path; an array has another shape, or a `reshape` gave one.
  """
  chosen, taken, reshaped, kept, fresh, used = {}, [], {}, [], [], set()
  for path, shape in shapes.items():
    if keep and re.fullmatch(keep, path):
      kept.append(path)
      continue
    theirs = path
    for pattern, replacement in rename:
      if re.fullmatch(pattern, path):
        theirs = re.sub(pattern, replacement, path)
        break
    whole, _, part = theirs.rpartition('/')
    if theirs in arrays:
      used.add(theirs)
      array = np.asarray(arrays[theirs])
    elif whole in arrays and part in ('int8', 'scale'):
      used.add(whole)
      array = np.asarray(getattr(Int8.of(np.asarray(arrays[whole])), part))
    else:
      fresh.append(path)
      continue
    if array.shape == tuple(shape):
      taken.append(path)
    else:
      function = next((f for pattern, f in reshape if re.fullmatch(pattern, path)), None)
      if function is None:
        raise ValueError(
          f'{path} must have shape {tuple(shape)}, and the source has {array.shape}: '
          f'keep={path!r} leaves it as initialised, reshape=[({path!r}, ...)] changes it'
        )
      reshaped[path] = (array.shape, tuple(shape))
      array = function(array, tuple(shape))
      if array.shape != tuple(shape):
        raise ValueError(f'reshape gave {path} the shape {array.shape}, not {tuple(shape)}')
    chosen[path] = array
  if keep and not kept:
    raise ValueError(f'keep={keep!r} matches none of the parameters, such as {next(iter(shapes))}')
  unused = tuple(path for path in arrays if path not in used)
  return chosen, Report(tuple(taken), reshaped, tuple(kept), tuple(fresh), unused)


def orbax_folder(folder: str, *, inside: str = 'params') -> Callable[[], Arrays]:
  """Returns a source for `warm_start`: a tree that Orbax saved, by whatever program.

  Args:
    folder: What holds the tree's own files (of a checkpoint manager, STEP/default or the like).
    inside: A branch of the tree, whose name paths here do not have; empty is the whole of it.

  Raises (when training starts):
    ValueError: The folder is no saved tree, is damaged, or has no such branch.
  """

  def arrays() -> dict[str, Any]:
    import orbax.checkpoint as ocp

    path = epath.Path(folder).absolute()
    handler = ocp.PyTreeCheckpointHandler()
    try:
      tree: Any = handler.metadata(path).tree
      args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
      tree = handler.restore(path, args=ocp.args.PyTreeRestore(restore_args=args))
    except (ValueError, KeyError, OSError) as error:
      line = str(error).strip().splitlines()[0]
      raise ValueError(
        f'{path} is no tree that Orbax saved, or damaged ({line}): name the folder that holds '
        '_METADATA'
      ) from error
    for name in filter(None, inside.split('/')):
      if name not in tree:
        raise ValueError(f'{path} has no branch {name!r}, but {", ".join(tree)}: give inside=')
      tree = tree[name]
    return traverse.flatten_dict(tree, sep='/')

  return arrays


def _place(array: np.ndarray, like: jax.Array) -> jax.Array:
  array = array.astype(like.dtype)
  return jax.make_array_from_callback(like.shape, like.sharding, lambda index: array[index])


def extended(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """More or fewer rows: those that are new are the mean of the old (a vocabulary that grows).

  Hewitt 2021: a row at the mean gives a new token no more probability than the others have.
  """
  mean = array.mean(axis=0, keepdims=True, dtype=np.float64).astype(array.dtype)
  more = np.repeat(mean, max(0, shape[0] - len(array)), axis=0)
  return np.concatenate([array, more])[: shape[0]]


def resampled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Position embeddings for another number of positions.

  [positions, D] in a line, or on a square grid where both numbers of positions are squares (for a
  ViT of another resolution; Dosovitskiy et al. 2021, section 3.2), linearly interpolated. Axes of
  size 1 in front stay.
  """
  lead, (old, width), new = array.shape[:-2], array.shape[-2:], shape[-2]
  side, wanted = round(old**0.5), round(new**0.5)
  square = side**2 == old and wanted**2 == new
  grid, target = ((side, side), (wanted, wanted)) if square else ((old,), (new,))
  out = jax.image.resize(array.reshape(*grid, width), (*target, width), 'linear', antialias=False)
  return np.asarray(out).reshape(*lead, new, width)
