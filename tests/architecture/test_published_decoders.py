"""Published decoders compute what the originals do, and go back to them unchanged."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigtrain import architecture, iteration

WHY = 'compares with the originals: pip install torch transformers'
torch = pytest.importorskip('torch', reason=WHY)
transformers = pytest.importorskip('transformers', reason=WHY)

SIZES = dict(
  vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
  num_key_value_heads=2, max_position_embeddings=64,
)  # fmt: skip
ROPE = dict(
  rope_type='llama3', rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
  original_max_position_embeddings=16,
)  # fmt: skip
KINDS = {
  'gpt2': dict(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64),
  'llama': dict(SIZES, rope_parameters=ROPE),
  'mistral': dict(SIZES, sliding_window=5),
  'qwen2': SIZES,
  'qwen3': dict(SIZES, head_dim=16),
  'gemma2': dict(SIZES, head_dim=16, sliding_window=4, query_pre_attn_scalar=24),
  'mixtral': dict(SIZES, num_local_experts=4),
}
TOKENS = np.random.default_rng(0).integers(0, 96, (2, 24))


def logits_of(theirs):
  with torch.no_grad():
    return theirs.eval()(torch.tensor(TOKENS)).logits.numpy()


@pytest.mark.parametrize('kind', KINDS)
def test_logits_equal_the_originals_both_ways(kind, tmp_path):
  torch.manual_seed(0)
  config = transformers.AutoConfig.for_model(kind, **KINDS[kind], initializer_range=0.2)
  theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation='eager')
  with torch.no_grad():  # Biases and gains that start at 0 and 1 would hide each other.
    for tensor in theirs.parameters():
      if tensor.ndim == 1:
        tensor += 0.1 * torch.randn_like(tensor)
  shards = {'max_shard_size': '20KB'} if kind == 'llama' else {}
  theirs.save_pretrained(tmp_path / 'in', **shards)
  want = logits_of(theirs)

  family = architecture.family(kind)
  model = family.from_config(json.loads((tmp_path / 'in' / 'config.json').read_text()))
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), TOKENS, train=False)['params'])
  more = dict(prefix=family.prefix, ignored=family.ignored)
  params = iteration.import_hugging_face(str(tmp_path / 'in'), family.names(model), shapes, **more)
  got = model.apply({'params': params}, TOKENS, train=False)
  assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()

  out = str(tmp_path / 'out')
  iteration.export_hugging_face(out, family.names(model), params, family.to_config(model))
  again = transformers.AutoModelForCausalLM.from_pretrained(out, attn_implementation='eager')
  np.testing.assert_array_equal(logits_of(again), want)


PUBLISHED = {
  124_439_808: ('gpt2', dict(
    vocab_size=50257, n_embd=768, n_layer=12, n_head=12, n_positions=1024,
  )),
  8_030_261_248: ('llama', dict(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131072,
    rms_norm_eps=1e-5, hidden_act='silu', rope_theta=5e5,
  )),
}  # fmt: skip


@pytest.mark.parametrize('count', PUBLISHED)
def test_published_models_have_their_number_of_parameters(count):
  kind, config = PUBLISHED[count]
  model = architecture.family(kind).from_config(config).clone(scan=True)
  tokens = jnp.zeros((1, 8), int)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), tokens, train=False)['params'])
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_a_scanned_model_is_read_as_the_unrolled_one_stacked(tmp_path):
  family = architecture.family('llama')
  model = architecture.DecoderLM(
    vocab=96, depth=2, width=32, heads=4, kv_heads=2, feed='swiglu', qk_norm=False
  )
  assert architecture.family_of(model)[0] == 'llama'
  params = model.init(jax.random.key(0), TOKENS, train=False)['params']
  iteration.export_hugging_face(str(tmp_path), family.names(model), params, family.to_config(model))
  scanned = model.clone(scan=True)
  stacked = architecture.stack_layers(params)
  read = iteration.import_hugging_face(str(tmp_path), family.names(scanned), stacked)
  jax.tree.map(np.testing.assert_array_equal, read, stacked)


def test_a_model_of_no_family_is_told_why():
  model = architecture.DecoderLM(vocab=96, depth=2, width=32, feed='swiglu', conv=3)
  with pytest.raises(ValueError, match=r'llama: .*conv must be 0, got 3'):
    architecture.family_of(model.clone(qk_norm=False))
  with pytest.raises(ValueError, match=r"model_type must be one of .*, got 'clippy'"):
    architecture.family('clippy')
