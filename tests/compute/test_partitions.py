"""Partitions: rules by path first, then large arrays along an axis that divides."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import optax
import pytest
import toys
from jax.sharding import PartitionSpec as P

from bigtrain import architecture, compute, tuning

TREE = {
  'wide': jax.ShapeDtypeStruct((512, 4096), jnp.float32),
  'tall': jax.ShapeDtypeStruct((4096, 512), jnp.float32),
  'odd': jax.ShapeDtypeStruct((1031, 4099), jnp.float32),
  'bias': jax.ShapeDtypeStruct((4096,), jnp.float32),
  'scalar': jax.ShapeDtypeStruct((), jnp.int32),
}


def specs(partition, mesh, tree=TREE):
  return {k: s.spec for k, s in partition(compute.make_mesh(mesh), tree).items()}


def shape(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_fsdp_shards_the_largest_axis_that_divides():
  assert specs(compute.fsdp, 'data:2,fsdp:4') == {
    'wide': P(None, 'fsdp'),
    'tall': P('fsdp'),
    'odd': P(),
    'bias': P(),
    'scalar': P(),
  }


def test_fsdp_over_one_device_shards_nothing():
  assert set(specs(compute.fsdp, 'data:8').values()) == {P()}


def test_stacks_of_blocks_lie_on_stages_too():
  tree = {'blocks': {'tall': shape(8, 4096, 512), 'bias': shape(8, 64), 'count': shape()}}
  found = compute.fsdp(compute.make_mesh('stage:4,fsdp:2'), tree)['blocks']
  assert {k: s.spec for k, s in found.items()} == {
    'tall': P('stage', 'fsdp'), 'bias': P('stage'), 'count': P()
  }  # fmt: skip


def test_replicate_shards_nothing():
  assert set(specs(compute.replicate, 'fsdp:8').values()) == {P()}


def test_the_first_rule_decides_and_the_rest_is_laid_out_by_shape():
  table = [('wide', P('tensor', None)), ('i.e', P(None, 'tensor')), ('scalar', P())]
  found = specs(compute.rules(table), 'fsdp:4,tensor:2')
  assert found == {**specs(compute.fsdp, 'fsdp:4,tensor:2'), 'wide': P('tensor')}
  assert specs(compute.rules(table, compute.replicate), 'fsdp:4,tensor:2')['tall'] == P()


def test_a_rule_names_the_last_axes_and_layers_lie_on_stages():
  tree = {'up': shape(6, 16, 64), 'norm': shape(6, 16)}
  partition = compute.rules([('up', P('fsdp', 'tensor')), ('norm', P(None))])
  assert specs(partition, 'stage:2,fsdp:2,tensor:2', tree) == {
    'up': P('stage', 'fsdp', 'tensor'),
    'norm': P('stage'),
  }
  # An axis of one device is left out.
  assert specs(partition, 'tensor:8', tree) == {'up': P(None, None, 'tensor'), 'norm': P()}


@pytest.mark.parametrize(
  ('rule', 'start', 'words'),
  [
    (('odd', P('tensor', None)), 'partition of odd: axis 0 of', ['by 2', '1030 or 1032']),
    (('odd', P(None, ('fsdp', 'tensor'))), 'partition of odd: axis 1', ['8 (fsdp x', '4104']),
    (('bias', P(None, 'fsdp')), 'partition of bias: the rule has 2 axes', ['[4096]', 'fewer']),
    (('bias', P('model')), "partition of bias: the mesh has no axis 'model'", ['use data']),
  ],
)  # fmt: skip
def test_a_rule_that_does_not_fit_is_named_with_its_cure(rule, start, words):
  toys.check_sentence(lambda: specs(compute.rules([rule]), 'fsdp:4,tensor:2'), words, start)


@flax.struct.dataclass
class State:
  """As much of a training state as a partition looks at."""

  params: dict
  opt_state: tuple


@pytest.mark.parametrize('name', ['adamw', 'muon', 'adafactor'])
def test_the_state_of_the_optimiser_lies_as_its_parameters_do(name):
  optimizer = {
    'adamw': tuning.adamw(1e-3), 'muon': tuning.muon(1e-3),
    'adafactor': optax.adafactor(1e-3, min_dim_size_to_factor=8),
  }[name]  # fmt: skip
  params = {'block': {'up': {'kernel': shape(16, 64)}}, 'embed': {'embedding': shape(64, 16)}}
  state = State(params, jax.eval_shape(optimizer.init, params))
  laid = compute.fsdp_tensor(compute.make_mesh('fsdp:4,tensor:2'), state)
  by_shape = {(16, 64): P('fsdp', 'tensor'), (64, 16): P('tensor', 'fsdp')}
  followers = 0
  for leaf, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(laid), strict=True):
    assert sharding.spec == by_shape.get(leaf.shape, P())
    followers += leaf.shape in by_shape
  # Adam keeps two numbers a parameter, Muon one for its matrices; Adafactor sums of rows, columns.
  assert followers == {'adamw': 6, 'muon': 5, 'adafactor': 2}[name]


def test_the_decoder_is_laid_out_by_the_table():
  model = architecture.DecoderLM(vocab=64, depth=1, width=32, heads=4, feed='swiglu')
  init = functools.partial(model.init, train=False)
  tree = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 8), jnp.int32))['params']
  laid = compute.fsdp_tensor(compute.make_mesh('fsdp:2,tensor:4'), tree)
  for (path, leaf), sharding in zip(
    jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(laid), strict=True
  ):
    whole = not sharding.spec
    assert whole == (leaf.ndim == 1), jax.tree_util.keystr(path)
    if not whole:
      assert sharding.shard_shape(leaf.shape)[-2:].count(32) < 2
