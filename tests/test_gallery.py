"""A folder of runs as a page: made of text alone, sorted and brushed in a real browser."""

import html
import re
import shutil
import subprocess

import pytest
from toys import plant_run

from bigtrain import gallery
from bigtrain.page import page
from bigtrain.verbs.report import report
from bigtrain.workdirs import Shelf

EVIL = '<script>alert(1)<'
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--window-size=1200,900']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs')
  for i, (lr, model) in enumerate([(0.1, 'vit'), (0.001, 'mlp'), (0.01, 'vit')]):
    name = EVIL if i == 0 else f'run{i * 9}'  # run9 stands before run18.
    plant_run(folder / name, {'lr': lr, 'model': model, 'seed': 0}, [2.0, 1.0], 0.9 + i / 100)
  return folder


def browse(folder, do='', *more):
  """Returns the page as a browser has it after some script of the test's own."""
  browser = shutil.which('chromium') or shutil.which('google-chrome')
  if browser is None:
    pytest.skip('no Chromium is installed to show the page')
  sections = gallery.sections(Shelf([str(folder)]).read(), {})
  path = folder / 'shown.html'
  path.write_text(page('shown', sections, script=gallery.SCRIPT + do))
  return subprocess.run(
    [browser, *FLAGS, *more, '--dump-dom', f'file://{path}'],
    capture_output=True, check=True, timeout=120, text=True,
  ).stdout  # fmt: skip


def names(dom):
  """Returns the first cell of each row that is shown."""
  rows = re.findall(r'<tr( hidden="")?><td[^>]*>(.*?)</td>', dom)
  return [html.unescape(name) for hidden, name in rows if not hidden]


def test_a_folder_becomes_a_gallery_with_a_page_a_run(folder):
  text = open(report(workdir=str(folder))).read()  # noqa: SIM115
  assert text.count('<script>') == 1
  assert 'alert(1)' in text
  assert EVIL not in text
  links = re.findall(r'<a href="([^"#]+)">', text)
  assert links == [
    '%3Cscript%3Ealert%281%29%3C/report.html',
    'run9/report.html',
    'run18/report.html',
  ]
  assert '0.91 (0.9 to 0.92)' in (folder / 'run9' / 'report.html').read_text()
  assert 'seed' not in text.split('<tbody>')[0].split('<thead>')[1]  # It does not differ.


def test_an_empty_folder_is_no_gallery(tmp_path):
  with pytest.raises(ValueError, match='not a run'):
    report(workdir=str(tmp_path))


def test_a_browser_sorts_and_draws_a_line_a_run(folder):
  by = "\n[...document.querySelectorAll('th button')].find(b => b.textContent === 'lr').click();"
  dom = browse(folder, by)
  assert names(dom) == ['run9', 'run18', EVIL]
  lines = re.findall(r'<path d="(M[^"]*)" fill="none" stroke="(rgb[^"]*)"', dom)
  assert len({colour for _, colour in lines}) == 3
  top, middle, bottom = sorted(float(re.split('[,L]', path)[1]) for path, _ in lines)
  # lr is 100-fold apart, so its axis is logarithmic: 0.01 is half way.
  assert middle == pytest.approx((top + bottom) / 2)


def test_new_content_keeps_the_order_and_a_brushed_axis_the_runs_that_pass_there(folder):
  do = """
Object.assign(chosen, {column: 1, up: false, brushes: {model: [0.9, 1]}});
start();
"""
  assert names(browse(folder, do)) == [EVIL, 'run18']
