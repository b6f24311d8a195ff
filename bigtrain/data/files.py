"""A person's own files: ArrayRecord, texts, folders of images."""

import os
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from bigtrain.data import finding, records, shards, sources

_IMAGES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def array_records(
  paths: finding.Paths, decode: Callable[[bytes], records.Record]
) -> sources.Decoded:
  """Returns the records of ArrayRecord files, one file after another, read when asked for.

  Args:
    paths: a file, a folder, a glob such as '/data/train-*.array_record', or a list of these;
      remote files are first copied here, which reading at random needs.
    decode: from the bytes of a record to a dict.

  Raises:
    FileNotFoundError: where a path matches no file.
    ValueError: where a file is no ArrayRecord.
  """
  files = finding.brought_here('data.array_records', paths)
  try:
    source = shards.RawRecords(files)
    len(source)
  except (RuntimeError, ValueError) as error:
    line = str(error).strip().split('\n')[0][:200]
    raise ValueError(
      f'data.array_records: cannot read {", ".join(map(str, files[:3]))} ({line}): write the files '
      'with ArrayRecordWriter'
    ) from None
  return sources.Decoded(source, decode, {'name': 'array_records', 'files': len(files)})


def text_files(
  paths: finding.Paths, *, suffix: str = '.txt', per: Literal['file', 'line'] = 'file'
) -> sources.Arrays:
  """Returns texts from files, kept in memory.

  Args:
    paths: a file, a folder (searched through and through for `suffix`), a glob, or a list of these,
      here or remote.
    suffix: which files of a folder count.
    per: one record a file, or one a line that is not blank.

  Returns:
    'text' str and 'path' str: relative to the folder, so that a split by document survives a move;
    otherwise as given. The lines of a file share its path.

  Raises:
    FileNotFoundError: where a path matches no file.
    ValueError: where a file is not UTF-8, or nothing holds text.
  """
  if per not in ('file', 'line'):
    raise ValueError(f'data.text_files: per must be file or line, got {per!r}')
  texts, names = [], []
  for file in finding.find('data.text_files', paths, [suffix.lower()]):
    try:
      text = file.read().decode('utf-8')
    except UnicodeDecodeError as error:
      raise ValueError(
        f'data.text_files: {file} is not UTF-8 at byte {error.start}: convert or drop it'
      ) from None
    lines = [text] if per == 'file' else [line for line in text.splitlines() if line.strip()]
    texts += lines
    names += [file.name] * len(lines)
  if not any(texts):
    raise ValueError(
      f'data.text_files: {paths} holds no text: check the path and suffix={suffix!r}'
    )
  return sources.Arrays(
    {'text': texts, 'path': names}, {'name': 'text_files', 'files': len(set(names))}
  )


class ImageFolder:
  """Images in one folder a class, decoded when asked for."""

  def __init__(
    self,
    files: list[finding.File],
    labels: np.ndarray,
    size: tuple[int, int] | None,
    channels: int,
    about: dict,
  ):
    self._files = files
    self._columns = {'path': sources.text_array([file.name for file in files]), 'label': labels}
    self._size = size
    self._channels = channels
    self.about = about

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, index: int) -> records.Record:
    from PIL import Image

    file, size = self._files[index], self._size
    try:
      with file.open() as stream, Image.open(stream) as image:
        if size:
          # JPEG then decodes at a smaller scale at once, where that suffices.
          image.draft('RGB', (size[1], size[0]))
        image = image.convert('RGB' if self._channels == 3 else 'L')
        if size and image.size != (size[1], size[0]):
          image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=3.0)
        pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, self._channels)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
      raise ValueError(
        f'data.image_folder: cannot read {file} ({error}): repair or drop it'
      ) from None
    return {'image': pixels, 'label': self._columns['label'][index]}

  def column(self, key: str) -> np.ndarray:
    """Returns 'label' [N] or 'path' [N]; KeyError for 'image', which has to be decoded."""
    return self._columns[key]


def image_folder(
  path: str | os.PathLike[str],
  *,
  size: int | tuple[int, int] | None = None,
  channels: Literal[1, 3] = 3,
  classes: Sequence[str] | None = None,
) -> ImageFolder:
  """Returns the images of a folder that has one folder a class.

  Decoding is the slow part: keep a small set by `data.in_memory`, and give a large one worker
  processes. Splits may use the key 'path', relative to the folder, which is no part of a record.

  Args:
    path: the folder, here or remote.
    size: height and width to which images are resized, one number for both; None where all are of
      one size already.
    channels: 3 for colour, 1 for grey.
    classes: the folders in the order of their labels; None takes all, sorted by name.

  Returns:
    A source of 'image' uint8 [height, width, channels] and 'label' int32; `about['classes']` names
    the labels.

  Raises:
    FileNotFoundError: where there is no such folder.
    ValueError: where a class holds no image, or an image cannot be read.
  """
  if channels not in (1, 3):
    raise ValueError(f'data.image_folder: channels must be 1 or 3, got {channels}')
  found, chosen = finding.by_class(
    'data.image_folder', path, _IMAGES, classes, 'put the images of each class into one'
  )
  files = [file for own in found for file in own]
  labels = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(own) for own in found])
  both = (size, size) if isinstance(size, int) else size
  if both is not None and min(both) < 1:
    raise ValueError(f'data.image_folder: size must be at least 1, got {size}')
  about = {'name': 'image_folder', 'files': len(files), 'classes': tuple(chosen)}
  return ImageFolder(files, labels, both, channels, about)
