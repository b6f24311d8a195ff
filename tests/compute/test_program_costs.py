"""What is read off compiled programs equals what is counted by hand."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bigtrain import compute
from bigtrain.compute.hlo import Program, array_bytes
from bigtrain.compute.program_costs import _groups

SLICES = [types.SimpleNamespace(slice_index=i // 4) for i in range(8)]


def compiled(function, *arrays, spec=None):
  mesh = compute.make_mesh('fsdp:8')
  sharding = NamedSharding(mesh, PartitionSpec('fsdp') if spec is None else spec)
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32, sharding=sharding) for s in arrays]
  whole = NamedSharding(mesh, PartitionSpec())
  text = jax.jit(function, out_shardings=whole).lower(*shapes).compile().as_text()
  return text, list(mesh.devices.flat)


@pytest.mark.parametrize(
  ('shape', 'size'),
  [('f32[4,8]{1,0}', 128), ('bf16[]', 2), ('(s32[], f32[2]{0:T(128)S(1)})', 12), ('token[]', 0)],
)
def test_bytes_of_a_type(shape, size):
  assert array_bytes(shape) == size


def test_what_lies_beside_the_cores_is_not_in_main_memory():
  assert array_bytes('(s32[4], f32[2]{0:T(128)S(1)})', memory=True) == 16


def test_a_loop_counts_as_often_as_it_runs():
  def loop(x):
    def body(carry, _):
      return jnp.sin(carry) * jnp.sum(carry), None  # The sum joins all devices.

    return jax.lax.scan(body, x, length=7)[0]

  costs = compute.read_costs(*compiled(loop, (64, 64)))
  reduced = [c for c in costs.collectives if c.kind == 'all-reduce']
  assert sum(c.times for c in reduced) == 7
  assert reduced[0].sent == 2 * 4 * 7 / 8  # One float32 around a ring of 8.
  gathered = [c for c in costs.collectives if c.kind == 'all-gather']
  assert sum(c.sent * c.times for c in gathered) == 64 * 64 * 4 * 7 / 8


def test_a_stack_that_is_sliced_is_read_once_in_all():
  def layers(w, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x) * w, None), x, w)[0]

  costs = compute.read_costs(*compiled(layers, (50, 8, 1000), (8, 1000), spec=PartitionSpec()))
  stack = 50 * 8 * 1000 * 4
  # A step reads a layer, reads x and writes it.
  assert stack < costs.memory < 5 * stack


def test_the_largest_results_are_named_with_their_source():
  with jax.named_scope('big'):
    costs = compute.read_costs(*compiled(lambda x: (x @ x.T) @ x, (64, 8), spec=PartitionSpec()))
  assert costs.buffers == tuple(sorted(costs.buffers, reverse=True))
  assert costs.buffers[0][:2] == (64 * 64 * 4, 'f32[64,64]')


@pytest.mark.parametrize(
  ('text', 'groups'),
  [
    ('replica_groups={{0,1},{2,3}}, x', [[0, 1], [2, 3]]),
    ('replica_groups=[2,2]<=[4], x', [[0, 1], [2, 3]]),
    ('replica_groups=[2,2]<=[2,2]T(1,0), x', [[0, 2], [1, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'b'}, x", [[0, 1], [2, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'a'}, x", [[0, 2], [1, 3]]),
    ('source_target_pairs={{0,1},{1,0}}, x', [[0, 1], [1, 0]]),
    ('channel_id=1', [[0, 1, 2, 3]]),
  ],
)
def test_who_exchanges_with_whom(text, groups):
  assert list(_groups(text, 4)) == groups


def test_an_exchange_that_leaves_its_slice_is_counted_apart():
  text, _ = compiled(lambda x: x.sum(axis=0), (8, 1000))
  assert compute.read_costs(text, SLICES).sent(across=False) == 0
  assert compute.read_costs(text, SLICES).sent(across=True) == 2 * 4000 * 7 / 8
  near = [types.SimpleNamespace(slice_index=0)] * 8
  assert compute.read_costs(text, near).sent(across=True) == 0


def test_what_hosts_exchange_between_slices_is_counted():
  text = """
ENTRY %main (p: f32[1000]) -> f32[1000] {
  %p = f32[1000]{0} parameter(0)
  %first = token[] after-all()
  %send = (f32[1000]{0}, u32[], token[]) send(%p, %first), channel_id=3, is_host_transfer=true, \
frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %recv = (f32[1000]{0}, u32[], token[]) recv(%first), channel_id=4, is_host_transfer=true, \
frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
}
"""
  (found,) = compute.read_costs(text, SLICES).collectives
  assert (found.kind, found.sent, found.across) == ('all-reduce', 2 * 4000 / 2, True)


def test_what_is_no_program_is_refused():
  with pytest.raises(ValueError, match='holds no HLO module'):
    Program('func.func @main()')


def test_the_slowest_resource_is_the_limit():
  chip = compute.Chip(peak=100.0, memory=1.0, bandwidth=10.0, links=5.0, network=1.0, clock=2.0)
  costs = compute.Costs((), memory=50.0, cycles=2.0, buffers=())
  roof = compute.Roofline.of(400.0, costs, chip)
  assert (roof.matrix_units, roof.compiler, roof.memory) == (4.0, 1.0, 5.0)
  assert (roof.seconds, roof.limit) == (5.0, 'memory')
