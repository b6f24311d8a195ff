"""`python -m bigtrain` says what there is."""

from toys import plant_run

from bigtrain.__main__ import main


def test_experiments_verbs_and_runs_are_listed(tmp_path, capsys):
  plant_run(tmp_path / 'first', {}, [2.0] * 30, 0.75)
  assert main([str(tmp_path)]) == 0
  said = capsys.readouterr().out
  for line in ('  digits ', '  report ', 'step 30, test/accuracy 0.75 (0.74 to 0.76)'):
    assert line in said
  assert main([str(tmp_path / 'none')]) == 0
  assert 'none yet' in capsys.readouterr().out


def test_flags_are_refused(capsys):
  assert main(['--lr=3']) == 2
  assert 'usage' in capsys.readouterr().err
