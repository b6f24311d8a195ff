"""The large experiments: of the size that they say, refused without data, trained on tiny knobs."""

import importlib

import numpy as np
import pytest
from toys import check_sentence

from bigtrain import compute, data, forecast
from bigtrain.program import Program
from bigtrain.train import fit
from experiments import lm_1b, lm_8b, moe_lm, vit_imagenet

TINY_LM = dict(
  vocab=64, length=128, batch=8, depth=2, width=32, heads=2, kv_heads=1, hidden=64, chunks=4,
  steps=3,
)  # fmt: skip
TINY = {
  'lm_1b': TINY_LM,
  'lm_8b': TINY_LM,
  'moe_lm': {**TINY_LM, 'experts': 4},
  'vit_imagenet': dict(
    classes=2, side=32, batch=8, depth=1, width=32, heads=2, epochs=3.0
  ),
}  # fmt: skip


@pytest.fixture(scope='module')
def knobs(tmp_path_factory):
  """Returns each experiment's tiny knobs, with tiny data written to disk."""
  root = tmp_path_factory.mktemp('data')
  tokens = np.random.default_rng(0).integers(0, 64, (16, 129)).astype(np.int32)
  for part in ('train', 'held_out'):
    source = data.arrays(inputs=tokens[:, :-1], targets=tokens[:, 1:])
    data.write_records(source, root / 'records' / part, name='noise', licence='none')
  from PIL import Image

  for part in ('train', 'val'):
    for label in ('cat', 'dog'):
      folder = root / 'images' / part / label
      folder.mkdir(parents=True)
      for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.png')
  where = {'records': str(root / 'records')}
  images = {'images': str(root / 'images')}
  return {n: {**own, **(images if 'side' in own else where)} for n, own in TINY.items()}


@pytest.mark.parametrize(
  ('module', 'count'),
  [(lm_1b, 1_104_218_112), (lm_8b, 8_030_261_248), (moe_lm, 3_520_399_360)],
)
def test_parameters(module, count):
  assert Program(module.experiment(), 'fsdp:8').parameters == count


def test_the_vision_transformer_has_the_size_of_s_16():
  assert Program(vit_imagenet.experiment(), 'fsdp:8').parameters == pytest.approx(22.05e6, rel=2e-3)


def test_the_mixture_computes_with_its_active_experts_alone():
  one, two = (Program(moe_lm.experiment(active=n), 'fsdp:8').flops for n in (1, 2))
  feeds = 3 * 2 * 64 * 2048 * 16 * 3 * 2048 * 4096  # Three products a layer, thrice.
  assert two - one == pytest.approx(feeds, rel=1e-3)


@pytest.mark.parametrize('name', TINY)
def test_without_data_training_is_refused(name):
  made = importlib.import_module(f'experiments.{name}').experiment(**TINY[name])
  check_sentence(lambda: next(made.data.iterator()), ['--records'], 'data: the records are only')


@pytest.mark.parametrize('name', TINY)
def test_trained_on_tiny_knobs(name, knobs):
  made = importlib.import_module(f'experiments.{name}').experiment(**knobs[name])
  run = fit(Program(made), progress=False)
  assert run.step == 3
  assert np.isfinite(run.results['held_out']['loss'])


@pytest.mark.slow
@pytest.mark.parametrize(
  ('module', 'topology', 'most'), [(lm_1b, 'v5e:4x4', 2.6e9), (lm_8b, 'v5e:16x16', 5.25e9)]
)
def test_compiled_for_slices_that_are_not_here(module, topology, most):
  pytest.importorskip('libtpu', reason="needs pip install 'bigtrain[tpu]'")
  found = forecast.forecast(module.experiment(), '', compute.topology_devices(topology))
  assert found.fits
  assert found.peak <= most
