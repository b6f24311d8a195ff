"""A secret on a command line, in a URL or in the environment reaches no file and no terminal."""

import json

import pytest
import toys

from bigtrain import launch, record
from bigtrain.experiment import Experiment
from bigtrain.masking import masked, masked_value

CANARY = 'c4n4ry'[::-1]  # The run keeps a copy of this file.


def experiment(
  *,
  steps: int = 2,
  api_key: str = '',
  table: str = '',
  tokens: int = 3,
) -> Experiment:
  """An experiment that reads from behind a password."""
  assert api_key in ('', CANARY), 'a mask is no key'
  return toys.experiment(steps=steps, every=1)


@pytest.mark.parametrize(
  ('text', 'shown'),
  [
    (f'mysql://me:{CANARY}@host/runs', 'mysql://me:***@host/runs'),
    (f'https://host/a?x=1&token={CANARY}&y=2', 'https://host/a?x=1&token=***&y=2'),
    (f'https://host/a?X-Amz-Signature={CANARY}', 'https://host/a?X-Amz-Signature=***'),
    (f'python a.py --api_key={CANARY} --lr=1', 'python a.py --api_key=*** --lr=1'),
    (f"python a.py --password '{CANARY} x' --lr=1", 'python a.py --password *** --lr=1'),
    ('--tokens=200 --split_key=label gs://bucket/a@b', None),
    ('time 12:30 me@host key=3', None),
  ],
)
def test_secrets_are_masked_and_nothing_else(text, shown):
  assert masked(text) == (shown or text)


def test_a_knob_is_a_secret_by_its_name():
  assert masked_value('db_password', CANARY) == '***'
  assert masked_value('tokens', 3) == 3
  assert masked_value('tables', [f'a://b:{CANARY}@c', 'd']) == ('a://b:***@c', 'd')


def test_a_canary_shows_nowhere(tmp_path, monkeypatch, capfd):
  monkeypatch.setenv('SOME_TOKEN', CANARY)
  workdir = tmp_path / 'run'
  words = [f'--workdir={workdir}', f'--api_key={CANARY}', f'--table=sql://me:{CANARY}@host/t']
  launch.run(experiment, words)
  launch.run(experiment, words)  # Done already; and the mask is not taken for another knob.
  launch.run(experiment, ['evaluate', f'--workdir={workdir}', f'--api_key={CANARY}'])
  launch.run(experiment, ['report', f'--workdir={workdir}', f'--api_key={CANARY}'])
  with pytest.raises(SystemExit):
    launch.run(experiment, [*words, '--steps=3'])
  said = ''.join(capfd.readouterr())
  assert '--steps=2, not --steps=3' in said
  assert CANARY not in said
  files = [path for path in workdir.rglob('*') if path.is_file()]
  assert {'record.json', 'flags.txt', 'report.html'} <= {path.name for path in files}
  assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
  kept = json.loads((workdir / record.RECORD).read_text())
  assert kept['knobs']['table'] == 'sql://me:***@host/t'
  assert kept['knobs']['tokens'] == 3
