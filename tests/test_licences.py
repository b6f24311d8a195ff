"""What bigtrain installs may be used and handed on by anyone.

Permissive licences, and MPL 2.0, whose terms end at its own files.
"""

import re
from importlib import metadata

import pytest

# Words of SPDX expressions, classifiers and old free text.
PERMISSIVE = re.compile(
  r'apache|\bmit\b|bsd|isc|psf|python software foundation|python-2\.0|hpnd|mit-cmu|zlib|unlicense'
  r'|public domain|cc0|0bsd|mpl[- ]2\.0|mozilla public license 2\.0|blueoak',
  re.IGNORECASE,
)
COPYLEFT = re.compile(r'gpl|affero|lesser general|general public|sspl|busl|cc[- ]by', re.IGNORECASE)


def needed(name: str, seen: set[str]) -> set[str]:
  """Returns the names of a package's dependencies without extras, through and through."""
  for line in metadata.requires(name) or []:
    word = re.match(r'[\w.-]+', line)
    if word is None or re.search(r';.*\bextra\s*==', line):
      continue
    own = re.sub(r'[-_.]+', '-', word[0]).lower()
    if own in seen:
      continue
    try:
      metadata.version(own)
    except metadata.PackageNotFoundError:  # Of another platform, or of an extra.
      continue
    seen.add(own)
    needed(own, seen)
  return seen


def licence(name: str) -> str:
  """Returns what a package says of its licence: the expression, else classifiers, else the text."""
  about = metadata.metadata(name)
  classifiers = [c for c in about.get_all('Classifier') or [] if c.startswith('License ::')]
  text = (about.get('License') or '').strip().split('\n')[0]
  return about.get('License-Expression') or '; '.join(classifiers) or text


def allowed(said: str) -> bool:
  """Tells whether a licence lets anyone use the package; of several to choose from, any may."""
  return bool(PERMISSIVE.search(said)) and (' OR ' in said or not COPYLEFT.search(said))


def test_every_dependency_has_a_permissive_licence():
  names = sorted(needed('bigtrain', set()))
  assert len(names) > 30
  found = {name: licence(name) for name in names}
  assert {name: said for name, said in found.items() if not allowed(said)} == {}


@pytest.mark.parametrize(
  ('said', 'answer'),
  [
    ('', False),
    ('GPL-3.0-or-later', False),
    ('License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)', False),
    ('MIT AND LGPL-2.1', False),
    ('MIT OR GPL-2.0', True),
    ('Other/Proprietary License', False),
    ('MPL-2.0 AND MIT', True),
  ],
)
def test_a_licence_is_permissive_or_not(said, answer):
  assert allowed(said) is answer
