"""Synthesis: new records made of real images, each a pure function of (seed, number).

Nothing is kept: record i is made anew whenever it is asked for, the same on every host. Images are
laid over each other by the greater value, as light adds on black; so they should be bright on dark.
"""

import abc
import dataclasses
from typing import Any, Literal

import numpy as np

from bigtrain.data import records, sources


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes(abc.ABC):
  """What sources of images on a canvas share.

  Attributes:
    source: real images [h, w, C], and labels if `label` is not None.
    canvas: height and width in pixels.
    images: how many lie on a canvas.
    count: how many records there are.
    seed: any integer.
    key: the images of the source.
    label: the labels of the source.
    about: facts worth recording with a run.
  """

  source: sources.Source
  canvas: tuple[int, int]
  images: int
  count: int
  seed: int
  key: str
  label: str | None
  about: dict[str, Any]

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, index: int) -> records.Record:
    index = range(self.count)[index]
    # Philox takes a key of its own for each record; one stream would have to be read in order.
    rng = np.random.Generator(np.random.Philox(key=np.array([self.seed % 2**64, index], np.uint64)))
    chosen = [self.source[int(i)] for i in rng.integers(0, len(self.source), self.images)]
    pictures = [np.asarray(record[self.key]) for record in chosen]
    for picture in pictures:
      if (
        picture.ndim != 3 or picture.shape[0] > self.canvas[0] or picture.shape[1] > self.canvas[1]
      ):
        raise ValueError(
          f'{self.about["name"]}: an image of shape {picture.shape} does not fit a canvas of '
          f'{self.canvas}: give images [h, w, C] and a larger canvas'
        )
    made = self.scene(pictures, rng)
    if self.label is not None:
      made['label'] = np.array([record[self.label] for record in chosen])
    return made

  @abc.abstractmethod
  def scene(self, pictures: list[np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns what a record holds besides labels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Moving(Scenes):
  """Clips of images that move and bounce; made by `moving_images`."""

  frames: int
  speed: tuple[float, float]

  def scene(self, pictures: list[np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns 'video' [T, H, W, C]."""
    video_THWC = np.zeros((self.frames, *self.canvas, pictures[0].shape[2]), pictures[0].dtype)
    time = np.arange(self.frames)
    for picture in pictures:
      angle, pace = rng.uniform(0, 2 * np.pi), rng.uniform(*self.speed)
      places = []
      for size, extent, step in zip(
        picture.shape, self.canvas, (pace * np.sin(angle), pace * np.cos(angle)), strict=False
      ):
        room = extent - size
        # Back and forth is one way through a room twice as long, folded in the middle.
        along = (rng.uniform(0, 2 * room) + step * time) % (2 * room) if room else 0 * time
        places.append(np.rint(np.minimum(along, 2 * room - along)).astype(np.int64).tolist())
      for frame_HWC, top, left in zip(video_THWC, *places, strict=True):
        _lay(frame_HWC, picture, top, left)
    return {'video': video_THWC}


@dataclasses.dataclass(frozen=True, eq=False)
class Composed(Scenes):
  """Several images on one canvas; made by `composed_images`."""

  layout: Literal['anywhere', 'grid']

  def scene(self, pictures: list[np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns 'image' [H, W, C] and 'box' int32 [images, 4]."""
    image_HWC = np.zeros((*self.canvas, pictures[0].shape[2]), pictures[0].dtype)
    cell = np.array(self.canvas)
    corners_N2 = np.zeros((self.images, 2), np.int64)
    if self.layout == 'grid':
      cell = np.max([picture.shape[:2] for picture in pictures], axis=0)
      down, across = (np.array(self.canvas) // cell).tolist()
      if down * across < self.images:
        raise ValueError(
          f'data.composed_images: a canvas of {self.canvas} has {down * across} cells of '
          f'{cell.tolist()} pixels for {self.images} images: enlarge it, or take fewer'
        )
      cells = rng.permutation(down * across)[: self.images]
      cell = np.array(self.canvas) // (down, across)
      corners_N2 = np.stack(np.divmod(cells, across), 1) * cell
    boxes = []
    for picture, corner in zip(pictures, corners_N2, strict=True):
      size = np.array(picture.shape[:2])
      top, left = (corner + rng.integers(0, cell - size + 1)).tolist()
      _lay(image_HWC, picture, top, left)
      boxes.append((top, left, top + size[0], left + size[1]))
    return {'image': image_HWC, 'box': np.array(boxes, np.int32)}


def moving_images(
  source: sources.Source,
  *,
  frames: int = 20,
  canvas: int | tuple[int, int] = 64,
  images: int = 2,
  speed: tuple[float, float] = (2.0, 5.0),
  count: int = 10_000,
  seed: int = 0,
  key: str = 'image',
) -> Moving:
  """Returns clips of real images that move straight on and bounce off the edges, as Moving MNIST
  does with digits (Srivastava, Mansimov and Salakhutdinov 2015).

  Clips for training and for testing are to be made of images that were split before.

  Args:
    source: images [h, w, C] under `key`, bright on black, and any labels under 'label'.
    frames: of a clip.
    canvas: height and width in pixels, one number for both.
    images: in a clip.
    speed: the least and the most pixels a frame; the direction is any.
    count: clips.
    seed: of the images, places and speeds.
    key: the images.

  Returns:
    A source of 'video' [frames, H, W, C] of the images' type, and 'label' [images] where the source
    has labels.

  Raises:
    ValueError: for an empty source or one without the key, numbers below 1, or a speed that is no
      range; when a record is made, where an image does not fit the canvas.
  """
  place = 'data.moving_images'
  if frames < 1 or not 0 <= speed[0] <= speed[1]:
    raise ValueError(
      f'{place}: frames must be at least 1 and speed (least, most), got {frames=}, {speed=}: use '
      'frames=20, speed=(2, 5)'
    )
  own = _checked(place, source, canvas, images, count, seed, key)
  return Moving(**own, frames=frames, speed=speed)


def composed_images(
  source: sources.Source,
  *,
  canvas: int | tuple[int, int] = 64,
  images: int = 3,
  layout: Literal['anywhere', 'grid'] = 'anywhere',
  count: int = 10_000,
  seed: int = 0,
  key: str = 'image',
) -> Composed:
  """Returns canvases with several real images each.

  Args:
    source, canvas, images, count, seed, key: as for `moving_images`.
    layout: 'anywhere' may lay images over each other; 'grid' gives each a cell of its own, inside
      of which it lies anywhere.

  Returns:
    A source of 'image' [H, W, C], 'box' int32 [images, 4] (top, left, bottom, right; the last two
    are just outside), and 'label' [images] where the source has labels.

  Raises:
    ValueError: as for `moving_images`; and for another layout, or too few cells.
  """
  place = 'data.composed_images'
  if layout not in ('anywhere', 'grid'):
    raise ValueError(f'{place}: layout must be anywhere or grid, got {layout!r}')
  return Composed(**_checked(place, source, canvas, images, count, seed, key), layout=layout)


def _checked(
  place: str,
  source: sources.Source,
  canvas: int | tuple[int, int],
  images: int,
  count: int,
  seed: int,
  key: str,
) -> dict[str, Any]:
  """Returns the attributes of `Scenes`."""
  if not len(source):
    raise ValueError(f'{place}: the source holds no record: check its path, split or filter')
  if images < 1 or count < 1:
    raise ValueError(f'{place}: images and count must be at least 1, got {images=}, {count=}')
  first = source[0]
  if key not in first:
    raise ValueError(f'{place}: the records have no key {key!r}: use one of {", ".join(first)}')
  height, width = (canvas, canvas) if isinstance(canvas, int) else canvas
  about = {'name': place, 'of': dict(getattr(source, 'about', {})), 'images': images, 'seed': seed}
  if 'classes' in about['of']:
    about['classes'] = about['of']['classes']
  label = 'label' if 'label' in first else None
  return {
    'source': source, 'canvas': (height, width), 'images': images, 'count': count, 'seed': seed,
    'key': key, 'label': label, 'about': about,
  }  # fmt: skip


def _lay(canvas_HWC: np.ndarray, picture: np.ndarray, top: int, left: int) -> None:
  """Lays a picture on a canvas, which it changes."""
  part = canvas_HWC[top : top + picture.shape[0], left : left + picture.shape[1]]
  np.maximum(part, picture, out=part)
