"""TFDS datasets by name, prepared and read without TensorFlow."""

import sys

import numpy as np
import pytest
import tensorflow_datasets as library

from bigtrain import data


class BigtrainTiny(library.core.GeneratorBasedBuilder):
  """Ten records with what a dataset may hold; registered under bigtrain_tiny."""

  VERSION = library.core.Version('1.0.0')

  def _info(self):
    features = library.features.FeaturesDict(
      {
        'image': library.features.Tensor(shape=(4, 4, 1), dtype=np.uint8),
        'label': library.features.ClassLabel(names=['ant', 'bee', 'cat']),
        'text': library.features.Text(),
        'inner': {'x': np.float32},
      }
    )
    return library.core.DatasetInfo(builder=self, features=features)

  def _split_generators(self, manager):
    del manager
    return {'train': self._generate_examples(10), 'test': self._generate_examples(4)}

  def _generate_examples(self, count):
    for i in range(count):
      image = np.full((4, 4, 1), i, np.uint8)
      yield i, {'image': image, 'label': i % 3, 'text': f'text {i} é', 'inner': {'x': i / 2}}


class BigtrainBroken(BigtrainTiny):
  """Cannot be prepared."""

  def _generate_examples(self, count):
    raise OSError('the server is gone')
    yield count


class BigtrainHeavy(BigtrainTiny):
  """Needs a module that is not there."""

  def _generate_examples(self, count):
    import tensorflow_of_no_machine

    yield tensorflow_of_no_machine, count


def test_a_dataset_is_prepared_and_read(tmp_path):
  train = data.tfds('bigtrain_tiny', 'train', tmp_path)
  assert len(train) == 10
  assert train.about['classes'] == ('ant', 'bee', 'cat')
  assert train.about['version'] == '1.0.0'
  records = [train[i] for i in range(10)]
  assert sorted(record['text'] for record in records) == [f'text {i} é' for i in range(10)]
  for record in records:
    number = int(record['text'].split()[1])
    assert record['label'] == number % 3
    assert record['inner/x'] == number / 2
    assert (record['image'] == number).all()
  numeric = data.once(
    train, 4, map=lambda batch, rng: {'image': batch['image'], 'label': batch['label']}
  )
  assert numeric.spec['image'] == ((4, 4, 4, 1), np.dtype('uint8'))
  assert sum(batch['weight'].sum() for batch in numeric) == 10
  assert len(data.tfds('bigtrain_tiny', 'train[:80%]', tmp_path)) == 8
  assert len(data.pack(train, 4)) > 10
  assert 'tensorflow' not in sys.modules


@pytest.mark.parametrize(
  ('name', 'split', 'says'),
  [
    ('mnits', 'train', "did you mean 'mnist'"),
    ('bigtrain_tinny', 'train', "did you mean 'bigtrain_tiny'"),
    ('qqqqqqq', 'train', 'catalog'),
    ('bigtrain_tiny', 'trian', "did you mean 'train'"),
    ('bigtrain_tiny', 'train[:5', 'cannot be read'),
    ('bigtrain_tiny:9.9.9', 'train', '9.9.9'),
    ('bigtrain_tiny/no_such_config', 'train', 'no_such_config'),
    ('bigtrain_broken', 'train', 'the server is gone'),
    ('bigtrain_heavy', 'train', 'pip install tensorflow_of_no_machine'),
  ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path, name, split, says):
  with pytest.raises(ValueError, match=r'data\.tfds') as caught:
    data.tfds(name, split, tmp_path)
  assert says in str(caught.value)
  assert '\n' not in str(caught.value)
  assert len(str(caught.value)) < 400
