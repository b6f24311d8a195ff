"""One hypothesis a file: run it with `python -m experiments.NAME`, or copy it anywhere and edit."""
