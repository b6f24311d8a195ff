"""Topologies that are not here: refused in a sentence, or laid out as they were asked for."""

import importlib.util

import pytest
from toys import check_sentence

from bigtrain import compute

HAS_LIBTPU = importlib.util.find_spec('libtpu') is not None


@pytest.mark.parametrize(
  ('topology', 'words'),
  [
    ('v5e', ['KIND:SIZE', 'v5e:4x4']),
    ('v9:2x2', ['v5e', 'v6e']),
    ('v5e:4x4x4', ['2 axes', 'got 3']),
    ('v5p:4x4', ['3 axes', 'got 2']),
  ],
)
def test_what_is_no_topology_is_refused(topology, words):
  check_sentence(lambda: compute.topology_devices(topology), words, f'--topology={topology}')


@pytest.mark.skipif(HAS_LIBTPU, reason='libtpu is here')
def test_without_libtpu_the_cure_is_said():
  check_sentence(lambda: compute.topology_devices('v5e:2x2'), ['pip install'], '--topology=v5e:2x2')


@pytest.mark.parametrize(
  ('topology', 'slices', 'count'), [('v5e:4x4', 1, 16), ('v5e:2x2', 2, 8), ('v5p:2x2x2', 1, 8)]
)
def test_devices_of_a_topology(topology, slices, count):
  pytest.importorskip('libtpu', reason="needs pip install 'bigtrain[tpu]'")
  devices = compute.topology_devices(topology, slices)
  assert len(devices) == count
  assert compute.find_chip(devices[0]) is not None
  assert len({getattr(device, 'slice_index', 0) for device in devices}) == slices
