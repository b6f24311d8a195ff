"""A page of runs: escaped, fast for many, and drawn by a real browser where there is one."""

import math
import shutil
import subprocess
import time

import numpy as np
import pytest

from bigtrain.comparison import differing, significance
from bigtrain.growing import thinned
from bigtrain.verbs.report import report
from bigtrain.workdirs import Workdir
from tests.toys import plant_run


def test_runs_stand_side_by_side_and_nothing_of_them_is_markup(tmp_path):
  evil = '<script>alert(1)<'
  a = plant_run(tmp_path / 'a', {'lr': 0.1, 'note': evil}, [3.0, 2.0, 1.0], 0.90, 'lr = 1 # <b>\n')
  b = plant_run(tmp_path / evil, {'lr': 0.2, 'note': evil}, [3.0, math.nan, 1.5], 0.94, 'lr = 2\n')
  page = open(report(workdir=a, against=(b,), out=str(tmp_path / 'p.html'))).read()  # noqa: SIM115
  assert '<script' not in page
  assert '&lt;script&gt;' in page
  assert '0.9 (0.89 to 0.91)' in page
  assert '-lr = 1 # &lt;b&gt;' in page
  assert 'http://' not in page.replace('http://www.w3.org', '')
  runs = [Workdir(a).read(), Workdir(b).read()]
  assert differing(runs) == ['lr']
  assert runs[1].curves['train/loss'][1].tolist() == [3.0, 1.5]
  # A hand: (0.94 - 0.90) / (0.01 * sqrt 2 / 1.96) is 5.54 standard errors.
  assert significance(runs[0], runs[1], 'test/accuracy') == pytest.approx(3.0e-8, rel=0.1)
  with pytest.raises(ValueError, match='not a run'):
    Workdir(str(tmp_path / 'none'))


def test_a_folder_stands_for_its_runs(tmp_path):
  places = [plant_run(tmp_path / f'run{i}', {'lr': i}, [1.0, 2.0]) for i in range(3)]
  page = open(report(workdir=places[0], against=(str(tmp_path),))).read()  # noqa: SIM115
  assert 'run0 and 2 more' in page


def test_thinning_keeps_peaks():
  y = np.zeros(100_000)
  y[77_777], y[5] = 9, -9
  x, thin = thinned(np.arange(100_000), y)
  assert len(x) <= 600
  assert 77_777 in x
  assert (thin.max(), thin.min()) == (9, -9)


@pytest.mark.slow
def test_fifty_runs_of_a_hundred_thousand_points_take_seconds(tmp_path):
  noise = np.random.default_rng(0).random(100_000).tolist()
  first = plant_run(tmp_path / 'run0', {'lr': 0}, noise)
  for i in range(1, 50):
    shutil.copytree(first, tmp_path / f'run{i}')
  start = time.process_time()  # The clock on the wall tells what else the machine does.
  report(workdir=first, against=(str(tmp_path),))
  assert time.process_time() - start < 10


def test_a_browser_draws_the_page(tmp_path):
  browser = shutil.which('chromium') or shutil.which('google-chrome')
  if browser is None:
    pytest.skip('no Chromium is installed to draw the page')
  place = plant_run(
    tmp_path / 'a', {'lr': 0.1}, (1 + np.random.default_rng(0).random(200)).tolist()
  )
  other = plant_run(tmp_path / 'b', {'lr': 0.2}, np.linspace(3, 1, 300).tolist(), 0.93, 'x = 2\n')
  out, shot = report(workdir=place, against=(other,)), tmp_path / 'shot.png'
  flags = ['--headless', '--no-sandbox', '--disable-gpu', '--window-size=1200,1500']
  subprocess.run(
    [browser, *flags, f'--screenshot={shot}', f'file://{out}'],
    capture_output=True, check=True, timeout=120,
  )  # fmt: skip
  from PIL import Image

  pixels = np.asarray(Image.open(shot).convert('RGB')).reshape(-1, 3)
  assert len(np.unique(pixels, axis=0)) > 50
  for color in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)):  # Both lines are there.
    assert (np.abs(pixels.astype(int) - color).max(axis=1) < 40).any()
