"""Safetensors files: read lazily, refused where they are damaged, hostile or something else."""

import json
import pickle
import struct

import jax.numpy as jnp
import numpy as np
import pytest
import toys

from bigtrain import architecture, iteration
from bigtrain.architecture import published

RNG = np.random.default_rng(0)
WEIGHTS = {
  'a': RNG.normal(size=(2, 6)).astype(np.float32),
  'b': np.asarray(jnp.arange(4, dtype=jnp.bfloat16)),
  'c': RNG.normal(size=(6, 4)).astype(np.float32),
}


@pytest.mark.parametrize('shard_bytes', [10**9, 60])
def test_what_is_written_is_read(tmp_path, shard_bytes):
  files = iteration.write_safetensors(str(tmp_path), WEIGHTS, shard_bytes)
  assert len(files) == (1 if shard_bytes > 60 else 2)
  assert not list(tmp_path.glob('*.part'))
  read = iteration.read_safetensors(str(tmp_path))
  assert set(read) == set(WEIGHTS)
  for name, tensor in WEIGHTS.items():
    assert read[name].dtype == tensor.dtype
    np.testing.assert_array_equal(read[name], tensor)
  np.testing.assert_array_equal(read.part('a', 1, 3), WEIGHTS['a'][:, 2:4])
  with pytest.raises(FileExistsError, match='is there already'):
    iteration.write_safetensors(str(tmp_path), WEIGHTS, shard_bytes)


def entry(start, end, shape=(4,)):
  return {'dtype': 'F32', 'shape': shape, 'data_offsets': [start, end]}


def file_of(header, data=bytes(32), length=None):
  header = json.dumps(header).encode()
  return struct.pack('<Q', length or len(header)) + header + data


HOSTILE = {
  'a terabyte of header': (file_of({'a': entry(0, 16)}, length=10**12), '1,000,000,000,000 bytes'),
  'overlap': (file_of({'a': entry(0, 16), 'b': entry(8, 24)}), 'damaged'),
  'out of range': (file_of({'a': entry(0, 16), 'b': entry(16, 10**12)}), 'damaged'),
  'a shape of its own': (file_of({'a': entry(0, 16, (10**9,)), 'b': entry(16, 32)}), 'damaged'),
  'half of it': (file_of({'a': entry(0, 16), 'b': entry(16, 32)}, bytes(20)), 'download it again'),
  'half of the header': (file_of({'a': entry(0, 16)})[:20], 'a part of one'),
  'nothing': (b'', 'a part of one'),
  'a pickle': (pickle.dumps({'a': 1}), 'is a pickle'),
  'a zip': (b'PK\x03\x04' + bytes(range(1, 60)), 'is a pickle'),
}


@pytest.mark.parametrize('kind', HOSTILE)
def test_bad_files_are_refused(kind, tmp_path):
  content, words = HOSTILE[kind]
  path = tmp_path / 'model.safetensors'
  path.write_bytes(content)
  toys.check_sentence(lambda: iteration.read_safetensors(str(tmp_path)), [words], f'.*{path}')


@pytest.mark.parametrize(
  ('weight_map', 'words'),
  [
    ({'a': '../other.safetensors'}, "names '../other.safetensors'"),
    ({'a': 'pytorch_model.bin'}, 'not a safetensors file beside it'),
    ({'a': 'gone.safetensors'}, 'is not there'),
    ({'z': 'model.safetensors'}, 'z in model.safetensors'),
    (None, "holds no readable 'weight_map'"),
  ],
)
def test_an_index_that_lies_is_refused(weight_map, words, tmp_path):
  iteration.write_safetensors(str(tmp_path), WEIGHTS)
  index = tmp_path / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': weight_map}))
  kinds = (ValueError, FileNotFoundError)
  toys.check_sentence(lambda: iteration.read_safetensors(str(tmp_path)), [words], '', kinds)


def test_a_folder_of_pickles_is_refused(tmp_path):
  (tmp_path / 'pytorch_model.bin').write_bytes(b'')
  with pytest.raises(FileNotFoundError, match=r'convert pytorch_model.bin, a pickle'):
    iteration.read_safetensors(str(tmp_path))


MAP = {
  'whole': published.transposed('x.whole'),
  'one': published.same('x.two[0/2]'),
  'other': published.same('x.two[1/2]'),
  'stack': published.stacked([published.same('x.a'), published.turned('x.b', (1, 0))]),
  'join': published.joined([published.same('x.c'), published.same('x.d')], 0, (1, 2)),
  'shape': published.shaped('x.e', (2, 3), (6,)),
}
SHAPES = {'whole': (2, 3), 'one': (2,), 'other': (2,), 'stack': (2, 2, 3), 'join': (3,),
          'shape': (2, 3)}  # fmt: skip
PARAMS = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def test_parameters_go_out_and_come_back(tmp_path):
  folder = str(tmp_path)
  iteration.export_hugging_face(folder, MAP, PARAMS, {'model_type': 'toy'})
  read = iteration.import_hugging_face(folder, MAP, PARAMS)
  assert set(read) == set(PARAMS)
  for name, leaf in PARAMS.items():
    np.testing.assert_array_equal(read[name], leaf)
  assert json.loads((tmp_path / 'config.json').read_text()) == {'model_type': 'toy'}
  np.testing.assert_array_equal(
    iteration.read_safetensors(folder)['x.two'], np.concatenate([PARAMS['one'], PARAMS['other']])
  )
  with pytest.raises(FileExistsError, match='choose another folder'):
    iteration.export_hugging_face(folder, MAP, PARAMS, {})


def test_all_variables_go_out_and_come_back_without_the_prefix(tmp_path):
  names = {'a/kernel': published.same('x.k'), 'batch_stats/a/mean': published.same('x.m')}
  params, statistics = {'a': {'kernel': PARAMS['whole']}}, {'a': {'mean': PARAMS['one']}}
  variables = {'params': params, 'batch_stats': statistics}
  bare = {'k': PARAMS['whole'], 'm': PARAMS['one'], 'mask': PARAMS['one']}
  iteration.write_safetensors(str(tmp_path), bare)
  read = iteration.import_hugging_face(
    str(tmp_path), names, variables, prefix='x.', ignored=['mask']
  )
  np.testing.assert_array_equal(read['params']['a']['kernel'], PARAMS['whole'])
  np.testing.assert_array_equal(read['batch_stats']['a']['mean'], PARAMS['one'])


def test_tensors_that_do_not_fit_are_named(tmp_path):
  iteration.export_hugging_face(str(tmp_path / 'a'), MAP, PARAMS, {})
  tensors = dict(iteration.read_safetensors(str(tmp_path / 'a')))
  tensors['x.more'] = tensors.pop('x.whole')
  tensors['x.two'] = tensors['x.two'][:3]
  iteration.write_safetensors(str(tmp_path / 'b'), tensors)
  words = ['x.whole is missing (for whole)', 'x.more is not of this model',
           'x.two has shape [3], not [4] (for one)']  # fmt: skip
  toys.check_sentence(
    lambda: iteration.import_hugging_face(str(tmp_path / 'b'), MAP, PARAMS), words, '.*does not fit'
  )
  fewer = {name: leaf for name, leaf in PARAMS.items() if name != 'whole'}
  with pytest.raises(ValueError, match='do not hold the same parameters: whole'):
    iteration.import_hugging_face(str(tmp_path / 'a'), MAP, fewer)


def test_families_are_known_by_name():
  for model_type in published.FILES:
    assert architecture.family(model_type).names
