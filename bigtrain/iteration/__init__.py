"""Iteration: continue what was trained before.

checkpoints: state and data position, saved together, asynchronously
warm_starts: parameters of something trained before, for a model that need not be the same
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.iteration.checkpoints import Checkpoints as Checkpoints
  from bigtrain.iteration.warm_starts import extended as extended
  from bigtrain.iteration.warm_starts import match as match
  from bigtrain.iteration.warm_starts import resampled as resampled
  from bigtrain.iteration.warm_starts import warm_start as warm_start
