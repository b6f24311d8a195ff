"""Compute: the same experiment on one core, one GPU, a TPU pod.

backends: what differs between CPU, GPU and TPU, decided here and nowhere else
meshes: devices as a grid with named axes, and how batches lie on it
partitions: which axis of which array lies on which axis of the mesh
offloading: state in the host's memory
rounding: bfloat16 parameters
hosts: how the hosts of a run find each other
agreement: whether they run the same code, flags and data, and hold the same parameters
paces: whether one holds the others up
flops, chips: what a step costs, and what the chip could do
topologies: devices that are not here, to compile for
hlo, program_costs, roofline: what a compiled program moves, and how long that takes
profiling: traces, and the most memory held
signals: stop requests, agreed among hosts
watchdogs: waits that never end
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.compute.agreement import agree as agree
  from bigtrain.compute.agreement import agree_on_arrays as agree_on_arrays
  from bigtrain.compute.backends import compiler_options as compiler_options
  from bigtrain.compute.backends import options_to_run_once as options_to_run_once
  from bigtrain.compute.backends import start as start
  from bigtrain.compute.backends import steps_per_dispatch as steps_per_dispatch
  from bigtrain.compute.backends import tiles_pay as tiles_pay
  from bigtrain.compute.backends import useful_devices as useful_devices
  from bigtrain.compute.chips import Chip as Chip
  from bigtrain.compute.chips import find_chip as find_chip
  from bigtrain.compute.chips import peak_flops as peak_flops
  from bigtrain.compute.flops import count_flops as count_flops
  from bigtrain.compute.flops import has_convolutions as has_convolutions
  from bigtrain.compute.meshes import batch_sharding as batch_sharding
  from bigtrain.compute.meshes import check_batch as check_batch
  from bigtrain.compute.meshes import describe as describe
  from bigtrain.compute.meshes import make_mesh as make_mesh
  from bigtrain.compute.meshes import place as place
  from bigtrain.compute.offloading import from_host as from_host
  from bigtrain.compute.offloading import offloaded as offloaded
  from bigtrain.compute.paces import slow_hosts as slow_hosts
  from bigtrain.compute.partitions import EXPERTS as EXPERTS
  from bigtrain.compute.partitions import TRANSFORMER as TRANSFORMER
  from bigtrain.compute.partitions import expert as expert
  from bigtrain.compute.partitions import fsdp as fsdp
  from bigtrain.compute.partitions import fsdp_tensor as fsdp_tensor
  from bigtrain.compute.partitions import replicate as replicate
  from bigtrain.compute.partitions import rules as rules
  from bigtrain.compute.profiling import Profile as Profile
  from bigtrain.compute.profiling import memory_said as memory_said
  from bigtrain.compute.program_costs import Costs as Costs
  from bigtrain.compute.program_costs import read_costs as read_costs
  from bigtrain.compute.roofline import Roofline as Roofline
  from bigtrain.compute.rounding import stochastic_rounding as stochastic_rounding
  from bigtrain.compute.signals import Stopped as Stopped
  from bigtrain.compute.signals import StopRequest as StopRequest
  from bigtrain.compute.signals import agreed as agreed
  from bigtrain.compute.signals import together as together
  from bigtrain.compute.topologies import topology_devices as topology_devices
  from bigtrain.compute.watchdogs import Watchdog as Watchdog
