"""Tuning: optimisers and schedules.

schedules: learning rates over time. optimizers: how a gradient becomes an update. orthogonal: the
nearest orthogonal matrix, which Muon needs.
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.tuning.optimizers import adamw as adamw
  from bigtrain.tuning.optimizers import muon as muon
  from bigtrain.tuning.optimizers import sgd as sgd
  from bigtrain.tuning.orthogonal import JORDAN as JORDAN
  from bigtrain.tuning.orthogonal import orthogonalize as orthogonalize
  from bigtrain.tuning.orthogonal import polar_express as polar_express
  from bigtrain.tuning.schedules import constant as constant
  from bigtrain.tuning.schedules import warmup_cosine as warmup_cosine
  from bigtrain.tuning.schedules import warmup_linear as warmup_linear
  from bigtrain.tuning.schedules import warmup_stable_decay as warmup_stable_decay
