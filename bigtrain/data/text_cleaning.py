"""Steps that clean texts: encoding, language, boilerplate of source code, personal data.

Each function returns a step for `data.clean` that worker processes can receive.
"""

import contextlib
import functools
import ipaddress
import re
import symtable
import warnings
from collections.abc import Sequence
from typing import Any

from bigtrain.data.cleaning import Drop, Step

Record = dict[str, Any]

# What ftfy may mend in plain ASCII: controls but tab, newline and form feed.
_CONTROLS = re.compile(r'[\x00-\x08\x0b\x0d-\x1f\x7f]')


def repair_unicode(*, key: str = 'text', prose: bool = False) -> Step:
  """Returns a step that mends what decoding broke, by ftfy (Speer 2019).

  Text decoded by the wrong table, lone surrogates, control characters, terminal escapes and foreign
  line ends are mended, and characters composed (NFC). Lines of plain ASCII are left out, since
  nothing in them can be broken: that makes it fast.

  Args:
    key: the text.
    prose: also straighten quotes, take ligatures and wide letters apart, decode HTML entities: it
      would change what a program says.
  """
  return functools.partial(_repair_unicode, key=key, prose=prose)


def _repair_unicode(record: Record, *, key: str, prose: bool) -> Record:
  text = text_of(record, key, 'repair_unicode')
  if text.isascii() and not prose and not _CONTROLS.search(text):
    return record
  import ftfy

  rewriting = ('unescape_html', 'uncurl_quotes', 'fix_latin_ligatures', 'fix_character_width')
  config = ftfy.TextFixerConfig(**dict.fromkeys(rewriting, prose))
  lines = text.replace('\r\n', '\n').split('\n')  # As ftfy goes about it, line by line.
  for number, line in enumerate(lines):
    if prose or not line.isascii() or _CONTROLS.search(line):
      lines[number] = ftfy.fix_text(line, config)
  return {**record, key: '\n'.join(lines)}


def keep_language(
  *languages: str, minimum: float = 0.65, characters: int = 3000, key: str = 'text'
) -> Step:
  """Returns a step that drops texts in other languages, by py3langid.

  py3langid (Lui & Baldwin 2012) carries its model of 140 languages in a wheel of 5 MB and
  needs NumPy alone; lingua takes 96 MB, and fastText's model must be downloaded.

  Args:
    *languages: what stays, as ISO 639-1 codes such as 'en'; ValueError for one unknown.
    minimum: probability that the language must have; 0.65 is what FineWeb asks of fastText (Penedo
      et al. 2024, section 3.3). Texts of a few words seldom reach it, and are dropped.
    characters: how many are looked at, in equal parts from the start, the middle and the end.
    key: the text.
  """
  if not languages or not all(isinstance(each, str) for each in languages):
    raise ValueError(
      f"data.keep_language: name languages as in keep_language('en'), got {languages}"
    )
  if unknown := sorted(set(languages) - set(_identifier().labels)):
    raise ValueError(
      f'data.keep_language: unknown language {unknown[0]!r}: use codes such as en, de, fr, zh'
    )
  options = dict(languages=frozenset(languages), minimum=minimum, key=key, characters=characters)
  return functools.partial(_keep_language, **options)


def _keep_language(
  record: Record, *, languages: frozenset[str], minimum: float, key: str, characters: int
) -> Record | Drop:
  text = text_of(record, key, 'keep_language')
  if len(text) > characters:
    part = -(-characters // 3)
    middle = (len(text) - part) // 2
    text = f'{text[:part]}\n{text[middle : middle + part]}\n{text[-part:]}'
  language, probability = _identifier().classify(text)
  if probability < minimum:
    return Drop('language is unsure')
  return record if language in languages else Drop(f'language is {language}')


@functools.cache
def _identifier() -> Any:
  from py3langid.langid import MODEL_FILE, LanguageIdentifier

  return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


# A comment that opens a file: lines by '#' or '//' (but not #include and such), or /* */.
_OPENING = re.compile(
  r'(?:[ \t]*\n|[ \t]*(?:#(?![a-z])|//).*(?:\n|\Z)|\s*/\*[\s\S]*?\*/[ \t]*\n?)+'
)
# Its parts: one /* */, or lines that stand together, between blank and empty comment lines.
_PART = re.compile(r'/\*[\s\S]*?\*/[ \t]*\n?|(?:[ \t]*(?:#|//)[#/ \t]*[^\s#/].*(?:\n|\Z))+|.*\n|.+')
_LICENCE = re.compile(
  r'copyright|\(c\) *\d{4}|©|licen[sc]ed?\b|SPDX-|all rights reserved|without warrant|no warrant'
  r'|permission is hereby granted|permission to use|redistribution|redistributions of|liability'
  r'|neither the name of|contributor agreement',
  re.IGNORECASE,
)
_NEEDED = re.compile(r'#!|[ \t]*#.*?coding[:=]')  # The first lines that Python and shells read.
_EMPTY = re.compile(r'^([ \t]*(?:#|//)?[ \t]*\n)(?:[ \t]*(?:#|//)?[ \t]*\n)+', re.MULTILINE)


def remove_licence_header(*, key: str = 'text') -> Step:
  """Returns a step that removes licence text from the comments that open a file of source code.

  Only paragraphs that speak of a licence go; what else the opening says stays, as do '#!', the
  declaration of an encoding, and docstrings.
  """
  return functools.partial(_remove_licence_header, key=key)


def _remove_licence_header(record: Record, *, key: str) -> Record:
  text = text_of(record, key, 'remove_licence_header')
  opening = _OPENING.match(text)
  if opening is None or not _LICENCE.search(opening[0]):
    return record
  first, stay = '', opening[0]
  while _NEEDED.match(stay):
    line, end, stay = stay.partition('\n')
    first += line + end
  parts = [part for part in _PART.findall(stay) if not _LICENCE.search(part)]
  # Of empty comment lines around a paragraph that went, one is left.
  left = _EMPTY.sub(r'\1', ''.join(parts))
  left = re.sub(r'\A(?:[ \t]*(?:#+|//)?[ \t]*\n)+', '', left)
  return {**record, key: first + left + text[opening.end() :]}


_TOOL_LINES = re.compile(
  r'^[ \t]*(?:#|//|;)+[ \t]*(?:'
  r'-\*-.*-\*-|vim?: .*|ex: .*|Local Variables:|End:|(?:mode|tab-width|fill-column|coding): \S+'
  r'|\$(?:Id|Revision|Date|Author|Header|Log|Source|RCSfile)\b.*\$|[-=*#~+_ ]{20,}'
  r')[ \t]*\n',
  re.MULTILINE | re.IGNORECASE,
)


def remove_boilerplate(*, key: str = 'text') -> Step:
  """Returns a step that removes comment lines of source code that are not for readers.

  Such lines set up editors, hold keywords of version control such as $Id$, declare an encoding (a
  text is decoded already), or draw a rule of 20 and more characters.
  """
  return functools.partial(_remove_boilerplate, key=key)


def _remove_boilerplate(record: Record, *, key: str) -> Record:
  return {**record, key: _TOOL_LINES.sub('', text_of(record, key, 'remove_boilerplate'))}


def drop_unparsable(*, key: str = 'text') -> Step:
  """Returns a step that drops what the running Python cannot parse as a module.

  The symbol table is built in C from the parser of `ast.parse`, at three times its speed.
  """
  return functools.partial(_drop_unparsable, key=key)


def _drop_unparsable(record: Record, *, key: str) -> Record | Drop:
  text = text_of(record, key, 'drop_unparsable')
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Old escapes in strings are no fault here.
      symtable.symtable(text, 'text', 'exec')
  except (SyntaxError, ValueError, RecursionError, MemoryError):  # Too deep, or null characters.
    return Drop('Python cannot parse it')
  return record


def mask_personal(
  *, kinds: Sequence[str] = ('key', 'email', 'ip', 'phone'), key: str = 'text'
) -> Step:
  """Returns a step that masks <KEY>, <EMAIL>, <IP> and <PHONE>.

  - key: secrets that show what they are: blocks of private keys, and tokens of AWS, GitHub, GitLab,
    Slack, Google, Stripe, OpenAI and Hugging Face. A password is not found.
  - email: `a@b.transpose` without spaces is taken for an address.
  - ip: public addresses, as in FineWeb (Penedo et al. 2024); private and local ones tell of nobody.
    What follows 'v', 'version', '==' or a name and '/', and four single digits (1.2.3.4), is taken
    for a version, so 8.8.8.8 is left. IPv6 within 2000::/3 (RFC 4291).
  - phone: with a plus and a country (ITU-T E.123), or North American with '-', '.' or brackets.
    '555 0123' is left: tables are full of such numbers.

  Args:
    kinds: which of the four; ValueError for another.
    key: the text.
  """
  if unknown := [kind for kind in kinds if kind not in _MASKS]:
    raise ValueError(
      f'data.mask_personal: unknown kind {unknown[0]!r}: use some of {", ".join(_MASKS)}'
    )
  return functools.partial(_mask_personal, kinds=tuple(kinds), key=key)


def _mask_personal(record: Record, *, kinds: Sequence[str], key: str) -> Record:
  text = text_of(record, key, 'mask_personal')
  for kind in kinds:
    text = _MASKS[kind](text)
  return {**record, key: text}


# Each pattern begins with what is rare and looks back from there, so that `re` skips fast to it.
_AT = re.compile(r'@(?<=[\w+-]@)(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b')
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.+%'-]*[\w+-])?\Z", re.ASCII)
_IPV4 = re.compile(r'\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)', re.ASCII)
_IPV6 = re.compile(r'[23](?<![\w:.].)[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?![\w:])')
_NO_IP = re.compile(r'(?:[\w.-]|\bv(?:er(?:sion)?)?["\' =:.]+|[=<>~]=[ "\']*|\w/)\Z', re.IGNORECASE)
_PLUS = re.compile(
  r'\+(?<![\w)\]+].)[1-9]\d{0,14}(?:[ .-]?\(\d{1,4}\)\d{0,5}|[ .-]\d{1,13}){0,6}(?![\w.-]?\d)'
)
_LINE = re.compile(r'\d{3}[.-]\d{4}(?![\w.-]?\d)', re.ASCII)
_AREA = re.compile(r'(?<![\w.+(-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[.-])\Z', re.ASCII)
_TOKENS = {
  'PRIVATE KEY': r'-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----'
  r'(?:(?!-----)[\s\S])+-----END [A-Z ]+-----',
  'A[KS]IA': r'A[KS]IA(?<![A-Za-z0-9]....)[A-Z0-9]{16}(?![A-Za-z0-9])',
  'aws|AWS': r'(?P<before>(?i:aws_?secret_?(access_?)?key)\W{1,6})[A-Za-z0-9/+]{40}(?![\w/+=])',
  'gh._|hub_pat_|lpat-': r'gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{82}|glpat-[\w-]{20,}',
  'xox|AIza|sk_live_': r'xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|sk_live_[A-Za-z0-9]{24,}',
  'sk-': r'sk-(?<!\w...)(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{40,}',
  'hf_': r'hf_(?<!\w...)[A-Za-z0-9]{34}(?!\w)',
}
_SECRETS = [(re.compile(word), re.compile(pattern)) for word, pattern in _TOKENS.items()]


def _mask_keys(text: str) -> str:
  for word, pattern in _SECRETS:
    if word.search(text):
      text = pattern.sub(lambda found: f'{found.groupdict().get("before") or ""}<KEY>', text)
  return text


def _mask_emails(text: str) -> str:
  spans = []
  for at in _AT.finditer(text):
    if name := _NAME.search(text, max(0, at.start() - 64), at.start()):
      spans.append((name.start(), at.end()))
  return _replaced(text, spans, '<EMAIL>')


def _mask_addresses(text: str) -> str:
  spans = []
  for found in (*_IPV4.finditer(text), *_IPV6.finditer(text)):
    if _NO_IP.search(text, max(0, found.start() - 12), found.start()):
      continue
    with contextlib.suppress(ValueError):  # A number above 255, or groups too many.
      if ipaddress.ip_address(found[0]).is_global and len(found[0]) > 7:
        spans.append(found.span())
  return _replaced(text, sorted(spans), '<IP>')


def _mask_phones(text: str) -> str:
  spans = []
  for found in _PLUS.finditer(text):
    number, before = found[0], text[max(0, found.start() - 1) : found.start()]
    # A sum or a decimal fraction has one sign, or none; a quoted number may have none.
    grouped = ' ' in number or '(' in number or number.count('.') > 2 or number.count('-') > 1
    quoted = number[1:].isdigit() and before in ('"', "'", '>', ':')
    if 8 <= sum(map(str.isdigit, number)) <= 15 and (grouped or quoted):
      spans.append(found.span())
  for found in _LINE.finditer(text):
    area = _AREA.search(text, max(0, found.start() - 8), found.start())
    if area and found[0][0] in '23456789':
      spans.append((area.start(), found.end()))
  return _replaced(text, sorted(spans), '<PHONE>')


def _replaced(text: str, spans: Sequence[tuple[int, int]], mask: str) -> str:
  parts, last = [], 0
  for start, end in spans:
    if start >= last:
      parts += [text[last:start], mask]
      last = end
  return ''.join([*parts, text[last:]]) if parts else text


_MASKS = dict(key=_mask_keys, email=_mask_emails, ip=_mask_addresses, phone=_mask_phones)


def text_of(record: Record, key: str, name: str) -> str:
  """Returns the text of a record; ValueError where `key` holds none."""
  text = record.get(key)
  if not isinstance(text, str):
    raise ValueError(
      f'data.{name}: {key!r} is {type(text).__name__}, not text: use one of {", ".join(record)}'
    )
  return text
