"""A page that follows a run reads what is new, sends what changed, and only to this machine."""

import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from toys import plant_run

from bigtrain import comparison
from bigtrain.growing import Growing
from bigtrain.serving import Live, server
from bigtrain.workdirs import Shelf, Workdir


def append(folder, *rows):
  with open(f'{folder}/metrics.jsonl', 'a') as file:
    file.write(''.join(json.dumps(row) + '\n' for row in rows))


def test_a_growing_file_is_read_once_and_a_file_written_anew_from_its_start(tmp_path):
  file = Growing(tmp_path / 'f')
  assert file.read() == (False, b'')
  (tmp_path / 'f').write_bytes(b'one\ntwo\nthr')
  assert file.read() == (False, b'one\ntwo\n')
  (tmp_path / 'f').write_bytes(b'one\ntwo\nthree\n')
  assert file.read() == (False, b'three\n')
  assert file.read() == (False, b'')
  (tmp_path / 'f').write_bytes(b'one\nzwei\ndrei\nvier\n')  # Longer than before, too.
  assert file.read() == (True, b'one\nzwei\ndrei\nvier\n')


def test_following_a_run_ends_where_reading_it_whole_does(tmp_path):
  folder = plant_run(tmp_path / 'a', {}, [3.0, 2.0])
  (tmp_path / 'a' / 'metrics.jsonl').write_text('')
  followed, values = Workdir(folder), np.random.default_rng(0).normal(size=5_000)
  values[1234] = 9.0
  for begin in range(0, 5_000, 50):
    rows = [
      {'step': i + 1, 'seconds': i % 3_000 / 10, 'train/loss': values[i]}
      for i in range(begin, begin + 50)
    ]
    append(folder, *rows)
    kept = followed.read()
  whole = Workdir(folder).read()
  assert (kept.last, kept.step) == (whole.last, whole.step)
  assert kept.seconds == pytest.approx(whole.seconds)
  x, y = kept.curves['train/loss']
  assert len(x) < 1_300
  assert (y.max(), y.min()) == (9.0, values.min())
  assert (y == values[x.astype(int) - 1]).all()
  version = followed.version
  followed.read()
  assert followed.version == version


@pytest.fixture
def site(tmp_path):
  """Serves a run's page, and yields (address, the run's folder)."""
  folder = plant_run(tmp_path / '<b>run', {'lr': 0.1}, [3.0, 2.0])
  (tmp_path / '<b>run' / 'metrics.jsonl').write_text('')
  live = Live('<b>run', Shelf([folder]), comparison.sections)
  with server({'/': live}.get, '127.0.0.1', 0) as listening:
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{listening.server_address[1]}/', folder
    listening.shutdown()


def ask(address, **headers):
  with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
    return answer.status, answer.read().decode()


def test_only_what_changed_is_sent(site):
  address, folder = site
  said = json.loads(ask(f'{address}?since=-1')[1])
  assert 'Nothing was evaluated yet' in said['html']
  assert '<b>run' not in said['html'] + ask(address)[1]
  assert ask(f'{address}?since={said["version"]}') == (204, '')
  append(folder, {'step': 10, 'seconds': 1.0, 'held_out/accuracy': 0.75})
  status, changed = ask(f'{address}?since={said["version"]}')
  assert status == 200
  assert '0.75' in json.loads(changed)['html']


@pytest.mark.parametrize(
  ('path', 'host', 'code'), [('', 'evil.example', 403), ('../../etc/passwd', '127.0.0.1', 404)]
)
def test_strangers_and_other_files_get_nothing(site, path, host, code):
  with pytest.raises(urllib.error.HTTPError) as caught:
    ask(site[0] + path, Host=host)
  assert caught.value.code == code


def test_a_taken_port_is_named(site):
  port = int(site[0].split(':')[-1].strip('/'))
  with pytest.raises(ValueError, match=f'--port={port}: .* choose another'):
    server({}.get, '127.0.0.1', port)


def test_a_browser_follows_a_run_that_grows(site):
  browser = shutil.which('chromium') or shutil.which('google-chrome')
  if browser is None:
    pytest.skip('no Chromium is installed to follow a run')
  folder = site[1]

  class Growth(Shelf):
    """Three more entries each time that the page asks."""

    def read(self):
      first = 10 * self.version
      append(
        folder,
        *({'step': first + i, 'seconds': 1.0, 'train/loss': 5.0 - first / 50} for i in range(3)),
      )
      return super().read()

  live = Live('grows', Growth([folder]), comparison.sections)
  with server({'/': live}.get, '127.0.0.1', 0) as listening:
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    flags = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=9000']
    dom = subprocess.run(
      [browser, *flags, '--dump-dom', f'http://127.0.0.1:{listening.server_address[1]}/'],
      capture_output=True, check=True, timeout=120, text=True,
    ).stdout  # fmt: skip
    listening.shutdown()
  assert 'the last change came at' in dom
  steps = Workdir(folder).read().step
  assert steps >= 32  # It asked more than twice.
  assert f'<td class="number">{int(steps)}</td>' in dom
  assert '<polyline' in dom
