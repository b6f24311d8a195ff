"""What a run proposes at its end can be copied into a shell."""

import pytest

from bigtrain.next_steps import next_commands
from bigtrain.record import Record


@pytest.mark.parametrize('program', ['python -m experiments.toy', 'python /a/toy.py'])
def test_commands_are_of_the_same_program_and_of_this_run(program):
  source = 'SPACE = {}\n'
  knobs = {'epochs': 2.5, 'lr': 0.1}
  record = Record('toy', 'toy.py', source, knobs, {}, '/tmp/a run', f'{program} --lr=0.1')
  lines = next_commands(record, ['test', 'held_out'], writes=True)
  assert [line.split('#')[0].rstrip() for line in lines] == [
    f"  {program} report --workdir='/tmp/a run'",
    f"  {program} evaluate --workdir='/tmp/a run' --only=held_out",
    f"  {program} generate --workdir='/tmp/a run'",
    f"  {program} --flagfile='/tmp/a run'/flags.txt --workdir='/tmp/a run'-longer --epochs=5",
    f'  {program} tune --trials=20',
  ]
