"""The coordinate check sees what grows with width, and that under muP nothing does."""

import dataclasses

import numpy as np
import optax
import pytest
import toys

from bigtrain import architecture, tuning
from bigtrain.build import Build
from bigtrain.coordinates import STEPS, check_coordinates, powers, read_widths, verdict
from bigtrain.verbs.tune import tune


def experiment(*, width: int = 32, mup: bool = False, rate: float = 3e-3, seed: int = 0):
  """Returns an MLP whose rate rises over a hundred steps, which the check doesn't wait for."""
  plain = toys.experiment(steps=1_000, ema=0.0, seed=seed)
  schedule = tuning.warmup_cosine(rate, 1_000, warmup=100)
  rules = tuning.mup(architecture.MLP((16, 16), 10), plain.data.spec['image'])
  adam = optax.adam(schedule)
  return dataclasses.replace(
    plain, model=architecture.MLP((width, width), 10), schedule=schedule,
    optimizer=rules.optimizer(adam) if mup else adam, initial=rules.initial if mup else None,
  )  # fmt: skip


def test_changes_grow_with_width_and_the_command_says_so(tmp_path, capsys):
  tune(Build.of(experiment), workdir=str(tmp_path), coordinates=('width=16', '64', '256'))
  assert (tmp_path / 'coordinates.png').stat().st_size > 10_000
  said = capsys.readouterr().out
  assert 'power of width' in said
  assert 'With width grow' in said


@pytest.mark.slow
def test_under_mup_nothing_grows():
  found = check_coordinates(Build.of(experiment, mup=True), 'width', [16, 64, 256])
  assert set(found[16]) == {'Dense_0', 'Dense_1', 'head', 'output'}
  assert all(len(sizes) == 1 + STEPS for sizes in found[16].values())
  grown = powers(found)
  assert abs(grown['Dense_1'][0]) < 0.2
  assert all(change < 0.25 for _, change in grown.values())
  assert verdict(grown).startswith('No layer grows')


def test_what_is_always_zero_has_no_power():
  sizes = {w: {'out': np.array([0.0, 1.0, 1.0, 1.0, float(w)])} for w in (2, 4, 8)}
  start, change = powers(sizes)['out']
  assert np.isnan(start)
  assert change == pytest.approx(1)


@pytest.mark.parametrize(
  ('words', 'said'),
  [
    (('32', '64'), 'write one knob'),
    (('width=32', 'seed=3'), 'write one knob'),
    (('width=32', '64'), 'at least 3 widths'),
    (('wdith=32', '64', '128'), 'did you mean width'),
    (('rate=0.1', '0.2', '0.3'), 'which are whole'),
  ],
)
def test_widths_that_make_no_sense_are_refused(words, said):
  with pytest.raises(ValueError, match=said):
    read_widths(Build.of(experiment), words)
