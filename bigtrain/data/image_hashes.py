"""Likeness of pictures: which might be copies of each other, and how alike two are once aligned.

Both steps allow for a crop or shift of up to 7 % a side, stretching by up to 16 %, another
brightness and contrast, and re-encoding; not for mirroring or turning. The defaults were set on
Fashion-MNIST, where pictures of one kind are most alike: of planted copies 95 % and more are found,
and in 5,000 pictures 6 alarms, of which 4 show one article twice to the eye. Of the cuttings of two
photographs, 64 pixels a side and 32, crops and shifts are found in 1.00 of all cases, another
brightness in 0.94 and 0.95, with no alarm; JPEG at quality 60, which leaves little of a plain patch
so small, in 0.81 and 0.50.

Candidates come from a DCT hash (the lowest frequencies of a small grey picture) kept as numbers
rather than bits. A crop moves such a hash along directions that are known in advance, so each
picture is compared as the plane which its shifts and stretches span (tangent distance: Simard,
LeCun and Denker 1993, section 2). Candidates are then aligned pixel by pixel (Lucas and Kanade
1981) and compared by their slopes, which tell pictures of one silhouette apart.

Letters in shapes: B pictures or pairs, M = 32 (side of a thumbnail), D values of a hash.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

_SIDE = 32
_MIDDLE = (_SIDE - 1) / 2
_FREQUENCIES = 7
_POINTS = 16  # Samples along each axis of a hashed window.
_WINDOW = 0.857  # The hashed window is what a crop of 2 in 28 pixels a side leaves.
_STEP = 1.5  # Thumbnail pixels by which a window is moved for a tangent.
# Windows of the original (size, down, right) about which its plane is laid: crops, then shifts.
_PLANES = (
  *((size, 0.0, 0.0) for size in (0.76, 0.83)),
  *((_WINDOW, down, right) for down in (-0.045, 0.045) for right in (-0.045, 0.045)),
)
_LIKELY = 0.85  # Copies score above 0.969 in 99 of 100 cases, but for grain that was encoded.
_NEAREST = 8
_ROWS = 256
_FEW = 4096  # Pictures of which all pairs are compared.
_PROBES = 16
_LLOYD = 4
_BLOCK = 2048
_TRIM = 5  # Thumbnail pixels left out around the aligned window: a crop has lost them.
_ROUNDS = 10
_CERTAIN = 0.998
_STANDS_OUT = 0.08
_USUAL = 0.5  # Likeness of the nearest pictures, at least; of rare ones none may be near.
_FAR = np.array([4.0, 0.22, 4.0, 0.22], np.float32)  # Pixels and stretch, down and right.


def thumbnails(images: Sequence[Any]) -> np.ndarray:
  """Returns pictures as grey float32 [B, 32, 32], each by area where it shrinks.

  Args:
    images: pictures [H, W, C] or [H, W] of any numeric type, each of its own size.
  """
  small = np.empty((len(images), _SIDE, _SIDE), np.float32)
  shapes: dict[tuple[int, ...], list[int]] = {}
  for i, image in enumerate(images):
    shapes.setdefault(np.shape(image), []).append(i)
  for shape, rows in shapes.items():
    grey = np.stack([images[i] for i in rows]).astype(np.float32)
    grey = grey.mean(-1) if len(shape) == 3 else grey
    small[rows] = _shrink(shape[0]) @ grey @ _shrink(shape[1]).T
  return small


def hashes(small: np.ndarray) -> np.ndarray:
  """Returns unit vectors float32 [B, D] of thumbnails [B, M, M]; zeros where a picture is flat."""
  inner = (_MIDDLE + _WINDOW * _SIDE / 2 * _ticks())[None]
  return _unit(_frequencies(_sampled(small, inner, inner)))


def candidates(
  read: Callable[[np.ndarray], Sequence[Any]], hashed: np.ndarray, side: np.ndarray
) -> np.ndarray:
  """Returns pairs int64 [P, 2] that might be copies, each once, the lower first.

  Each picture is compared with those of the 16 nearest of about sqrt(N) cells (an inverted file:
  Sivic and Zisserman 2003), by matrix products, and keeps its 8 nearest: time grows as N ** 1.5.

  Args:
    read: from numbers of pictures [B] to pictures.
    hashed: of all pictures, [N, D].
    side: int [N]; only pictures of different sides are paired, all where it is negative.
  """
  centres, cell = _cells(hashed)
  members = np.split(np.argsort(cell, kind='stable'), np.cumsum(np.bincount(cell))[:-1])
  real = np.flatnonzero(hashed.any(1))
  found = [np.empty((0, 2), np.int64)]
  for start in range(0, len(real), _BLOCK):
    rows = real[start : start + _BLOCK]
    planes_BKD = _planes(thumbnails(read(rows)))
    probed = np.argpartition(-_inside(planes_BKD, centres), min(_PROBES, len(centres)) - 1, axis=1)
    probed = probed[:, :_PROBES]
    hits = []
    for which in np.unique(probed):
      own = np.flatnonzero((probed == which).any(1))
      others = members[which]
      score = _inside(planes_BKD[own], hashed[others])
      barred = rows[own, None] == others
      barred |= (side[rows[own], None] == side[others]) & (side[others] >= 0)
      row, other = np.nonzero((score >= _LIKELY**2) & ~barred)
      hits.append((own[row], others[other], score[row, other]))
    row, other, score = (np.concatenate(each) for each in zip(*hits, strict=True))
    order = np.lexsort((other, -score, row))
    row, other = row[order], other[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    pair = np.stack([rows[row], other], 1)[rank < _NEAREST]
    found.append(np.sort(pair, axis=1))
  return np.unique(np.concatenate(found), axis=0)


def _cells(hashed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns centres [C, D] by k-means on the sphere, and the nearest of each picture [N]."""
  count = max(1, round(len(hashed) ** 0.5)) if len(hashed) > _FEW else 1
  rng = np.random.default_rng(0)
  centres = hashed[rng.choice(len(hashed), count, replace=False)]
  cell = np.zeros(len(hashed), np.int64)
  for _ in range(_LLOYD if count > 1 else 0):
    for start in range(0, len(hashed), _BLOCK):
      cell[start : start + _BLOCK] = (hashed[start : start + _BLOCK] @ centres.T).argmax(1)
    sums = np.zeros_like(centres)
    np.add.at(sums, cell, hashed)
    size = np.linalg.norm(sums, axis=1, keepdims=True)
    centres = np.where(size > 0, sums / np.maximum(size, 1e-9), centres)
  # Empty cells would be probed in vain.
  kept, cell = np.unique(cell, return_inverse=True)
  return centres[kept], cell


def _inside(planes_BKD: np.ndarray, hashed_MD: np.ndarray) -> np.ndarray:
  """Returns how much of each hash lies in the nearest plane of each picture, squared, [B, M]."""
  shares = (planes_BKD.reshape(-1, planes_BKD.shape[2]) @ hashed_MD.T) ** 2
  return shares.reshape(len(planes_BKD), len(_PLANES), -1, len(hashed_MD)).sum(2).max(1)


def copies(
  read: Callable[[np.ndarray], Sequence[Any]], hashed: np.ndarray, side: np.ndarray, near: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns pairs int64 [P, 2] of copies, each once, the lower first, and how alike they are [P].

  Pictures of one plain kind, such as trousers at 28 pixels, are alike up to 0.997. So a pair below
  0.998 must also stand out: what is left to 1 is at most 0.08 of what it is for the median of
  the pictures nearest to either. Encoders take grain away: blurred by two pixels in place of one, a
  copy may be three times as far from 1, and must stand out in any case.

  Args:
    read: from numbers of pictures [B] to pictures.
    hashed: of all pictures, [N, D].
    side: int [N]; only pictures of different sides are paired, all where it is negative.
    near: least similarity of a copy.
  """
  pairs = candidates(read, hashed, side)
  blocks = [pairs[at : at + _ROWS] for at in range(0, len(pairs), _ROWS)]
  both = [np.stack([similarity(*ends, blur) for blur in (1, 2)]) for ends in _read(read, blocks)]
  fine, coarse = np.concatenate([np.empty((2, 0)), *both], axis=1)
  kept = (fine >= near) & ((fine >= _CERTAIN) | (_left(pairs, fine, len(hashed)) <= _STANDS_OUT))
  blurred = (coarse >= 1 - 3 * (1 - near)) & (_left(pairs, coarse, len(hashed)) <= _STANDS_OUT)
  return pairs[kept | blurred], np.where(kept, fine, coarse)[kept | blurred]


def _read(
  read: Callable[[np.ndarray], Sequence[Any]], blocks: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  for block in blocks:
    yield thumbnails(read(block[:, 0])), thumbnails(read(block[:, 1]))


def _left(pairs: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
  """Returns what each pair's score leaves to 1, over what the usual one of either end does."""
  ends, both = pairs.T.ravel(), np.tile(scores, 2)
  order = np.lexsort((both, ends))
  counts = np.bincount(ends, minlength=count)
  middle = np.cumsum(counts) - counts + (counts - 1) // 2
  usual = np.full(count, _USUAL)
  usual[counts > 1] = np.maximum(both[order][middle[counts > 1]], _USUAL)
  return (1 - scores) / np.maximum(1 - usual[pairs].max(1, initial=_USUAL), 1e-9)


def similarity(left_BMM: np.ndarray, right_BMM: np.ndarray, blur: float) -> np.ndarray:
  """Returns the correlation of the slopes of pairs of thumbnails once aligned, float32 [B].

  1 is the same picture up to position, stretch, brightness and contrast; flat pictures score 0.
  `blur` is the deviation of a Gaussian, in pixels of the thumbnail.
  """
  left_BMM, right_BMM = _blurred(left_BMM, blur), _blurred(right_BMM, blur)
  # Either may be the cropped one, and only the inside of the crop lies wholly inside the other.
  return np.maximum(_aligned(left_BMM, right_BMM), _aligned(right_BMM, left_BMM))


def _aligned(moved_BMM: np.ndarray, fixed_BMM: np.ndarray) -> np.ndarray:
  """Gauss-Newton over shift and stretch of each axis, for all pairs at once; returns the best."""
  inner = np.arange(_TRIM, _SIDE - _TRIM, dtype=np.float32) - np.float32(_MIDDLE)
  target = _unit(_centred(fixed_BMM[:, _TRIM:-_TRIM, _TRIM:-_TRIM]))
  target_slopes = _slopes(fixed_BMM)[:, :, _TRIM:-_TRIM, _TRIM:-_TRIM]
  slopes = _slopes(moved_BMM)
  moves = np.zeros((len(moved_BMM), 4), np.float32)
  best = np.zeros(len(moved_BMM), np.float32)
  for _ in range(_ROUNDS):
    down = _weights(_MIDDLE + moves[:, :1] + (1 + moves[:, 1:2]) * inner)
    right = _weights(_MIDDLE + moves[:, 2:3] + (1 + moves[:, 3:]) * inner).transpose(0, 2, 1)
    dy, dx = down @ slopes[:, 0] @ right, down @ slopes[:, 1] @ right
    same = (
      _unit(_centred(np.stack([dy, dx], 1)), (1, 2, 3)) * _unit(_centred(target_slopes), (1, 2, 3))
    ).sum((1, 2, 3))
    best = np.maximum(best, same)
    window = _centred(down @ moved_BMM @ right)
    size = np.sqrt((window**2).sum((1, 2)))[:, None, None] + 1e-6
    window = (window / size).reshape(len(window), -1)
    change = np.stack([dy, dy * inner[:, None], dx, dx * inner], 1) / size[:, None]
    change = change.reshape(*change.shape[:2], -1)
    change -= change.mean(2, keepdims=True)
    # Brightness is centred away and contrast is a direction of its own: neither may pass for a
    # move.
    change -= (change @ window[:, :, None]) * window[:, None]
    square = change @ change.transpose(0, 2, 1)
    ridge = 1e-3 * np.trace(square, axis1=1, axis2=2)[:, None, None] / 4 + 1e-9
    wrong = (target.reshape(window.shape) - window)[:, :, None]
    step = np.linalg.solve(square + ridge * np.eye(4, dtype=np.float32), change @ wrong)
    moves = np.clip(moves + step[:, :, 0], -_FAR, _FAR)
  return best


def _planes(small: np.ndarray) -> np.ndarray:
  """Returns bases [B, planes x 5, D], orthonormal by fives: a picture, its shifts and stretches."""
  planes = []
  for share, down, right in _PLANES:
    half = share * _SIDE / 2

    def at(dy: float, sy: float, dx: float, sx: float, half=half, down=down, right=right):
      y = _MIDDLE + down * _SIDE + dy + half * (1 + sy) * _ticks()
      x = _MIDDLE + right * _SIDE + dx + half * (1 + sx) * _ticks()
      return _frequencies(_sampled(small, y[None], x[None]))

    more = _STEP / half
    spans = [at(0, 0, 0, 0)]
    for axis, size in enumerate((_STEP, more, _STEP, more)):
      move = np.eye(4)[axis] * size
      spans.append(at(*move) - at(*-move))
    planes.append(np.linalg.qr(np.stack([_unit(span) for span in spans], 2))[0])
  return np.concatenate(planes, 2).transpose(0, 2, 1)


def _frequencies(window: np.ndarray) -> np.ndarray:
  """Returns the lowest frequencies but the mean, [B, D]; pictures fall as 1 / frequency, which is
  undone."""
  order = np.arange(_FREQUENCIES)
  basis = np.cos(np.pi * (np.arange(_POINTS) + 0.5) * order[:, None] / _POINTS)
  basis[0] /= np.sqrt(2)
  basis = basis.astype(np.float32)
  weight = np.hypot(order[:, None], order).astype(np.float32)
  return (weight * (basis @ window @ basis.T)).reshape(len(window), -1)[:, 1:]


def _ticks() -> np.ndarray:
  return ((np.arange(_POINTS) + 0.5) / _POINTS * 2 - 1).astype(np.float32)


def _sampled(small: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
  return _weights(y) @ small @ _weights(x).transpose(0, 2, 1)


def _weights(place: np.ndarray) -> np.ndarray:
  """Returns linear interpolation at places [B, n] as matrices [B, n, M]; the edge goes on."""
  place = np.clip(place, 0, _SIDE - 1).astype(np.float32)
  return np.maximum(0, 1 - np.abs(place[:, :, None] - np.arange(_SIDE, dtype=np.float32)))


def _shrink(size: int) -> np.ndarray:
  step = size / _SIDE
  middle = (np.arange(_SIDE) + 0.5) * step - 0.5
  weight = np.maximum(0, 1 - np.abs(np.arange(size) - middle[:, None]) / max(1, step))
  return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def _blurred(small: np.ndarray, blur: float) -> np.ndarray:
  """Returns thumbnails without what resampling and encoders change."""
  away = (np.arange(_SIDE)[:, None] - np.arange(_SIDE)) / blur
  weight = np.exp(-(away**2) / 2)
  weight = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
  return weight @ small @ weight.T


def _slopes(small: np.ndarray) -> np.ndarray:
  return np.stack([np.gradient(small, axis=1), np.gradient(small, axis=2)], 1)


def _centred(values: np.ndarray) -> np.ndarray:
  return values - values.mean((-2, -1), keepdims=True)


def _unit(values: np.ndarray, axes: tuple[int, ...] = ()) -> np.ndarray:
  axes = axes or tuple(range(1, values.ndim))
  size = np.sqrt((values**2).sum(axes, keepdims=True))
  # A flat picture leaves rounding errors, which must not be blown up into a picture.
  return np.where(size > 1e-4, values / np.maximum(size, 1e-4), 0)
