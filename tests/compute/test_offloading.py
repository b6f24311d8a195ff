"""State in the host's memory changes no number."""

import dataclasses
import types

import jax
import numpy as np
import pytest
import toys

from bigtrain import compute
from bigtrain.program import Program


def test_training_gives_the_same_and_the_state_stays_with_the_host():
  experiment = dataclasses.replace(toys.experiment(steps=10, every=None), evals={})
  found = {}
  for name, partition in (('near', compute.fsdp), ('far', compute.offloaded())):
    program = Program(dataclasses.replace(experiment, partition=partition))
    batches = experiment.data.iterator(0, 1)
    count = program.per_dispatch
    placed = program.place([next(batches) for _ in range(count)])
    found[name], _ = program.run(program.start(), placed, count)
  for a, b in zip(*(jax.tree.leaves(found[name]) for name in found), strict=True):
    np.testing.assert_array_equal(a, b)
  kinds = {x.sharding.memory_kind for x in jax.tree.leaves(found['far'].opt_state)}
  assert kinds == {'pinned_host'}


def test_a_device_without_that_memory_is_named():
  device = types.SimpleNamespace(device_kind='toaster', addressable_memories=list)
  mesh = types.SimpleNamespace(devices=np.array([device]))
  with pytest.raises(ValueError, match='toaster has no pinned_host memory'):
    compute.offloaded()(mesh, {})
