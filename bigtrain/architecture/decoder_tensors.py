"""Where a decoder's parameters lie in the files of published models: GPT-2's and Llama's names."""

from __future__ import annotations

from collections.abc import Callable

from bigtrain.architecture.decoders import DecoderLM
from bigtrain.architecture.published import Published, same, stacked, transposed

_Names = dict[str, Published]


def gpt_tensors(model: DecoderLM) -> _Names:
  """GPT-2's: matrices lie as ours do, and queries, keys and values share one."""

  def block(i: int) -> _Names:
    at = f'transformer.h.{i}'
    thirds = [f'[{j}/3]' for j in range(3)]
    names = {
      'attention/qkv': stacked([same(f'{at}.attn.c_attn.weight{third}') for third in thirds])
    }
    for letter, third in zip('qkv', thirds, strict=True):
      names[f'attention/{letter}_bias'] = same(f'{at}.attn.c_attn.bias{third}')
    layers = {'attention/out': 'attn.c_proj', 'feed/up': 'mlp.c_fc', 'feed/down': 'mlp.c_proj'}
    for ours, theirs in layers.items():
      names[f'{ours}/kernel'] = same(f'{at}.{theirs}.weight')
      names[f'{ours}/bias'] = same(f'{at}.{theirs}.bias')
    for ours, theirs in {'attention_norm': 'ln_1', 'feed_norm': 'ln_2'}.items():
      names |= _norm(ours, f'{at}.{theirs}')
    return names

  names = _blocks(model, block) | _norm('out_norm', 'transformer.ln_f')
  names['embed/embedding'] = same('transformer.wte.weight')
  names['position_embed'] = same('transformer.wpe.weight')
  return names | _head(model)


def _norm(ours: str, theirs: str) -> _Names:
  return {f'{ours}/scale': same(f'{theirs}.weight'), f'{ours}/bias': same(f'{theirs}.bias')}


def llama_tensors(model_type: str, model: DecoderLM) -> _Names:
  """Llama's, and those of the families that took them over."""
  norms = {'attention_norm': 'input_layernorm', 'feed_norm': 'post_attention_layernorm'}
  if model_type == 'gemma2':
    norms = {
      'attention_norm': 'input_layernorm', 'attention_out_norm': 'post_attention_layernorm',
      'feed_norm': 'pre_feedforward_layernorm', 'feed_out_norm': 'post_feedforward_layernorm',
    }  # fmt: skip

  def block(i: int) -> _Names:
    at = f'model.layers.{i}'
    names = {f'{ours}/scale': same(f'{at}.{theirs}.weight') for ours, theirs in norms.items()}
    names |= _attention(model, f'{at}.self_attn')
    if model.experts:
      return names | _experts(model, f'{at}.block_sparse_moe')
    for ours in ('gate', 'up', 'down'):
      names[f'feed/{ours}/kernel'] = transposed(f'{at}.mlp.{ours}_proj.weight')
      if model.bias:
        names[f'feed/{ours}/bias'] = same(f'{at}.mlp.{ours}_proj.bias')
    return names

  names = _blocks(model, block)
  names['embed/embedding'] = same('model.embed_tokens.weight')
  names['out_norm/scale'] = same('model.norm.weight')
  return names | _head(model)


def _attention(model: DecoderLM, at: str) -> _Names:
  q, k, v = (transposed(f'{at}.{letter}_proj.weight') for letter in 'qkv')
  heads = model.heads or max(1, model.width // 32)
  all_alike = (model.kv_heads or heads) == heads
  if all_alike and heads * (model.head_width or model.width // heads) == model.width:
    names = {'attention/qkv': stacked([q, k, v])}
  else:
    names = {'attention/q': q, 'attention/kv': stacked([k, v])}
  names['attention/out/kernel'] = transposed(f'{at}.o_proj.weight')
  if model.bias:
    names['attention/out/bias'] = same(f'{at}.o_proj.bias')
  if model.bias if model.qkv_bias is None else model.qkv_bias:
    for letter in 'qkv':
      names[f'attention/{letter}_bias'] = same(f'{at}.{letter}_proj.bias')
  if model.qk_norm:
    for letter in 'qk':
      names[f'attention/{letter}_norm/scale'] = same(f'{at}.{letter}_norm.weight')
  return names


def _experts(model: DecoderLM, at: str) -> _Names:
  def all_of(theirs: str) -> Published:
    each = [f'{at}.experts.{e}.{theirs}.weight' for e in range(model.experts)]
    return stacked([transposed(name) for name in each])

  ours = {'gate': 'w1', 'down': 'w2', 'up': 'w3'}
  return {'feed/router': transposed(f'{at}.gate.weight')} | {
    f'feed/{name}': all_of(theirs) for name, theirs in ours.items()
  }


def _head(model: DecoderLM) -> _Names:
  return {} if model.tied else {'head/kernel': transposed('lm_head.weight')}


def _blocks(model: DecoderLM, block: Callable[[int], _Names]) -> _Names:
  """The names of all blocks, as the model keeps them: one by one, or stacked for a scan."""
  if not model.scan:
    return {
      f'block_{i}/{ours}': published
      for i in range(model.depth)
      for ours, published in block(i).items()
    }
  period = len(model.windows)
  return {
    f'blocks/block_{j}/{ours}': stacked([block(i)[ours] for i in range(j, model.depth, period)])
    for j in range(period)
    for ours in block(j)
  }
