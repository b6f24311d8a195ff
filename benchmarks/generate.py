"""Tokens a second of one text, against what the memory's bandwidth allows.

  python -m benchmarks.generate --depth=8 --width=1024

To write a token all matrices are read once, and little else is done: bandwidth over their bytes is
the limit of one text at a time. The bandwidth is measured here, by the fastest of a few reads of an
array that no cache holds; runs and reads take turns, and medians are shown.
"""

import functools
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from bigtrain import architecture, compute, iteration

_DEPTH = flags.DEFINE_integer('depth', 8, 'Blocks.')
_WIDTH = flags.DEFINE_integer('width', 1024, 'Of the stream.')
_VOCAB = flags.DEFINE_integer('vocab', 32_768, 'Tokens there are.')
_TOKENS = flags.DEFINE_integer('tokens', 64, 'To write in each run.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Runs of each kind.')
_MEGABYTES = 256  # Of the array that is read; several times the largest cache.


def read_seconds(array: np.ndarray, threads: ThreadPoolExecutor, count: int) -> float:
  """Returns how long it takes to read an array once, all threads together."""
  parts = np.array_split(array, count)
  start = time.perf_counter()
  list(threads.map(np.max, parts))
  return time.perf_counter() - start


def random_array(draws: np.random.Generator, dtype: Any, like: Any) -> jax.Array:
  """Returns a parameter of some type: zeros would multiply as fast, and draw no token."""
  return jnp.asarray(0.02 * draws.standard_normal(like.shape, np.float32), dtype)


def main(_):
  """Prints one line of JSON for each type of the parameters."""
  compute.start()
  array = np.ones(_MEGABYTES * 2**20 // 4, np.float32)
  count = len(jax.devices()) if jax.default_backend() == 'cpu' else 1
  threads = ThreadPoolExecutor(count)
  for dtype in (jnp.float32, jnp.bfloat16):
    # The verb `generate` computes in float32 on a CPU, whatever parameters are kept in.
    computed = jnp.float32 if jax.default_backend() == 'cpu' else dtype
    model = architecture.DecoderLM(_VOCAB.value, _DEPTH.value, _WIDTH.value, dtype=computed)
    decode, new_cache = architecture.cached_decode(model)
    begin = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(begin, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    variables = jax.tree.map(
      functools.partial(random_array, np.random.default_rng(0), dtype), shapes
    )
    # A row of the embedding is read, and every other number.
    size = sum(x.nbytes for x in jax.tree.leaves(variables)) - _VOCAB.value * _WIDTH.value * (
      np.dtype(dtype).itemsize
    )
    if compute.tiles_pay(jax.default_backend(), rows=1, devices=1):
      variables = architecture.tiled(model, variables)
    draw = functools.partial(iteration.sample, temperature=0.0)
    write = functools.partial(
      iteration.generate, decode, variables, new_cache, np.zeros((1, 1), np.int32),
      tokens=_TOKENS.value + 16, draw=draw, chunk=16,
    )  # fmt: skip
    seconds, bandwidth = [], []
    for _ in range(_ROUNDS.value):
      chunks = write()
      next(chunks)  # Compiles, and fills the caches with what a run leaves there.
      start = time.perf_counter()
      for _ in chunks:
        pass
      seconds.append((time.perf_counter() - start) / _TOKENS.value)
      bandwidth.append(array.nbytes / min(read_seconds(array, threads, count) for _ in range(3)))
    speed, limit = 1 / statistics.median(seconds), statistics.median(bandwidth) / size
    print(json.dumps({
      'type': np.dtype(dtype).name, 'megabytes_a_token': round(size / 1e6, 1),
      'tokens_a_second': round(speed, 1), 'limit': round(limit, 1),
      'share_of_limit': round(speed / limit, 3),
      'gigabytes_a_second': round(statistics.median(bandwidth) / 1e9, 1),
    }))  # fmt: skip


if __name__ == '__main__':
  app.run(main)
