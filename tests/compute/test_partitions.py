"""Partitions: large arrays are sharded along an axis that divides, small ones stay whole."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from bigtrain import compute

TREE = {
  'wide': jax.ShapeDtypeStruct((512, 4096), jnp.float32),
  'tall': jax.ShapeDtypeStruct((4096, 512), jnp.float32),
  'odd': jax.ShapeDtypeStruct((1031, 4099), jnp.float32),
  'bias': jax.ShapeDtypeStruct((4096,), jnp.float32),
  'scalar': jax.ShapeDtypeStruct((), jnp.int32),
}


def specs(partition, mesh):
  return {k: s.spec for k, s in partition(compute.make_mesh(mesh), TREE).items()}


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


def test_replicate_shards_nothing():
  assert set(specs(compute.replicate, 'fsdp:8').values()) == {P()}
