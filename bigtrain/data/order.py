"""The order of records: a keyed shuffle that needs no memory and answers for any position at once.

A generalised Feistel network over the pairs [0, a) x [0, b) with a * b barely above n (Black and
Rogaway, 'Ciphers with arbitrary finite domains', 2002, section 4), followed by cycle walking. A
shuffled list would cost O(n) memory and time on every host at every epoch, and could not be entered
in the middle without making it first.
"""

import math

import numpy as np

_ROUNDS = 8  # Four each way; with fewer, neighbours stay measurably related in small sources.
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: steps of it are spread evenly.


def shuffled(positions: np.ndarray, n: int, seed: int) -> np.ndarray:
  """Returns the record at each position of an endless shuffled stream over `n` records.

  Position p belongs to epoch p // n; each epoch holds every record once, in an order of its own.

  Args:
    positions: integers from 0, any shape.
    n: records in the source, at least 1.
    seed: any integer.

  Returns:
    int64 of the shape of `positions`, in [0, n).
  """
  shape = np.shape(positions)
  # At least one axis: NumPy warns where a scalar wraps around, and wrapping is the point here.
  positions = np.asarray(positions, np.uint64).reshape(-1)
  epochs, place = positions // np.uint64(n), positions % np.uint64(n)
  # A key per element, not per call: one call may span many epochs of a small source.
  keys = _mix(_mix(epochs + np.uint64(1)) ^ np.uint64(seed % 2**64))
  records = _permute(place, keys, n)
  while (outside := records >= n).any():
    records[outside] = _permute(records[outside], keys[outside], n)
  return records.astype(np.int64).reshape(shape)


def _permute(values: np.ndarray, keys: np.ndarray, n: int) -> np.ndarray:
  """A bijection of [0, a * b) onto itself for each key."""
  a = math.isqrt(n - 1) + 1
  b = -(-n // a)
  high, low = values // np.uint64(b), values % np.uint64(b)
  for step in range(1, _ROUNDS + 1):
    round_keys = keys + np.uint64(step * _GOLDEN % 2**64)
    if step % 2:
      high = (high + _mix(low ^ round_keys) % np.uint64(a)) % np.uint64(a)
    else:
      low = (low + _mix(high ^ round_keys) % np.uint64(b)) % np.uint64(b)
  return high * np.uint64(b) + low


def _mix(values: np.ndarray) -> np.ndarray:
  """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): each bit in flips half of the bits
  out."""
  values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return values ^ (values >> np.uint64(31))
