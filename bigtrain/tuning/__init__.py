"""Tuning: optimisers and schedules, and what a difference between runs is worth.

schedules: learning rates over time. optimizers: how a gradient becomes an update; adaptive: more of
them; curvature: SOAP and Sophia; wrappers: SAM, schedule-free, states of low precision; eight_bits:
of 8 bits. gradients: what is done to a gradient before. orthogonal: the nearest orthogonal matrix,
which Muon needs. layerwise: rates and beginnings by depth. noise_scales: from which batch size on
more examples a step are wasted. range_tests: a run at a rate that rises, read. widths: muP, for
settings that hold at any width. comparisons: intervals and p-values of paired runs. spaces: what a
knob may be in a search. scaling: from the losses of small runs to a large one's.
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.tuning.adaptive import adafactor as adafactor
  from bigtrain.tuning.adaptive import adagrad as adagrad
  from bigtrain.tuning.adaptive import lamb as lamb
  from bigtrain.tuning.adaptive import lion as lion
  from bigtrain.tuning.adaptive import nadamw as nadamw
  from bigtrain.tuning.adaptive import prodigy as prodigy
  from bigtrain.tuning.adaptive import rmsprop as rmsprop
  from bigtrain.tuning.comparisons import Effect as Effect
  from bigtrain.tuning.comparisons import holm as holm
  from bigtrain.tuning.comparisons import paired_effect as paired_effect
  from bigtrain.tuning.comparisons import pairs_needed as pairs_needed
  from bigtrain.tuning.curvature import soap as soap
  from bigtrain.tuning.curvature import sophia as sophia
  from bigtrain.tuning.eight_bits import eight_bit as eight_bit
  from bigtrain.tuning.gradients import by_path as by_path
  from bigtrain.tuning.gradients import gradient_noise as gradient_noise
  from bigtrain.tuning.gradients import penalty as penalty
  from bigtrain.tuning.layerwise import layer_decay as layer_decay
  from bigtrain.tuning.layerwise import unfreeze_gradually as unfreeze_gradually
  from bigtrain.tuning.noise_scales import batch_costs as batch_costs
  from bigtrain.tuning.noise_scales import critical_batch as critical_batch
  from bigtrain.tuning.noise_scales import noise_terms as noise_terms
  from bigtrain.tuning.optimizers import adamw as adamw
  from bigtrain.tuning.optimizers import muon as muon
  from bigtrain.tuning.optimizers import sgd as sgd
  from bigtrain.tuning.orthogonal import JORDAN as JORDAN
  from bigtrain.tuning.orthogonal import orthogonalize as orthogonalize
  from bigtrain.tuning.orthogonal import polar_express as polar_express
  from bigtrain.tuning.range_tests import RangeTest as RangeTest
  from bigtrain.tuning.range_tests import has_exploded as has_exploded
  from bigtrain.tuning.range_tests import read_range as read_range
  from bigtrain.tuning.scaling import Cost as Cost
  from bigtrain.tuning.scaling import ScalingLaw as ScalingLaw
  from bigtrain.tuning.scaling import fit_scaling_law as fit_scaling_law
  from bigtrain.tuning.scaling import law_doubts as law_doubts
  from bigtrain.tuning.scaling import refit_scaling_law as refit_scaling_law
  from bigtrain.tuning.schedules import constant as constant
  from bigtrain.tuning.schedules import cyclic as cyclic
  from bigtrain.tuning.schedules import inverse_sqrt as inverse_sqrt
  from bigtrain.tuning.schedules import join as join
  from bigtrain.tuning.schedules import one_cycle as one_cycle
  from bigtrain.tuning.schedules import polynomial as polynomial
  from bigtrain.tuning.schedules import step_decay as step_decay
  from bigtrain.tuning.schedules import warmup_constant as warmup_constant
  from bigtrain.tuning.schedules import warmup_cosine as warmup_cosine
  from bigtrain.tuning.schedules import warmup_linear as warmup_linear
  from bigtrain.tuning.schedules import warmup_stable_decay as warmup_stable_decay
  from bigtrain.tuning.spaces import choice as choice
  from bigtrain.tuning.spaces import integers as integers
  from bigtrain.tuning.spaces import log as log
  from bigtrain.tuning.spaces import uniform as uniform
  from bigtrain.tuning.widths import MuP as MuP
  from bigtrain.tuning.widths import mup as mup
  from bigtrain.tuning.wrappers import low_precision as low_precision
  from bigtrain.tuning.wrappers import sam as sam
  from bigtrain.tuning.wrappers import schedule_free as schedule_free
