"""bigtrain trains big models from one small file, and tells which of six levers mattered."""
