"""Planted copies are found, what is no copy is left alone, and leaks leave training only."""

import collections
import io
import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import toys
from PIL import Image

from bigtrain import data
from bigtrain.data import contamination, image_hashes
from bigtrain.data.duplicates import drop_duplicates, drop_leaks, find_duplicates


@pytest.fixture(scope='module')
def texts():
  """500 pieces of 1 to 3 kB of the standard library."""
  rng = np.random.default_rng(0)
  pieces, piece = [], ''
  for text in data.stdlib(clean=False).column('text')[:120]:
    for line in text.splitlines(keepends=True):
      piece += line
      if len(piece) > rng.integers(1000, 3000):
        pieces.append(piece)
        piece = ''
  assert len(pieces) > 500
  return pieces[:500]


@pytest.fixture(scope='module')
def pictures():
  try:
    return data.fashion('test').column('image')[:700]
  except FileNotFoundError as error:
    pytest.skip(str(error))


def changed_words(text, rng, share=0.1):
  parts = re.split(r'(\s+)', text)
  words = [i for i, part in enumerate(parts) if part.strip()]
  for i in rng.choice(words, round(share * len(words)), replace=False):
    parts[i] = f'word{rng.integers(10**6)}'
  return ''.join(parts)


def cropped_text(text, rng):
  away = len(text) // 10
  first = int(rng.integers(away + 1))
  return text[first : len(text) - away + first]


TEXTS = {
  'exact': lambda text, rng: text,
  'upper case': lambda text, rng: text.upper(),
  'white space': lambda text, rng: '\n' + re.sub(r'\s+', ' \t', text),
  'ends cropped': cropped_text,
  'words changed': changed_words,
}


def found(groups, originals, copies):
  """Returns the share of the copies that are grouped with their original."""
  group = {int(i): number for number, members in enumerate(groups) for i in members}
  pairs = zip(originals, copies, strict=True)
  return np.mean([i in group and group[i] == group.get(j) for i, j in pairs])


def overlap(left, right):
  """Returns the Jaccard similarity of the word pairs of two texts, the plain way."""
  pairs = []
  for text in (left, right):
    words = ['', *re.sub(r'[^\w\s]|_', '', text.lower()).split()]
    pairs.append(set(itertools.pairwise(words)))
  return len(pairs[0] & pairs[1]) / max(1, len(pairs[0] | pairs[1]))


@pytest.mark.parametrize('change', TEXTS)
def test_planted_copies_of_texts_are_found_and_nothing_else(change, texts):
  rng = np.random.default_rng(1)
  originals = rng.choice(500, 100, replace=False)
  copies = [TEXTS[change](texts[i], rng) for i in originals]
  got = find_duplicates(data.arrays(text=texts + copies))
  share = found(got.groups, originals, range(500, 600))
  alike = change in ('exact', 'upper case', 'white space')
  assert share == 1 if alike else share >= 0.95
  # A text may have copies of its own among the real ones, but then they do overlap.
  everything = texts + copies
  for group in got.groups:
    for i in group:
      assert max(overlap(everything[i], everything[j]) for j in group if i != j) >= 0.5
  own = len(find_duplicates(data.arrays(text=texts)).repeats)
  assert got.report['exact'] >= 100 if alike else got.report['near'] >= 95
  assert len(got.repeats) <= own + 100


@pytest.mark.parametrize('near', [0.3, 0.5, 0.8])
def test_pairs_are_those_of_counting_all(near, texts):
  rng = np.random.default_rng(2)
  some = [t for text in texts[:40] for t in (text, changed_words(text, rng, rng.uniform(0, 0.4)))]
  group = list(range(80))
  for i, j in itertools.combinations(range(80), 2):
    if overlap(some[i], some[j]) >= near:
      group = [group[i] if each == group[j] else each for each in group]
  got = find_duplicates(data.arrays(text=some), near)
  assert got.report['exact'] == 0
  assert 5 < 80 - len(set(group)) < 60
  # Nothing is joined that is no copy, and next to nothing is missed.
  assert all(len({group[i] for i in members}) == 1 for members in got.groups)
  assert len(got.repeats) >= 0.95 * (80 - len(set(group)))


def encoded(image, quality=60):
  stored = io.BytesIO()
  Image.fromarray(image.squeeze()).save(stored, 'jpeg', quality=quality)
  return np.asarray(Image.open(stored)).reshape(image.shape)


def cropped_picture(image, rng):
  up, down, left, right = rng.integers(0, 3, 4)
  height, width = image.shape[:2]
  box = (left, up, width - right, height - down)
  small = Image.fromarray(image.squeeze()).resize(
    (width, height), Image.Resampling.BILINEAR, box=box
  )
  return np.asarray(small).reshape(image.shape)


def moved(image, rng):
  down, right = rng.integers(0, 4, 2)
  padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
  return padded[down : down + image.shape[0], right : right + image.shape[1]]


PICTURES = {
  'exact': lambda image, rng: image,
  'cropped': cropped_picture,
  'moved': moved,
  'brighter': lambda image, rng: (image * rng.uniform(0.7, 0.9) + 20).astype(np.uint8),
  'encoded': lambda image, rng: encoded(image),
}


@pytest.mark.parametrize('change', PICTURES)
def test_planted_copies_of_pictures_are_found_and_hardly_else(change, pictures):
  rng = np.random.default_rng(3)
  originals = rng.choice(400, 80, replace=False)
  copies = np.stack([PICTURES[change](pictures[i], rng) for i in originals])
  got = find_duplicates(data.arrays(image=np.concatenate([pictures[:400], copies])))
  share = found(got.groups, originals, range(400, 480))
  assert share == 1 if change == 'exact' else share >= 0.95
  assert len(got.repeats) <= 80


def test_pictures_of_one_kind_are_no_copies(pictures):
  assert find_duplicates(data.arrays(image=pictures)).report['near'] <= 1


def test_cells_hide_hardly_a_pair(pictures, monkeypatch):
  some = pictures[:500]
  hashed = image_hashes.hashes(image_hashes.thumbnails(some))
  found = []
  for few in (500, 0):
    monkeypatch.setattr(image_hashes, '_FEW', few)
    pairs = image_hashes.candidates(lambda rows: some[rows], hashed, np.full(500, -1))
    found.append(set(map(tuple, pairs.tolist())))
  assert len(found[0] & found[1]) >= 0.98 * len(found[0]) > 1000


class Records(list):
  """A source without columns, whose pictures differ in size."""


def photos(count, rng):
  """Pictures whose amplitude falls with frequency as that of photographs."""
  frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)) + 1 / 64
  noise = rng.normal(size=(count, 3, 64, 64))
  image = np.fft.ifft2(np.fft.fft2(noise) / frequency**1.2).real
  image -= image.min((1, 2, 3), keepdims=True)
  return (image / image.max((1, 2, 3), keepdims=True) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def test_a_photo_is_known_in_another_size_light_and_encoding():
  rng = np.random.default_rng(4)
  images = photos(80, rng)
  copies = [
    (encoded(np.ascontiguousarray(image[2:, 1:-3]), 75) * 0.8 + 10).astype(np.uint8)
    for image in images[:40]
  ]
  flat = [np.full((64, 64, 3), value, np.uint8) for value in (0, 77, 201)]
  source = Records({'image': image} for image in [*images, *copies, *flat])
  got = find_duplicates(source)
  assert found(got.groups, range(40), range(80, 120)) >= 0.95
  assert got.report['near'] <= 40
  assert got.report['exact'] == 0


def test_the_first_of_each_group_stays_in_order_and_the_report_can_be_kept():
  text = 'the quick brown fox jumps over the lazy dog and runs away'
  source = data.arrays(
    text=[text, 'another text entirely', text.upper(), text + ' again', 'Another  text entirely'],
    id=np.arange(5),
  )
  kept = drop_duplicates(source)
  assert kept.column('id').tolist() == [0, 1]
  report = json.loads(json.dumps(kept.about['duplicates']))
  assert {key: report[key] for key in ('records', 'groups', 'exact', 'near', 'kept')} == {
    'records': 5, 'groups': 2, 'exact': 2, 'near': 1, 'kept': 2,
  }  # fmt: skip
  assert [(each['record'], each['of']) for each in report['examples']] == [(2, 0), (4, 1), (3, 0)]
  assert report['examples'][0]['texts'] == [text.upper(), text]
  assert 'duplicates' not in source.about
  assert drop_duplicates(source, near=False).column('id').tolist() == [0, 1, 3]
  twice = find_duplicates(source), find_duplicates(source)
  assert twice[0].report == twice[1].report
  assert [group.tolist() for group in twice[0].groups] == [[0, 2, 3], [1, 4]]


def test_composed_letters_are_one_text():
  source = data.arrays(text=['café ﬁne', 'cafe\u0301 FINE', 'cafe fine'])
  assert [g.tolist() for g in find_duplicates(source, near=False).groups] == [[0, 1]]


def test_other_records_are_compared_bit_for_bit():
  x = np.arange(12, dtype=np.float32).reshape(4, 3)
  x[2] = x[0]
  source = data.arrays(x=x, y=np.array([1, 2, 3, 4]))
  assert find_duplicates(source).groups == ()
  assert [group.tolist() for group in find_duplicates(source, key='x').groups] == [[0, 2]]
  wide, tall = np.arange(8).reshape(2, 4), np.arange(8).reshape(4, 2)
  assert find_duplicates(Records([{'x': wide}, {'x': tall}])).groups == ()
  nested = Records({'x': np.array(['a', f'word {i}'], object)} for i in (1, 2, 1))
  assert [group.tolist() for group in find_duplicates(nested).groups] == [[0, 2]]


def test_only_training_loses_records_and_only_for_the_others(texts):
  rng = np.random.default_rng(5)
  held_out, test, own = texts[:40], texts[40:80], texts[80:120]
  leaks = [changed_words(held_out[7], rng), test[3].upper(), cropped_text(test[9], rng)]
  train = [*own, *leaks, leaks[0], own[0], changed_words(own[1], rng)]
  parts = [data.arrays(text=part, id=np.arange(len(part))) for part in (train, held_out, test)]
  kept = drop_leaks(*parts)
  # Copies within the training data are no leaks.
  assert kept.column('id').tolist() == [*range(40), 44, 45]
  report = json.loads(json.dumps(kept.about['leaks']))
  assert (report['records'], report['exact'], report['near'], report['kept']) == (46, 1, 3, 42)
  where = collections.Counter((each['record'], *each['of']) for each in report['examples'])
  assert where == {(41, 1, 3): 1, (40, 0, 7): 1, (42, 1, 9): 1}
  assert len(parts[1]) == len(parts[2]) == 40


def test_a_crowd_of_copies_leaks_as_a_whole(texts):
  rng = np.random.default_rng(6)
  train = [changed_words(texts[0], rng, 0.02) for _ in range(200)] + texts[1:3]
  kept = drop_leaks(data.arrays(text=train), data.arrays(text=texts[:1]))
  assert kept.column('text').tolist() == texts[1:3]
  assert len(drop_duplicates(data.arrays(text=train))) == 3


def test_pictures_leak_too(pictures):
  rng = np.random.default_rng(7)
  train = np.stack([*pictures[100:300], *(cropped_picture(p, rng) for p in pictures[:20])])
  kept = drop_leaks(data.arrays(image=train), data.arrays(image=pictures[:100]))
  assert kept.about['leaks']['near'] >= 19
  assert len(kept) >= 200
  # Copies within the training data must not take the places of the nearest.
  some = pictures[:50].repeat(9, axis=0)
  side = np.tile([0] + [1] * 8, 50)
  hashed = image_hashes.hashes(image_hashes.thumbnails(some))
  pairs = image_hashes.candidates(lambda rows: some[rows], hashed, side)
  assert (side[pairs].sum(1) == 1).all()
  assert {(9 * i, 9 * i + j) for i in range(50) for j in range(1, 9)} <= set(map(tuple, pairs))


def test_another_process_finds_the_same(texts):
  code = (
    'import sys, json; from bigtrain.data import contamination as c;'
    'print(c.signatures(json.load(sys.stdin), 2, 64).tolist())'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], input=json.dumps(texts[:5]), capture_output=True, text=True,
    check=True, env={'PYTHONHASHSEED': '7', 'PYTHONPATH': ':'.join(filter(None, sys.path))},
  )  # fmt: skip
  assert json.loads(done.stdout) == contamination.signatures(texts[:5], 2, 64).tolist()


ONE = data.arrays(text=['a b c'], x=np.zeros(1))
BAD = {
  'empty': (lambda: find_duplicates(data.select(ONE, np.arange(0))), ['no record']),
  'key': (lambda: find_duplicates(ONE, key='body'), ["'body'", 'text, x']),
  'percent': (lambda: find_duplicates(ONE, 80), ['near', '(0, 1]', '80']),
  'no text': (lambda: drop_duplicates(ONE, 0.9, key='x'), ['near=0.9', 'x', 'name a key']),
  'no other': (lambda: drop_leaks(ONE), ['no other part']),
  'all leak': (lambda: drop_leaks(ONE, ONE), ['all 1 training']),
  'part without key': (lambda: drop_leaks(ONE, data.arrays(x=[1])), ["'text'"]),
  'mixed': (
    lambda: find_duplicates(Records([{'text': 'a'}, {'text': 3}])),
    ["'text'", 'int', 'not a text'],
  ),
}


@pytest.mark.parametrize('name', BAD)
def test_a_sentence(name):
  do, words = BAD[name]
  toys.check_sentence(do, words, r'data\.')
