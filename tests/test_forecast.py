"""The forecast of a step: its figures fit together, and what is searched for is found."""

import dataclasses
import json

import pytest
import toys

from bigtrain import compute, forecast, forecast_page, forecast_search
from bigtrain.verbs.compile import compile


@pytest.fixture(scope='module')
def found():
  return forecast.forecast(toys.experiment(), 'fsdp:8')


def test_what_holds_the_memory_adds_up(found):
  assert found.peak == pytest.approx(sum(found.held.values()))
  assert found.held['optimiser'] >= 2 * found.held['parameters']
  assert found.fits is None  # What a CPU's share of memory is nobody knows.


def test_the_flops_are_the_models(found):
  products = 8 * (16 * 16 + 16 * 10) * 2
  assert found.model_flops == 3 * products
  # The gradient by the image is not needed.
  assert found.flops == 3 * products - 8 * 16 * 16 * 2


def test_gradients_cross_the_devices(found):
  count, sent = found.collectives['all-reduce within slices']
  assert count > 0
  assert sent >= found.held['parameters']


def test_the_report_is_written_as_a_table_and_as_json(tmp_path, capsys):
  compile(toys.experiment(), mesh='fsdp:8', out=str(tmp_path / 'report.json'))
  assert 'does NOT' not in capsys.readouterr().out
  (report,) = json.loads((tmp_path / 'report.json').read_text())
  assert report['mesh'] == 'fsdp:8'
  assert report['parameters'] > 0


def test_slices_need_a_topology():
  toys.check_sentence(lambda: compile(toys.experiment(), slices=2), ['--topology'], '--slices=2')


def test_the_compilers_own_report_of_too_much_is_read():
  used, buffers = forecast.exhausted(toys.TOO_MUCH)
  assert used == 20.5 * 2**30
  assert buffers == [(2 * 2**30, 'bf16[64,512]{1,0}', 'jit(step)/big'), (2**29, 'f32[8]{0}', '')]
  text = 'the total memory required for HLO temporaries (36.00G) exceeds available HBM (15.75G).'
  assert forecast.exhausted(text) == (36 * 2**30, [])


def fake(found, **changes):
  return dataclasses.replace(found, capacity=1e9, **changes)


def test_advice_follows_what_is_wrong(found):
  tight = fake(found, fits=False, settings={'accumulate': 2, 'remat': 'none'})
  assert "remat='full'" in forecast.advice(tight)[0]
  assert 'accumulate=4' in forecast.advice(tight)[1]
  assert 'more devices' in forecast.advice(fake(tight, held={'parameters': 2e9}))[0]
  assert 'larger batch' in forecast.advice(fake(found, fits=True, limit='links'))[0]


def test_a_search_goes_to_thriftier_settings_until_one_fits(found, monkeypatch):
  def pretend(experiment, mesh='', devices=None, *, windowed=False):
    accumulate = experiment.accumulate
    fits, tensor = accumulate >= 4, 'tensor' in mesh
    shape = compute.describe(compute.make_mesh(mesh, 0))
    return fake(
      found, fits=fits, mesh=shape, settings={'accumulate': accumulate},
      mfu=(0.3 if tensor else 0.5) / accumulate if fits else None, limit='links' * fits,
      seconds={'links': 1.0 + tensor, 'memory': 1.0}, step_seconds=1.0 + tensor if fits else None,
    )  # fmt: skip

  monkeypatch.setattr(forecast_search, 'forecast', pretend)
  tried = forecast_search.find(toys.experiment(batch=64), tries=9)
  assert tried[0].fits
  assert tried[0].settings == {'accumulate': 4}
  assert 'tensor' not in tried[0].mesh
  assert len(tried) <= 9
  assert all(one.fits is False for one in tried if one.settings['accumulate'] < 4)
  assert 'Chosen because' in forecast_page.lines(tried)[-1]
