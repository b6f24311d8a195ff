"""A page that follows its runs: a server for one person, which reads only what is new.

The browser asks every other second for what changed since the version that it has; the answer is
either 204 or the new content of the page, drawn as the page of a finished run is.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from bigtrain import comparison, page
from bigtrain.workdirs import Kept, Shelf, runs_in

_HERE = {'127.0.0.1', 'localhost', '::1'}
SCRIPT = """
let version = -1;
async function follow() {
  const status = document.querySelector('.note');
  try {
    const answer = await fetch(`?since=${version}`);
    if (answer.status === 200) {
      const said = await answer.json();
      document.querySelector('main').innerHTML = said.html;
      version = said.version;
      if (globalThis.start) start();
      status.textContent = `Followed; the last change came at ${new Date().toLocaleTimeString()}.`;
    } else if (answer.status !== 204) {
      status.textContent = await answer.text();
    }
  } catch {
    status.textContent = 'The server has ended; this is what it said last.';
  }
  setTimeout(follow, 2000);
}
follow();
"""


class Live:
  """One page over runs that go on.

  Args:
    title: Of the page.
    shelf: The runs.
    draw: From runs to the sections of the page.
    script: Of the page, beside the one that follows.
  """

  def __init__(
    self,
    title: str,
    shelf: Shelf,
    draw: Callable[[Sequence[Kept]], Mapping[str, Any]],
    script: str = '',
  ):
    self._title, self._shelf, self._draw, self._script = title, shelf, draw, script
    self._lock = threading.Lock()

  def whole(self) -> str:
    """Returns the page that a browser opens first; it asks for the content at once."""
    return page.page(self._title, {}, 'Reading...', script=self._script + SCRIPT, asks=True)

  def since(self, version: int) -> str | None:
    """Returns JSON with the content and its version; None if the version is the one given.

    Raises:
      ValueError: a run is no more.
    """
    with self._lock:  # Several windows read one shelf.
      runs = self._shelf.read()
      if self._shelf.version == version:
        return None
      content = page.body(self._draw(runs))
      return json.dumps({'version': self._shelf.version, 'html': content})


def server(
  find: Callable[[str], Live | None], host: str, port: int
) -> http.server.ThreadingHTTPServer:
  """Returns a server that listens already, and answers once `serve_forever` is called.

  Args:
    find: From the path of an address, such as '/', to its page; None where there is none.
    host: Where to listen.
    port: Where to listen; 0 takes a free one.

  Raises:
    ValueError: the port is taken, or the host is not this machine.
  """

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # The name that the library calls.
      # A name that a stranger's site made point here is no way in.
      name = urllib.parse.urlsplit(f'//{self.headers.get("Host", "")}').hostname
      if host in _HERE and name not in _HERE:
        self._answer(403, 'text/plain', f'Open this page as http://{host}.')
        return
      asked = urllib.parse.urlsplit(self.path)
      found = find(urllib.parse.unquote(asked.path))
      if found is None:
        self._answer(404, 'text/plain', 'There is no such page.')
        return
      since = urllib.parse.parse_qs(asked.query).get('since')
      if since is None:
        self._answer(200, 'text/html', found.whole())
        return
      try:
        changed = found.since(int(since[0]))
      except (ValueError, OSError) as error:
        self._answer(500, 'text/plain', str(error))
        return
      self._answer(200 if changed else 204, 'application/json', changed or '')

    def _answer(self, status: int, kind: str, content: str) -> None:
      whole = content.encode('utf-8', 'replace')
      with contextlib.suppress(ConnectionError):  # The window was closed.
        self.send_response(status)
        self.send_header('Content-Type', f'{kind}; charset=utf-8')
        self.send_header('Content-Length', str(len(whole)))
        self.send_header('Cache-Control', 'no-store')
        self.send_header('X-Content-Type-Options', 'nosniff')
        self.end_headers()
        self.wfile.write(whole)

    def log_message(self, *_: Any) -> None:
      """Says nothing of each question."""

  try:
    made = http.server.ThreadingHTTPServer((host, port), Handler)
  except OSError as error:
    raise ValueError(
      f'--host={host} --port={port}: {error.strerror}: choose another, or --port=0 for a free one'
    ) from None
  made.daemon_threads = True
  return made


def serve_pages(first: Live, host: str, port: int, beside: str | None = None) -> str:
  """Serves until Ctrl-C, and returns the address.

  Args:
    first: The page at '/'.
    host: Where to listen.
    port: Where to listen; 0 takes a free one.
    beside: A folder whose runs have pages at '/RUN/report.html'; None for none.

  Raises:
    ValueError: the port is taken, or the host is not this machine.
  """
  pages = {'/': first}

  def find(asked: str) -> Live | None:
    name = asked.strip('/').removesuffix('/report.html')
    if beside is not None and asked not in pages:
      run = str(epath.Path(beside) / name)
      if run in runs_in(beside):
        pages[asked] = Live(name, Shelf([run]), comparison.sections)
    return pages.get(asked)

  with server(find, host, port) as listening, contextlib.suppress(KeyboardInterrupt):
    address = f'http://{host}:{listening.server_address[1]}/'
    print(f'The page: {address}  (Ctrl-C ends it)', flush=True)
    listening.serve_forever()
  return address
