"""A step that needs more memory than there is ends a run in one sentence with what to change."""

import jax
import pytest
import toys

from bigtrain import launch
from bigtrain.program import Program

DEVICE = 'RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1.50GiB.'


@pytest.mark.parametrize(
  ('where', 'text', 'words'),
  [
    ('compile', toys.TOO_MUCH, ['20.50GB of 15.75GB', '2.00 GiB bf16[64,512]', 'of jit(step)/big']),
    ('run', DEVICE, ['the last 1.50GiB asked for were not there']),
  ],
)
def test_a_run_out_of_memory_says_what_to_change(where, text, words, tmp_path, monkeypatch, capsys):
  def fail(*_):
    raise jax.errors.JaxRuntimeError(text)

  monkeypatch.setattr(Program, where, fail)
  with pytest.raises(SystemExit) as caught:
    launch.run(toys.experiment, [f'--workdir={tmp_path}/run', '--mesh=data:2,fsdp:4'])
  assert caught.value.code == 1
  said = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
  assert len(said) == 1
  for word in [*words, '--accumulate=2', '--mesh=fsdp:-1', '--batch=4']:
    assert word in said[0]


def test_another_error_of_the_device_is_no_sentence(tmp_path, monkeypatch):
  def fail(*_):
    raise jax.errors.JaxRuntimeError('INTERNAL: a wire is loose')

  monkeypatch.setattr(Program, 'compile', fail)
  with pytest.raises(jax.errors.JaxRuntimeError, match='a wire is loose'):
    launch.run(toys.experiment, [f'--workdir={tmp_path}/run'])
