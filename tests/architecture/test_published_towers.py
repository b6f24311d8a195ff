"""CLIP and SigLIP as Hugging Face builds them: the same logits, there and back."""

import functools
import json

import jax
import numpy as np
import pytest

from bigtrain import architecture, iteration

torch = pytest.importorskip('torch', reason='compares with PyTorch')
transformers = pytest.importorskip('transformers', reason='compares with Hugging Face')

SIZES = dict(num_hidden_layers=1, num_attention_heads=2, hidden_act='gelu', layer_norm_eps=1e-5)
TEXT = dict(SIZES, vocab_size=23, max_position_embeddings=9, hidden_size=16, intermediate_size=24)
VISION = dict(SIZES, image_size=8, patch_size=4, hidden_size=12, intermediate_size=20)
ENDS = dict(eos_token_id=22, bos_token_id=0, pad_token_id=0)
CASES = {
  'clip': dict(
    text_config=dict(TEXT, **ENDS, hidden_act='quick_gelu'), vision_config=VISION, projection_dim=14
  ),
  'siglip': dict(
    text_config=dict(TEXT, **ENDS, projection_size=12),
    vision_config=dict(VISION, hidden_act='gelu_pytorch_tanh'),
  ),
}
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 22, (3, 9))
TOKENS[0, 4:] = TOKENS[1, 8] = TOKENS[2, 6:] = 22  # Where a text ends, or is filled up.
IMAGE = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)


def theirs(model):
  pixels = torch.tensor(IMAGE.transpose(0, 3, 1, 2))
  with torch.no_grad():
    found = model.eval()(input_ids=torch.tensor(TOKENS), pixel_values=pixels)
  return found.logits_per_image.numpy()


@pytest.mark.parametrize('kind', CASES)
def test_logits_are_equal_there_and_back(kind, tmp_path):
  torch.manual_seed(0)
  config = transformers.AutoConfig.for_model(kind, **CASES[kind])
  model = transformers.AutoModel.from_config(config)
  with torch.no_grad():
    for parameter in model.parameters():  # No bias stays 0, and no gain 1.
      parameter += 0.1 * torch.randn_like(parameter)
  model.save_pretrained(tmp_path / 'theirs')
  expected = theirs(model)

  family = architecture.family(kind)
  ours = family.from_config(json.loads((tmp_path / 'theirs' / 'config.json').read_text()))
  init = functools.partial(ours.init, train=False)
  shapes = jax.eval_shape(init, jax.random.key(0), IMAGE, TOKENS)
  variables = iteration.import_hugging_face(
    str(tmp_path / 'theirs'), family.names(ours), shapes, ignored=family.ignored
  )
  found = jax.jit(functools.partial(ours.apply, train=False))(variables, IMAGE, TOKENS)
  logits = found.scale * found.image @ found.text.T + (0 if found.bias is None else found.bias)
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

  assert architecture.family_of(ours)[0] == kind
  assert family.from_config(family.to_config(ours)) == ours
  out = str(tmp_path / 'ours')
  iteration.export_hugging_face(out, family.names(ours), variables, family.to_config(ours))
  again, report = transformers.AutoModel.from_pretrained(out, output_loading_info=True)
  assert (set(report['missing_keys']), set(report['unexpected_keys'])) == (set(), set())
  np.testing.assert_array_equal(theirs(again), expected)


@pytest.mark.parametrize(
  ('kind', 'image', 'words'),
  [
    ('clip', {'pool': 'mean'}, "clip: image: pool must be 'cls', got 'mean'"),
    ('siglip', {'in_norm': True}, 'siglip: image: in_norm must be False, got True'),
  ],
)
def test_towers_of_no_family_are_told_why(kind, image, words):
  family = architecture.family(kind)
  model = family.from_config(CASES[kind])
  with pytest.raises(ValueError, match=words):
    family.to_config(model.clone(image=model.image.clone(**image)))


def test_an_image_tower_without_a_matrix_has_the_width_of_the_common_space():
  model = architecture.family('siglip').from_config(CASES['siglip']).clone(width=14)
  with pytest.raises(ValueError, match='must be 14 wide'):
    jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), IMAGE, TOKENS)
