"""A journal that is read while it grows: new lines, by columns, thinned to what can be drawn."""

from __future__ import annotations

import io
import itertools
import json
import math

import numpy as np
from etils import epath

POINTS = 300  # Pairs of least and greatest value that a curve keeps.
_MARK = 256  # Bytes that tell whether a file only grew.

Curve = tuple[np.ndarray, np.ndarray]


class Growing:
  """A file of lines that grows, and now and then is written anew."""

  def __init__(self, path: epath.Path):
    self._path = path
    self._offset, self._mark = 0, b''

  def read(self) -> tuple[bool, bytes]:
    """Returns whether the file is another than last time, and its whole lines since then."""
    if not self._path.exists():
      anew, self._offset, self._mark = self._offset > 0, 0, b''
      return anew, b''
    with self._path.open('rb') as file:
      file.seek(self._offset - len(self._mark))
      anew = file.read(len(self._mark)) != self._mark
      if anew:
        file.seek(0)
        self._offset, self._mark = 0, b''
      content = file.read()
    content = content[: content.rfind(b'\n') + 1]  # A run that is writing may be in mid-line.
    self._offset += len(content)
    self._mark = (self._mark + content[-_MARK:])[-_MARK:]
    return anew, content


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> Curve:
  """Returns the least and the greatest y of each stretch of ascending x: peaks stay visible."""
  if len(x) <= 2 * points:
    return x, y
  inner = np.searchsorted(x, np.linspace(x[0], x[-1], points + 1)[1:-1])
  chosen = [
    begin + place
    for begin, end in itertools.pairwise([0, *inner.tolist(), len(x)])
    if end > begin
    for place in sorted({int(y[begin:end].argmin()), int(y[begin:end].argmax())})
  ]
  return x[chosen], y[chosen]


def columns(content: bytes) -> dict[str, np.ndarray]:
  """Reads lines of a journal by columns; a metric is NaN where a line doesn't have it.

  Raises:
    ValueError: A line is no object of numbers.
  """
  import pyarrow
  from pyarrow import json as arrow_json

  try:
    # Arrow's reader ends the process where a line is null: it sees lines of objects alone.
    if not content.startswith(b'{') or content.count(b'\n{') + 1 != content.count(b'\n'):
      raise pyarrow.ArrowInvalid
    options = arrow_json.ReadOptions(block_size=1 << 24)
    table = arrow_json.read_json(io.BytesIO(content), read_options=options)
    return {name: table[name].cast(pyarrow.float64()).to_numpy() for name in table.column_names}
  except pyarrow.ArrowException:  # It doesn't read NaN, which Python writes.
    pass
  try:
    rows = [dict(json.loads(line)) for line in content.splitlines() if line.strip()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {n: np.array([row.get(n, math.nan) for row in rows], float) for n in names}
  except (ValueError, TypeError, OverflowError, RecursionError) as error:
    raise ValueError(f'a line of the journal is no object of numbers ({error})') from None
