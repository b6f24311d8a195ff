"""Convnets that Hugging Face publishes give the same logits here, and go back as they came."""

import flax.traverse_util as traverse
import jax
import numpy as np
import pytest

from bigtrain.architecture import published

CASES = {
  'bottleneck': ('ResNet', dict(hidden_sizes=[16, 32], depths=[2, 1], embedding_size=4)),
  'basic': (
    'ResNet',
    dict(hidden_sizes=[8, 16], depths=[1, 2], embedding_size=8, layer_type='basic'),
  ),
  'convnext': (
    'ConvNext',
    dict(hidden_sizes=[8, 16], depths=[2, 1], num_stages=2, layer_scale_init_value=0.1),
  ),
}


@pytest.mark.parametrize('case', CASES)
def test_logits_are_those_of_the_original_and_back(case):
  torch = pytest.importorskip('torch', reason='the originals are PyTorch models')
  transformers = pytest.importorskip('transformers', reason='the originals are its models')
  name, knobs = CASES[case]
  config = getattr(transformers, f'{name}Config')(num_labels=5, **knobs)
  make = getattr(transformers, f'{name}ForImageClassification')
  torch.manual_seed(0)
  original = make(config).eval()
  with torch.no_grad():  # So that no statistic, gain or bias is that of a new model.
    for key, tensor in original.state_dict().items():
      if tensor.is_floating_point():
        tensor.copy_(tensor + 0.1 * torch.rand_like(tensor))
      assert torch.isfinite(tensor).all(), key

  family = published.family(config.model_type)
  model = family.from_config(config.to_dict())
  names = family.names(model)
  tensors = {key: tensor.numpy() for key, tensor in original.state_dict().items()}
  image = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
  state = traverse.flatten_dict(shapes, sep='/')
  leaves = {}
  for path, shape in state.items():
    each = names[path.removeprefix('params/')]
    leaves[path] = each.take([tensors[key] for key in each.names])
    assert leaves[path].shape == shape.shape
  assert len(names) == len(state)
  variables = traverse.unflatten_dict(leaves, sep='/')
  got = jax.jit(lambda image: model.apply(variables, image, train=False))(image)
  with torch.no_grad():
    want = original(torch.tensor(image.transpose(0, 3, 1, 2))).logits.numpy()
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())

  # Back: a model made from our config and tensors alone.
  back = make(type(config).from_dict(family.to_config(model))).eval()
  given = {}
  for path, leaf in leaves.items():
    each = names[path.removeprefix('params/')]
    given |= dict(zip(each.names, each.give(leaf), strict=True))
  loaded = back.load_state_dict(
    {key: torch.tensor(np.ascontiguousarray(x)) for key, x in given.items()}, strict=False
  )
  assert loaded.unexpected_keys == []
  assert all(key.endswith('num_batches_tracked') for key in loaded.missing_keys)
  with torch.no_grad():
    again = back(torch.tensor(image.transpose(0, 3, 1, 2))).logits.numpy()
  np.testing.assert_allclose(again, want, rtol=1e-4, atol=1e-5)


def test_what_these_modules_cannot_do_is_refused():
  with pytest.raises(ValueError, match='downsample_in_bottleneck of a ResNet must be False'):
    published.family('resnet').from_config(
      dict(hidden_sizes=[256, 512], depths=[1, 1], downsample_in_bottleneck=True)
    )
  with pytest.raises(ValueError, match="'gelu', got 'relu'"):
    published.family('convnext').from_config(dict(hidden_act='relu'))
