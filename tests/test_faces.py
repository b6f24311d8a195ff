"""What one sees first: `python -m bigtrain`, `python -m experiments`, the README's table."""

import json
import pathlib
import subprocess
import sys

import pytest

from bigtrain import __main__ as front
from experiments import __main__ as listing

HOUSE = pathlib.Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.py').write_text('"""Mine.\n\nAt length."""\nlaunch.run(experiment)')
  (tmp_path / 'other.py').write_text('print("no experiment")')
  (tmp_path / 'broken.py').write_text('launch.run(')
  run = tmp_path / 'runs' / 'a'
  run.mkdir(parents=True)
  (run / 'record.json').write_text(json.dumps({'experiment': 'mine', 'knobs': {}}))
  rows = [{'step': 10, 'train/loss': 2.0}, {'step': 20, 'held_out/loss': 1.5}]
  (run / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, rows)) + '\n{"step": 3')
  return tmp_path


def page(capsys, monkeypatch, *words):
  monkeypatch.setattr(sys, 'argv', ['bigtrain', *words])
  front.main()
  return capsys.readouterr().out


def test_the_front_page_lists_experiments_verbs_and_runs(folder, capsys, monkeypatch):
  said = page(capsys, monkeypatch)
  assert 'experiments.digits' in said
  assert 'evaluate' in said
  assert 'mine.py' in said
  assert 'Mine.' in said
  assert 'other.py' not in said
  assert 'broken' not in said
  assert 'step 20, held_out/loss 1.5' in said


def test_a_damaged_run_is_named_and_hides_no_other(folder, capsys, monkeypatch):
  (folder / 'runs' / 'b').mkdir()
  (folder / 'runs' / 'b' / 'record.json').write_text('{')
  said = page(capsys, monkeypatch, 'runs')
  assert 'record.json is damaged' in said
  assert 'step 20' in said


def test_a_folder_that_is_not_there_is_an_error():
  done = subprocess.run(
    [sys.executable, '-m', 'bigtrain', 'nowhere'], capture_output=True, text=True, cwd=HOUSE
  )
  assert done.returncode == 2
  assert 'nowhere is no folder' in done.stderr


def test_the_table_of_the_readme_is_that_of_the_headers():
  """Where it is not: `python -m experiments README.md`."""
  text = (HOUSE / 'README.md').read_text()
  assert listing.placed(text) == text


def test_a_page_without_a_table_is_refused():
  with pytest.raises(ValueError, match='has no table'):
    listing.placed('# Nothing')
