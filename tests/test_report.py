"""A page of runs: escaped, fast for many, and drawn by a real browser where there is one."""

import json
import math
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image
from toys import plant_run

from bigtrain.comparison import differing, significance
from bigtrain.growing import thinned
from bigtrain.verbs.report import report
from bigtrain.workdirs import Workdir


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


def test_what_is_not_there_is_said_or_left_out(tmp_path):
  page = open(report(workdir=plant_run(tmp_path / 'a', {'lr': 1}, [2.0]))).read()  # noqa: SIM115
  assert 'there is no curve' in page
  for section in ('Pictures', 'Slices', 'Samples', 'Lineage', 'Code'):
    assert f'>{section}<' not in page


def test_what_other_verbs_left_is_shown(tmp_path):
  folder = plant_run(tmp_path / 'a', {'lr': 1}, [2.0, 1.0])
  place = tmp_path / 'a' / 'evaluation' / 'held_out'
  place.mkdir(parents=True)
  Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(place / 'per_class.png')
  found = {'accuracy': {'value': 0.625, 'low': 0.5, 'high': 0.75}, 'odd': {'value': None}}
  (place / 'metrics.json').write_text(json.dumps({'step': 2, 'metrics': found}))
  slices = {'<i>': {'accuracy': {'value': 0.25, 'low': 0.125, 'high': 0.5}}}
  (place / 'slices.json').write_text(
    json.dumps({'key': 'kind', 'metric': 'accuracy', 'worst': '<i>', 'slices': slices})
  )
  sample = {'step': 2, 'prompt': 'To be', 'text': ', or <b>not</b>'}
  (tmp_path / 'a' / 'samples.jsonl').write_text(json.dumps(sample) + '\n')
  older = {'workdir': '/r/1', 'step': 5, 'experiment': 'moons', 'from': []}
  parent = {'workdir': '/r/2', 'step': 7, 'experiment': None, 'from': [older]}
  (tmp_path / 'a' / 'lineage.json').write_text(
    json.dumps({'from': [parent], 'taken': 3, 'fresh': ['head/<b>'], 'kept': []})
  )
  page = open(report(workdir=folder)).read()  # noqa: SIM115
  assert 'data:image/png' in page
  assert '>per class<' in page
  assert '0.625 (0.5 to 0.75)' in page
  assert '0.25 (0.125 to 0.5)' in page
  assert 'The worst by accuracy: &lt;i&gt;.' in page
  assert '>To be</span>, or &lt;b&gt;not&lt;/b&gt;</pre>' in page
  assert 'a ← a run, step 7 (/r/2) ← moons, step 5 (/r/1)' in page
  assert '1: head/&lt;b&gt;' in page
  assert '<b>' not in page


def test_p_values_are_corrected_for_the_runs(tmp_path):
  places = [
    plant_run(tmp_path / f'run{i}', {'lr': i}, [1.0, 2.0], accuracy)
    for i, accuracy in enumerate([0.90, 0.913, 0.913])
  ]
  alone = report(workdir=places[0], against=(places[1],))
  p = significance(*(Workdir(place).read() for place in places[:2]), 'test/accuracy')
  assert f'>{p:.2g}<' in open(alone).read()  # noqa: SIM115
  both = report(workdir=places[0], against=tuple(places[1:]))
  assert f'>{2 * p:.2g}<' in open(both).read()  # noqa: SIM115


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
  pixels = np.asarray(Image.open(shot).convert('RGB')).reshape(-1, 3)
  assert len(np.unique(pixels, axis=0)) > 50
  for color in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)):  # Both lines are there.
    assert (np.abs(pixels.astype(int) - color).max(axis=1) < 40).any()
