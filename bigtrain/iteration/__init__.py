"""Iteration: continue what was trained before.

checkpoints: state and data position, saved together, asynchronously
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.iteration.checkpoints import Checkpoints as Checkpoints
