"""BERT, ViT and T5 as Hugging Face builds them: the same outputs, there and back."""

import json

import flax.traverse_util as traverse
import jax
import numpy as np
import pytest

from bigtrain.architecture import published

torch = pytest.importorskip('torch', reason='compares with PyTorch')
transformers = pytest.importorskip('transformers', reason='compares with Hugging Face')
safetensors = pytest.importorskip('safetensors.numpy', reason='reads its files')

SIZES = dict(num_hidden_layers=2, hidden_size=16, num_attention_heads=2, intermediate_size=40)
BERT = dict(SIZES, vocab_size=23, max_position_embeddings=12, num_labels=3)
VIT = dict(SIZES, image_size=8, patch_size=4, num_channels=3, num_labels=5)
T5 = dict(vocab_size=23, d_model=16, d_kv=6, num_heads=3, d_ff=24, num_layers=2)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 23, (2, 9))
TOKENS[1, 5:] = 0  # Padding.
MASK = (TOKENS > 0).astype(np.int32)
READ = dict(input_ids=TOKENS, attention_mask=MASK)
TYPED = READ | dict(token_type_ids=RNG.integers(0, 2, (2, 9)))
WRITTEN = READ | dict(decoder_input_ids=RNG.integers(0, 23, (2, 7)))
IMAGE = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
PICTURES = RNG.normal(size=(2, 3, 8, 12)).astype(np.float32)

# Theirs by name, its configuration, what it is called with, and which of its outputs counts.
CASES = {
  'BertForMaskedLM': ('Bert', BERT, TYPED, 'logits'),
  'BertForSequenceClassification': ('Bert', BERT, TYPED, 'logits'),
  'BertForTokenClassification': ('Bert', dict(BERT, hidden_act='gelu_new'), TYPED, 'logits'),
  'BertModel': ('Bert', BERT, TYPED, 'pooler_output'),
  'ViTForImageClassification': ('ViT', VIT, dict(pixel_values=IMAGE), 'logits'),
  'ViTForImageClassification: wide': (
    'ViT',
    dict(VIT, image_size=[8, 12], patch_size=[4, 2]),
    dict(pixel_values=PICTURES),
    'logits',
  ),
  'T5ForConditionalGeneration': ('T5', T5, WRITTEN, 'logits'),
  'T5ForConditionalGeneration: v1.1': (
    'T5',
    dict(T5, d_kv=4, num_heads=4, feed_forward_proj='gated-gelu', tie_word_embeddings=False),
    WRITTEN,
    'logits',
  ),
}


def ours(model, params, inputs):
  """Calls our model as Hugging Face's is called."""
  apply = jax.jit(lambda *args, **known: model.apply(params, *args, train=False, **known))
  if 'pixel_values' in inputs:
    return apply(inputs['pixel_values'].transpose(0, 2, 3, 1))
  if 'decoder_input_ids' in inputs:
    return apply(inputs['input_ids'], inputs['decoder_input_ids'])
  known = {'mask': inputs['attention_mask'], 'types': inputs['token_type_ids']}
  return apply(inputs['input_ids'], **known)


def theirs(model, inputs, output):
  with torch.no_grad():
    called = model.eval()(**{key: torch.tensor(value) for key, value in inputs.items()})
  return called[output].numpy()


@pytest.fixture(params=CASES)
def case(request, tmp_path):
  kind, config, inputs, output = CASES[request.param]
  torch.manual_seed(0)
  build = getattr(transformers, request.param.split(':')[0])
  model = build(getattr(transformers, f'{kind}Config')(**config))
  if 'v1.1' in request.param:
    model.lm_head.weight = torch.nn.Parameter(torch.randn(23, 16))
  with torch.no_grad():
    for parameter in model.parameters():  # No bias stays 0, and no gain 1.
      parameter += 0.1 * torch.randn_like(parameter)
  model.save_pretrained(tmp_path / 'theirs')
  config = json.loads((tmp_path / 'theirs' / 'config.json').read_text())
  tensors = safetensors.load_file(tmp_path / 'theirs' / 'model.safetensors')
  return build, config, tensors, inputs, theirs(model, inputs, output), output, tmp_path


def test_outputs_are_equal_there_and_back(case):
  build, config, tensors, inputs, expected, output, folder = case
  family = published.family(config['model_type'])
  model = family.from_config(config)
  names = family.names(model)
  leaves = {path: each.take([tensors[name] for name in each.names]) for path, each in names.items()}
  params = {'params': traverse.unflatten_dict(leaves, sep='/')}
  outputs = ours(model, params, inputs)
  real = MASK[..., None] if outputs.ndim == 3 and outputs.shape[:2] == MASK.shape else 1
  np.testing.assert_allclose(outputs * real, expected * real, rtol=1e-4, atol=1e-5)

  # The map has every parameter, no other, and knows the shape of each tensor.
  args = [inputs[key] for key in ('input_ids', 'decoder_input_ids') if key in inputs]
  args = args or [inputs['pixel_values'].transpose(0, 2, 3, 1)]
  made = jax.eval_shape(lambda: model.init(jax.random.key(0), *args, train=False))['params']
  made = {path: x.shape for path, x in traverse.flatten_dict(made, sep='/').items()}
  assert made == {path: x.shape for path, x in leaves.items()}
  for path, each in names.items():
    assert each.shapes(made[path]) == {name: tensors[name].shape for name in each.names}

  assert published.family_of(model)[0] == config['model_type']
  back = {}
  for path, each in names.items():
    given = zip(each.names, each.give(leaves[path]), strict=True)
    back |= {name: np.ascontiguousarray(x) for name, x in given}
  assert set(back) <= set(tensors)
  out = folder / 'ours'
  out.mkdir()
  (out / 'config.json').write_text(json.dumps(family.to_config(model)))
  safetensors.save_file(back, out / 'model.safetensors', {'format': 'pt'})
  assert family.from_config(family.to_config(model)) == model
  again, report = build.from_pretrained(out, output_loading_info=True)
  assert (set(report['missing_keys']), set(report['unexpected_keys'])) == (set(), set())
  np.testing.assert_array_equal(theirs(again, inputs, output), expected)
