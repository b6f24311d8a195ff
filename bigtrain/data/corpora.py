"""Texts that come with Python, or are found in $BIGTRAIN_DATA: the standard library's source,
tiny-shakespeare."""

import json
import os
import pathlib
import platform
import re
import sysconfig
import warnings

from bigtrain.data import places, sources

# Not the library's own source: what others installed, and the tests.
_OTHERS = frozenset(
  {
    'site-packages',
    'dist-packages',
    'test',
    'tests',
    'idle_test',
    'ensurepip',
    'turtledemo',
    '__pycache__',
  }
)
# Tables written by programs; with them one line in six of a held-out file stands in training too.
_TABLES = frozenset({'encodings', 'pydoc_data'})
_GENERATED = re.compile(
  r'auto-?(matically )?generated|generated (by|from|automatically)|do not edit', re.IGNORECASE
)


def stdlib(clean: bool = True) -> sources.Arrays:
  """Returns the Python standard library's own source, one document a file.

  Tests, installed packages and demonstrations are always left out. The text differs between
  versions of Python; `about` records version and digest.

  Args:
    clean: leave out files that a program wrote, that repeat another file, that are empty, or that
      Python cannot parse.

  Returns:
    'text' str and 'path' str (relative to the library, with '/'); about 580 documents of 10 MB.

  Raises:
    FileNotFoundError: where this Python came without its source.
  """
  root = pathlib.Path(sysconfig.get_paths()['stdlib'])
  texts = {}
  for folder, inner, files in os.walk(root):
    inner[:] = sorted(name for name in inner if name not in _OTHERS)
    for name in sorted(files):
      path = pathlib.Path(folder, name)
      if path.suffix == '.py':
        raw = path.read_bytes()
        try:
          texts[path.relative_to(root).as_posix()] = raw.decode('utf-8').replace('\r\n', '\n')
        except UnicodeDecodeError:  # A few old files declare another encoding.
          if not clean:
            texts[path.relative_to(root).as_posix()] = raw.decode('latin-1')
  if not texts:
    raise FileNotFoundError(
      f'data.stdlib: no .py file in {root}: use a Python that ships its source, as python.org and '
      'Debian build it'
    )
  if clean:
    # Parsing ten megabytes takes seconds, so the verdict is kept.
    name = (
      f'stdlib-clean-2-{places.digest([platform.python_version(), *texts, *texts.values()])}.json'
    )
    kept = json.loads(places.cached(name, lambda: json.dumps(_clean(texts)).encode()))
    texts = {path: texts[path] for path in kept}
  about = {
    'name': 'stdlib',
    'licence': 'PSF-2.0',
    'version': platform.python_version(),
    'digest': places.digest([*texts, *texts.values()]),
    'documents': len(texts),
    'bytes': sum(len(text.encode()) for text in texts.values()),
  }
  return sources.Arrays({'text': list(texts.values()), 'path': list(texts)}, about)


def shakespeare() -> sources.Arrays:
  """Returns tiny-shakespeare, 1,115,394 characters of 65 kinds (Karpathy, char-rnn, 2015), as one
  document.

  The customary split is `split_by_position(source, held_out=0.1)`.

  Returns:
    'text' str and 'path' str, one record.

  Raises:
    FileNotFoundError: where $BIGTRAIN_DATA holds no tinyshakespeare.txt.
    ValueError: the file is not UTF-8.
  """
  path = places.find(
    'data.shakespeare',
    ['tinyshakespeare.txt', 'shakespeare/tinyshakespeare.txt', 'tinyshakespeare/input.txt'],
    [],
    'set BIGTRAIN_DATA to a folder, and bring it by `curl -o $BIGTRAIN_DATA/tinyshakespeare.txt '
    'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt`',
  )
  raw = path.read_bytes()
  try:
    text = raw.decode('utf-8')
  except UnicodeDecodeError as error:
    raise ValueError(
      f'data.shakespeare: {path} is not UTF-8 at byte {error.start}: bring it again'
    ) from None
  about = {'name': 'shakespeare', 'licence': 'public domain', 'digest': places.digest([raw])}
  about |= {'documents': 1, 'bytes': len(raw)}
  return sources.Arrays({'text': [text], 'path': [path.name]}, about)


def _clean(texts: dict[str, str]) -> list[str]:
  """Returns the paths of files that a person wrote and Python can parse; of equal files the
  first."""
  import ast

  kept, seen = [], set()
  for path, text in texts.items():
    written = not _TABLES & set(path.split('/')) and not path.startswith('_sysconfigdata')
    if not written or not text.strip() or text in seen or _is_generated(text):
      continue
    seen.add(text)
    try:
      with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Old escapes in strings are no fault here.
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
      continue
    kept.append(path)
  return kept


def _is_generated(text: str) -> bool:
  """True where the opening says so in a comment: prose about generated things does not count."""
  lines = text[:600].split('\n')
  return any(line.startswith('#') and _GENERATED.search(line) for line in lines)
