"""bigtrain trains big models from one small file, and tells which of six levers mattered."""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.notebook import run as run
