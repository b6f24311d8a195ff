"""What makes two records exact copies: the content that is compared, and its digest."""

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any

from bigtrain.data import records

_KEYS = 'text', 'image'  # Compared without being named, where a record has them.


def compared_key(place: str, record: Mapping[str, Any], key: str | None) -> str | None:
  """Returns the key that is compared, None for the whole record; ValueError where it is missing."""
  key = key or next((name for name in _KEYS if name in record), None)
  if key is not None and key not in record:
    raise ValueError(
      f'{place}: the records have no key {key!r}: use one of {", ".join(sorted(record))}'
    )
  return key


def compared(place: str, record: Mapping[str, Any], key: str | None) -> Any:
  """Returns what is compared of a record, a text as str; ValueError without the key."""
  key = compared_key(place, record, key)
  if key is None:
    return record
  value = records.as_array(record[key])
  return value.item() if value.dtype == object and value.ndim == 0 else record[key]


def content_digest(content: Any) -> bytes:
  """Returns 16 bytes that exact copies share, of a value or of a whole record."""
  digest = hashlib.blake2b(digest_size=16)
  for name, value in sorted(content.items()) if isinstance(content, Mapping) else [('', content)]:
    value = records.as_array(value)
    raw = value.item() if value.dtype == object and value.ndim == 0 else value
    if isinstance(raw, str):
      text = raw if raw.isascii() else unicodedata.normalize('NFKC', raw)
      raw = ' '.join(text.casefold().split()).encode('utf-8', 'surrogatepass')
    elif value.dtype == object and value.ndim:
      raw = repr(value.tolist()).encode('utf-8', 'surrogatepass')
    elif not isinstance(raw, bytes):
      value = value.astype(value.dtype.newbyteorder('<'))
      raw = f'{value.dtype.str}{value.shape}'.encode() + value.tobytes()
    digest.update(f'{name}:{len(raw)}:'.encode() + raw)
  return digest.digest()
