"""Meshes lay out all devices or say why not; batches lie on them row by row."""

import jax
import numpy as np
import pytest

from bigtrain import compute


@pytest.mark.parametrize(
  ('spec', 'sizes'),
  [
    ('', {'fsdp': 8}),
    ('data:8', {'data': 8}),
    ('data:2,fsdp:4', {'data': 2, 'fsdp': 4}),
    ('data:-1', {'data': 8}),
    ('fsdp:-1,data:2', {'data': 2, 'fsdp': 4}),
    ('tensor:2, expert:2, sequence:2', {'tensor': 2, 'expert': 2, 'sequence': 2}),
    ('stage:4,data:-1', {'stage': 4, 'data': 2}),
  ],
)
def test_sizes(spec, sizes):
  mesh = compute.make_mesh(spec)
  assert {axis: size for axis, size in mesh.shape.items() if size > 1} == sizes
  assert list(mesh.shape) == ['data', 'stage', 'fsdp', 'expert', 'sequence', 'tensor']
  assert compute.make_mesh(compute.describe(mesh)) == mesh


@pytest.mark.parametrize(
  ('spec', 'batch', 'message'),
  [
    ('data:3', 0, 'asks for 3 devices, and there are 8'),
    ('data:4', 0, 'asks for 4 devices, and there are 8'),
    ('data:-1,fsdp:-1', 0, 'only one size may be -1'),
    ('date:2', 0, "'date:2' is not AXIS:SIZE"),
    ('data', 0, "'data' is not AXIS:SIZE"),
    ('data:0', 0, "'data:0' is not AXIS:SIZE"),
    ('data:--2', 0, "'data:--2' is not AXIS:SIZE"),
    ('data:2,data:4', 0, 'names data twice'),
    ('data:8', 12, 'a batch of 12 does not divide over 8 devices: use a batch of 8 or 16'),
    ('data:8', 3, 'use a batch of 8,'),
  ],
)
def test_what_does_not_divide_is_named_with_its_cure(spec, batch, message):
  with pytest.raises(ValueError, match=message):
    compute.make_mesh(spec, batch)


@pytest.mark.parametrize('spec', ['data:2,fsdp:4', 'fsdp:2,expert:4', 'data:8'])
def test_a_batch_is_split_over_all_replicas(spec):
  mesh = compute.make_mesh(spec)
  rows = np.arange(16.0).reshape(16, 1)
  placed = compute.place({'x': rows}, compute.batch_sharding(mesh))['x']
  assert placed.sharding.shard_shape(placed.shape) == (2, 1)
  np.testing.assert_array_equal(placed, rows)


def test_what_is_not_a_replica_does_not_split_the_batch():
  mesh = compute.make_mesh('data:2,sequence:2,tensor:2', batch=2)
  assert compute.batch_sharding(mesh).shard_shape((2, 5)) == (1, 5)


class Chip:
  """A device of one of several slices, as JAX describes it."""

  def __init__(self, index, slices, of=8):
    self.id, self.slice_index = index, index // (of // slices)
    self.process_index, self.platform, self.device_kind = 0, 'cpu', 'cpu'


@pytest.mark.parametrize('spec', ['', 'data:2,fsdp:4', 'data:4,tensor:2', 'data:2,stage:2,fsdp:2'])
def test_only_data_crosses_slices(spec):
  grid = compute.make_mesh(spec, devices=[Chip(i, slices=2) for i in range(8)]).devices
  slices = np.vectorize(lambda chip: chip.slice_index)(grid)
  halves = np.split(slices, 2)
  assert [set(half.flat) for half in halves] == [{0}, {1}]


def test_slices_that_do_not_fit_are_refused():
  chips = [Chip(i, slices=2) for i in range(8)]
  with pytest.raises(ValueError, match=r'data must divide by 2 slices.*got 1: use data:2'):
    compute.make_mesh('fsdp:8', devices=chips)
  with pytest.raises(ValueError, match='take slices of one size'):
    compute.make_mesh(devices=chips[:7])


def test_cpu_devices_are_as_many_as_divide_the_batch_and_have_enough_to_do():
  assert len(compute.useful_devices(batch=12, flops=1e12)) == 6
  assert len(compute.useful_devices(batch=7, flops=1e12)) == 7
  assert len(compute.useful_devices(batch=11, flops=1e12)) == 1
  assert len(compute.useful_devices(batch=64, flops=1e6)) == 1
  assert len(compute.useful_devices(batch=64, flops=1e9)) == 2
  assert len(compute.useful_devices(batch=64, flops=1e12)) == len(jax.devices())
