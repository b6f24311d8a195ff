"""One self-contained HTML page: no network, pictures inside, readable on a phone.

Convention: what is `Html` is markup and stays as it is; any other value is text, and is escaped
where it becomes part of markup. So text data cannot reach the page as anything but text; and a
browser runs no script but the page's own, which it knows by its hash.
"""

import base64
import hashlib
import html
import io
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_VOID = frozenset({'img', 'meta'})  # Elements without an end tag.
# NUL and its like are no part of HTML: shown by their pictures, U+2400 and on.
_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in '\n\t'} | {127: 0x2421}
_THUMBNAIL = 256  # Pixels of a picture's longer side; a page of large ones would be megabytes.

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff;
  max-width: 76rem; margin: auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; } p { margin: .5rem 0; }
nav { position: sticky; top: 0; background: #fff; padding: .5rem 0;
  border-bottom: 1px solid #d5dae0; overflow-x: auto; white-space: nowrap; }
a { color: #0b5cad; } nav a { margin-right: 1rem; } h2 { scroll-margin-top: 3rem; }
.note, figcaption { color: #59636e; font-size: .8125rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e6e9ed; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.side { display: grid; gap: 0 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.side > * { min-width: 0; }
.pictures { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(4.5rem, 1fr)); }
.pictures.plots { grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
.plots img { image-rendering: auto; }
.pictures.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 14rem), 1fr)); }
.wide img { max-height: 11rem; }
figure { margin: 0; } img { display: block; width: 100%; image-rendering: pixelated; }
.bars { display: grid; grid-template-columns: auto 1fr auto; gap: .15rem .75rem;
  font-size: .875rem; }
.bar { background: #3b82c4; align-self: center; height: .75rem; border-radius: 2px; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending]::after { content: ' ▲'; } th[aria-sort=descending]::after { content: ' ▼'; }
.gallery :is(td, th) { white-space: nowrap; }
svg { width: 100%; max-width: 36rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8125rem; line-height: 1.6;
  max-height: 24rem; overflow-y: auto; border: 1px solid #e6e9ed; padding: .5rem; margin: .5rem 0; }
.tint0 { background: #fdf0cf; } .tint1 { background: #d9eafc; }
.tint2 { background: #dff3dc; } .tint3 { background: #f6dfee; }
.mark { background: #59636e; color: #fff; border-radius: 3px; padding: 0 .3em; font-size: .7em; }
"""


class Html(str):
  """Markup: it is put into a page as it is."""


def text(value: Any) -> Html:
  """Returns a value as markup: numbers with separators, text escaped, `Html` as it is."""
  return value if isinstance(value, Html) else Html(html.escape(plain(value).translate(_CONTROL)))


def plain(value: Any) -> str:
  """Returns a value as text for a person: 1,234,567 or 0.0123 or 1.2e-05."""
  if isinstance(value, numbers.Integral) and not isinstance(value, bool):
    return f'{int(value):,}'
  if isinstance(value, numbers.Real) and not isinstance(value, bool):
    return f'{float(value):.4g}'
  return str(value)


def tag(name: str, /, *content: Any, **attributes: Any) -> Html:
  """Returns an element; `class_` is the attribute class, and content is as for `text`."""
  given = ''.join(
    f' {key.rstrip("_")}="{html.escape(str(value))}"' for key, value in attributes.items()
  )
  return Html(f'<{name}{given}>' + ('' if name in _VOID else f'{join(content)}</{name}>'))


def join(content: Iterable[Any]) -> Html:
  """Returns several contents one after another."""
  return Html(''.join(map(text, content)))


def note(*content: Any) -> Html:
  """Returns a line in small print."""
  return tag('p', *content, class_='note')


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Html:
  """Returns a table; numbers stand on the right, and a wide one scrolls by itself."""
  body = [list(row) for row in rows]
  right = [all(_number(cell) for cell in column) for column in zip(*body, strict=True)]

  def line(kind: str, cells: Sequence[Any]) -> Html:
    classes = [{'class_': 'number'} if at else {} for at in right or [False] * len(cells)]
    return tag('tr', *(tag(kind, c, **own) for c, own in zip(cells, classes, strict=True)))

  lines = [line('th', head)] if head else []
  return tag('div', tag('table', *lines, *(line('td', row) for row in body)), class_='scroll')


def _number(cell: Any) -> bool:
  return isinstance(cell, numbers.Number) and not isinstance(cell, bool)


def bars(values: Mapping[str, float]) -> Html:
  """Returns a bar for each name, the longest over the whole width, with its number behind it."""
  most = max(values.values(), default=0) or 1
  cells = [
    (
      tag('span', name),
      tag('span', class_='bar', style=f'width:{100 * value / most:.1f}%'),
      tag('span', value, class_='number'),
    )
    for name, value in values.items()
  ]
  return tag('div', *(cell for row in cells for cell in row), class_='bars')


def label(content: Any, x: float, y: float, anchor: str, *, size: int, fill: str) -> Html:
  """Returns words in a drawing; `anchor` says which of their ends stands at x."""
  place = {'x': x, 'y': y, 'text-anchor': anchor, 'font-size': size, 'fill': fill}
  return tag('text', content, **place)


def picture(pixels: Any, caption: Any = '') -> Html:
  """Returns a picture with its caption, as PNG inside the page.

  Args:
    pixels: uint8 [H, W] or [H, W, 3]; a longer side of more than 256 is shrunk to that.
    caption: what stands below.
  """
  from PIL import Image

  image = Image.fromarray(pixels)
  image.thumbnail((_THUMBNAIL, _THUMBNAIL))
  file = io.BytesIO()
  image.save(file, 'PNG')
  return drawing(file.getvalue(), caption)


def drawing(png: bytes, caption: Any = '') -> Html:
  """Returns a PNG as it is, with its caption."""
  source = f'data:image/png;base64,{base64.b64encode(png).decode()}'
  return tag('figure', tag('img', src=source, alt=''), tag('figcaption', caption))


def side(parts: Mapping[str, Any]) -> Html:
  """Returns contents side by side under their names, or one below the other on a phone."""
  return tag(
    'div', *(tag('div', tag('h3', name), content) for name, content in parts.items()), class_='side'
  )


def body(sections: Mapping[str, Any]) -> Html:
  """Returns a section for each name, each with an anchor, below links to them."""
  anchors = {name: name.lower().replace(' ', '-') for name in sections}
  return join([
    tag('nav', *(tag('a', name, href=f'#{anchors[name]}') for name in sections)),
    *(
      tag('section', tag('h2', name, id=anchors[name]), content)
      for name, content in sections.items()
    ),
  ])  # fmt: skip


def page(
  title: str,
  sections: Mapping[str, Any],
  subtitle: Any = '',
  *,
  script: str = '',
  asks: bool = False,
) -> str:
  """Returns a whole page.

  Args:
    title: Of the page.
    sections: As for `body`.
    subtitle: A line below the title.
    script: Of the page's own; it holds no data.
    asks: Whether the script may ask the server that the page came from.
  """
  # The policy lets a browser load nothing and run nothing else, whatever the page holds.
  policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
  if script:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy += f"; script-src 'sha256-{digest}'" + "; connect-src 'self'" * asks
  head = tag(
    'head',
    tag('meta', charset='utf-8'),
    tag('meta', **{'http-equiv': 'Content-Security-Policy', 'content': policy}),
    tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
    tag('title', title),
    tag('style', Html(_STYLE)),
  )
  content = tag(
    'body',
    tag('h1', title),
    tag('p', subtitle, class_='note'),
    tag('main', body(sections)),
    *([tag('script', Html(script))] if script else []),
  )
  return f'<!doctype html>\n{tag("html", head, content, lang="en")}\n'
