"""Steps that clean pictures: blank and tiny ones dropped, channels and range made the same.

Each function returns a step for `data.clean` that worker processes can receive. Pictures are
[H, W, C], of any size each. `clean` keeps in memory what a step changes: where a large set lies on
disk, let `to_channels` and `to_range` mend some odd pictures, not all.

White, the highest value, is 255 for uint8, 65535 for uint16 and 1 for floats and booleans.
"""

import functools
from typing import Any, Literal

import numpy as np

from bigtrain.data.cleaning import Drop, Step

Record = dict[str, Any]

_WHITE = {'b': 1, 'u1': 255, 'u2': 65535, 'f': 1}
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow makes pictures grey.


def drop_blank(least_std: float = 0.01, *, key: str = 'image') -> Step:
  """Returns a step that drops pictures of one colour, or nearly.

  Args:
    least_std: the least standard deviation over pixels that one channel must have, as a share of
      white, so 0.01 is 2.55 levels of 255. The flattest picture of `data.digits` has 0.30, of
      `data.fashion` 0.065.
    key: the picture, floats in [0, 1] or integers.

  Raises:
    ValueError: where `least_std` lies outside of (0, 0.5], the most that a picture can have; by the
      step, for a picture of another shape or type.
  """
  if not 0 < least_std <= 0.5:
    raise ValueError(
      f'data.drop_blank: least_std is a share of white in (0, 0.5], got {least_std}: use 0.01'
    )
  return functools.partial(_drop_blank, least_std=least_std, key=key)


def _drop_blank(record: Record, *, least_std: float, key: str) -> Record | Drop:
  image_HWC = _image(record, key, 'drop_blank')
  if not np.isfinite(image_HWC).all():
    return Drop('not finite')
  deviation_C = image_HWC.std((0, 1), dtype=np.float64) / _white(image_HWC, 'drop_blank', key)
  return Drop('blank') if deviation_C.max(initial=0) < least_std else record


def drop_tiny(height: int, width: int, *, key: str = 'image') -> Step:
  """Returns a step that drops pictures of fewer pixels down or across.

  Args:
    height: the least, in pixels.
    width: the least, in pixels.
    key: the picture.

  Raises:
    ValueError: for a least size below 1; by the step, for a picture of another shape.
  """
  if min(height, width) < 1:
    raise ValueError(f'data.drop_tiny: sizes must be at least 1, got {height} by {width}')
  return functools.partial(_drop_tiny, height=height, width=width, key=key)


def _drop_tiny(record: Record, *, height: int, width: int, key: str) -> Record | Drop:
  down, across = _image(record, key, 'drop_tiny').shape[:2]
  return Drop('tiny') if down < height or across < width else record


def to_channels(channels: Literal[1, 3], *, key: str = 'image') -> Step:
  """Returns a step that makes pictures grey or coloured, over white where they are transparent.

  Args:
    channels: 1 for grey (0.299 R + 0.587 G + 0.114 B, ITU-R BT.601) or 3 for colour.
    key: the picture [H, W], or [H, W, C] where C is 1 (grey), 2 (grey, alpha), 3 (colour) or 4
      (colour, alpha); it becomes [H, W, channels] of the same type.

  Raises:
    ValueError: for other channels; by the step, for a picture of another shape or type.
  """
  if channels not in (1, 3):
    raise ValueError(f'data.to_channels: channels must be 1 or 3, got {channels}')
  return functools.partial(_to_channels, channels=channels, key=key)


def _to_channels(record: Record, *, channels: int, key: str) -> Record:
  image_HWC = _image(record, key, 'to_channels')
  had, white = image_HWC.shape[2], _white(image_HWC, 'to_channels', key)
  if had == channels:
    return {**record, key: image_HWC}
  values_HWC = image_HWC.astype(np.float64)
  if had in (2, 4):
    alpha_HW1 = values_HWC[..., -1:] / white
    values_HWC = values_HWC[..., :-1] * alpha_HW1 + white * (1 - alpha_HW1)
  if channels == 1 and values_HWC.shape[2] == 3:
    values_HWC = (values_HWC @ _LUMA)[..., None]
  if image_HWC.dtype.kind != 'f':
    values_HWC = np.rint(values_HWC)
  values_HWC = np.broadcast_to(values_HWC, (*values_HWC.shape[:2], channels))
  return {**record, key: values_HWC.astype(image_HWC.dtype)}


def to_range(white: float | None = None, *, key: str = 'image') -> Step:
  """Returns a step that makes pictures uint8, from 0 to 255.

  Dropped are pictures that hold NaN ('not finite') or a value that would be rounded to one outside
  of 0 to 255 ('out of range'). White is not guessed from the values: a dark picture in [0, 255]
  looks like one in [0, 1].

  Args:
    white: the value that becomes 255, such as 1 or 255 for floats, 4095 for 12 bits in 16; None
      goes by the type: 255 for uint8, 65535 for uint16, 1 for floats and booleans.
    key: the picture.

  Raises:
    ValueError: for a `white` that is not positive; by the step, for a picture of another shape, or
      of another type where `white` is None.
  """
  if white is not None and not white > 0:
    raise ValueError(f'data.to_range: white must be positive, got {white}: use 1 or 255')
  return functools.partial(_to_range, white=white, key=key)


def _to_range(record: Record, *, white: float | None, key: str) -> Record | Drop:
  image_HWC = _image(record, key, 'to_range')
  white = _white(image_HWC, 'to_range', key) if white is None else white
  if image_HWC.dtype == np.uint8 and white == 255:
    return record
  if not np.isfinite(image_HWC).all():
    return Drop('not finite')
  levels_HWC = np.rint(image_HWC * (255.0 / white))
  if levels_HWC.min(initial=0) < 0 or levels_HWC.max(initial=0) > 255:
    return Drop('out of range')
  return {**record, key: levels_HWC.astype(np.uint8)}


def _image(record: Record, key: str, name: str) -> np.ndarray:
  """Returns a picture with its axis of channels."""
  image = np.asarray(record.get(key))
  image_HWC = image[..., None] if image.ndim == 2 else image
  if (
    image_HWC.ndim != 3 or image_HWC.shape[2] not in (1, 2, 3, 4) or image.dtype.kind not in 'biuf'
  ):
    raise ValueError(
      f'data.{name}: {key!r} is {image.dtype}{list(image.shape)}, not a picture [H, W, 1 to 4]: '
      f'name one of {", ".join(record)}'
    )
  return image_HWC


def _white(image: np.ndarray, name: str, key: str) -> float:
  kind = image.dtype.kind
  white = _WHITE.get(kind, _WHITE.get(f'{kind}{image.dtype.itemsize}'))
  if white is None:
    raise ValueError(
      f'data.{name}: {key!r} is {image.dtype}, of which white is unknown: use '
      'data.to_range(white=65535), or what it is, first'
    )
  return white
