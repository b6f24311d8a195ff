"""Meshes lay out all devices or say why not; batches lie on them row by row."""

import jax
import numpy as np
import pytest

from bigtrain import compute


@pytest.mark.parametrize(
  ('spec', 'sizes'),
  [
    ('', (1, 8)),
    ('data:8', (8, 1)),
    ('data:2,fsdp:4', (2, 4)),
    ('data:-1', (8, 1)),
    ('fsdp:-1,data:2', (2, 4)),
  ],
)
def test_sizes(spec, sizes):
  assert tuple(compute.make_mesh(spec).shape.values()) == sizes


@pytest.mark.parametrize(
  ('spec', 'batch', 'message'),
  [
    ('data:3', 0, 'asks for 3 devices, and there are 8'),
    ('data:4', 0, 'asks for 4 devices, and there are 8'),
    ('data:-1,fsdp:-1', 0, 'only one size may be -1'),
    ('date:2', 0, "'date:2' is not AXIS:SIZE"),
    ('data', 0, "'data' is not AXIS:SIZE"),
    ('data:0', 0, "'data:0' is not AXIS:SIZE"),
    ('data:8', 12, 'a batch of 12 does not divide over 8 devices: use a batch of 8 or 16'),
    ('data:8', 3, 'use a batch of 8,'),
  ],
)
def test_what_does_not_divide_is_named_with_its_cure(spec, batch, message):
  with pytest.raises(ValueError, match=message):
    compute.make_mesh(spec, batch)


def test_a_batch_is_split_over_both_axes():
  mesh = compute.make_mesh('data:2,fsdp:4')
  rows = np.arange(16.0).reshape(16, 1)
  placed = compute.place({'x': rows}, compute.batch_sharding(mesh))['x']
  assert placed.sharding.shard_shape(placed.shape) == (2, 1)
  np.testing.assert_array_equal(placed, rows)


def test_cpu_devices_are_as_many_as_divide_the_batch_and_have_enough_to_do():
  assert len(compute.useful_devices(batch=12, flops=1e12)) == 6
  assert len(compute.useful_devices(batch=7, flops=1e12)) == 7
  assert len(compute.useful_devices(batch=11, flops=1e12)) == 1
  assert len(compute.useful_devices(batch=64, flops=1e6)) == 1
  assert len(compute.useful_devices(batch=64, flops=1e9)) == 2
  assert len(compute.useful_devices(batch=64, flops=1e12)) == len(jax.devices())
