"""Published decoders: GPT-2, Llama, Mistral, Mixtral, Qwen 2 and 3, Gemma 2.

A published config names what differs from the family's defaults; what `DecoderLM` cannot do is
refused. Back, a config is written, read again, and must give the model that it was written for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from bigtrain.architecture.decoder_tensors import gpt_tensors, llama_tensors
from bigtrain.architecture.decoders import DecoderLM
from bigtrain.architecture.positions import LinearScaling, Llama3Scaling
from bigtrain.architecture.published import Family

Config = Mapping[str, Any]
_FEEDS = {'silu': 'swiglu', 'gelu_pytorch_tanh': 'geglu_tanh', 'gelu': 'geglu'}
_GPT_FEEDS = {
  'gelu_new': 'gelu_tanh', 'gelu_pytorch_tanh': 'gelu_tanh', 'gelu': 'gelu', 'relu': 'relu',
  'silu': 'silu',
}  # fmt: skip
# What does not change the function that a trained model computes, or how its parameters are called.
_FREE = {
  'attention_dropout', 'dropout', 'dtype', 'init_scale', 'length', 'name', 'parent', 'remat',
  'scan', 'stochastic_depth',
}  # fmt: skip
_CLASSES = {
  'gemma2': 'Gemma2ForCausalLM', 'gpt2': 'GPT2LMHeadModel', 'llama': 'LlamaForCausalLM',
  'mistral': 'MistralForCausalLM', 'mixtral': 'MixtralForCausalLM', 'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
}  # fmt: skip


def _one_of(config: Config, key: str, known: Mapping[Any, Any], default: Any = None) -> Any:
  value = config.get(key, default)
  if value not in known:
    raise ValueError(f'config.json: {key} must be one of {list(known)}, got {value!r}')
  return known[value]


def _gpt2(config: Config) -> DecoderLM:
  _one_of(config, 'scale_attn_by_inverse_layer_idx', {False: None}, False)
  _one_of(config, 'scale_attn_weights', {True: None}, True)
  _one_of(config, 'add_cross_attention', {False: None}, False)
  return DecoderLM(
    vocab=config['vocab_size'],
    depth=config['n_layer'],
    width=config['n_embd'],
    heads=config['n_head'],
    hidden=config.get('n_inner') or 4 * config['n_embd'],
    length=config['n_positions'],
    position='learned',
    norm='layer_bias',
    norm_epsilon=config.get('layer_norm_epsilon', 1e-5),
    feed=_one_of(config, 'activation_function', _GPT_FEEDS, 'gelu_new'),
    qk_norm=False,
    tied=config.get('tie_word_embeddings', True),
    init_scale=config.get('initializer_range', 0.02),
    bias=True,
  )


def _llama(model_type: str, config: Config) -> DecoderLM:
  depth, width, heads = (
    config[key] for key in ('num_hidden_layers', 'hidden_size', 'num_attention_heads')
  )
  more: dict[str, Any] = {}
  if model_type == 'gemma2':
    scalar = config['query_pre_attn_scalar']
    more = {
      'norm': 'rms_shifted', 'norms': 'both', 'attention_scale': 1 / math.sqrt(scalar),
      'attention_cap': config.get('attn_logit_softcapping'),
      'logit_cap': config.get('final_logit_softcapping'), 'embed_scale': math.sqrt(width),
    }  # fmt: skip
  if model_type == 'mixtral':
    more = {'experts': config['num_local_experts'], 'active': config['num_experts_per_tok']}
  activation = 'hidden_activation' if model_type == 'gemma2' else 'hidden_act'
  biases = config.get('attention_bias', False), config.get('mlp_bias', False)
  if biases[0] != biases[1]:
    raise ValueError(f'config.json: attention_bias and mlp_bias must be equal, got {biases}')
  base, scaling = _rope(config)
  return DecoderLM(
    vocab=config['vocab_size'],
    depth=depth,
    width=width,
    heads=heads,
    kv_heads=config.get('num_key_value_heads') or heads,
    head_width=config.get('head_dim') or width // heads,
    hidden=config['intermediate_size'],
    length=config['max_position_embeddings'],
    norm_epsilon=config['rms_norm_eps'],
    feed=_one_of(config, activation, _FEEDS),
    qk_norm=model_type == 'qwen3',
    tied=config.get('tie_word_embeddings', model_type == 'gemma2'),
    init_scale=config.get('initializer_range', 0.02),
    window=_windows(config, depth, model_type),
    rotary_base=base,
    rotary_scaling=scaling,
    bias=biases[0],
    qkv_bias=model_type == 'qwen2' or biases[0],
    **more,
  )


def _rope(config: Config) -> tuple[float, Any]:
  """Returns the base of the frequencies, and their scaling, from the new form or the old one."""
  rope = config.get('rope_parameters') or config.get('rope_scaling') or {}
  base = rope.get('rope_theta', config.get('rope_theta', 10_000.0))
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if kind == 'linear':
    return base, LinearScaling(rope['factor'])
  if kind == 'llama3':
    keys = ('factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings')
    return base, Llama3Scaling(*(rope[key] for key in keys))
  if kind != 'default':
    raise ValueError(
      f"config.json: rope_type must be 'default', 'linear' or 'llama3', got {kind!r}"
    )
  return base, None


def _windows(config: Config, depth: int, model_type: str) -> Any:
  """Returns the window of all layers, or those that take turns."""
  size = config.get('sliding_window')
  if not config.get('use_sliding_window', True):
    size = None
  if size is None:
    return None
  kinds = config.get('layer_types')
  if not kinds and model_type == 'gemma2':
    kinds = [('sliding_attention', 'full_attention')[i % 2] for i in range(depth)]
  if not kinds:
    kinds = ['sliding_attention'] * depth
  windows = [size if kind == 'sliding_attention' else None for kind in kinds]
  period = next(p for p in range(1, depth + 1) if windows == (windows * p)[:p] * (depth // p)
                and depth % p == 0)  # fmt: skip
  return windows[0] if period == 1 else tuple(windows[:period])


def _resolved(model: DecoderLM) -> dict[str, Any]:
  """Returns the knobs of a model, with what None stands for."""
  knobs = {key: getattr(model, key) for key in model.__dataclass_fields__ if key not in _FREE}
  heads = model.heads or max(1, model.width // 32)
  knobs['heads'], knobs['kv_heads'] = heads, model.kv_heads or heads
  knobs['head_width'] = model.head_width or model.width // heads
  knobs['hidden'] = model.hidden or 4 * model.width
  knobs['window'] = model.windows
  knobs['qkv_bias'] = model.bias if model.qkv_bias is None else model.qkv_bias
  if not model.experts:
    del knobs['active']
  return knobs


def _to_config(model_type: str, model: nn.Module) -> dict[str, Any]:
  if not isinstance(model, DecoderLM):
    raise ValueError(f'it is no DecoderLM but a {type(model).__name__}')
  knobs = _resolved(model)
  config: dict[str, Any] = {
    'architectures': [_CLASSES[model_type]],
    'model_type': model_type,
    'vocab_size': model.vocab,
    'tie_word_embeddings': model.tied,
    'initializer_range': model.init_scale or 0.02,
    # A tokenizer's matter: without these the library takes tokens that the vocabulary may lack.
    'bos_token_id': None,
    'eos_token_id': None,
    'pad_token_id': None,
  }
  feeds = _GPT_FEEDS if model_type == 'gpt2' else _FEEDS
  feed = {ours: theirs for theirs, ours in reversed(feeds.items())}.get(model.feed)
  length = model.length or 2048
  if model_type == 'gpt2':
    config |= {
      'n_layer': model.depth, 'n_embd': model.width, 'n_head': knobs['heads'],
      'n_inner': knobs['hidden'], 'n_positions': length, 'activation_function': feed,
      'layer_norm_epsilon': model.norm_epsilon,
    }  # fmt: skip
  else:
    config |= {
      'num_hidden_layers': model.depth, 'hidden_size': model.width,
      'num_attention_heads': knobs['heads'], 'num_key_value_heads': knobs['kv_heads'],
      'head_dim': knobs['head_width'], 'intermediate_size': knobs['hidden'],
      'max_position_embeddings': length, 'rms_norm_eps': model.norm_epsilon, 'hidden_act': feed,
      **_rope_config(model), **_window_config(model, model_type),
    }  # fmt: skip
    if model_type == 'llama':
      config |= {'attention_bias': model.bias, 'mlp_bias': model.bias}
    if model_type == 'gemma2':
      scale = model.attention_scale or knobs['head_width'] ** -0.5
      config |= {
        'hidden_activation': feed, 'attn_logit_softcapping': model.attention_cap,
        'final_logit_softcapping': model.logit_cap,
        'query_pre_attn_scalar': round(scale**-2),
      }  # fmt: skip
    if model_type == 'mixtral':
      config |= {'num_local_experts': model.experts, 'num_experts_per_tok': model.active}
  again = _resolved(_gpt2(config) if model_type == 'gpt2' else _llama(model_type, config))
  for key, value in knobs.items():
    other = again.get(key)
    close = isinstance(value, float) and isinstance(other, float) and math.isclose(value, other)
    if value != other and not close:
      raise ValueError(f'{key} must be {other!r}, got {value!r}')
  return config


def _rope_config(model: DecoderLM) -> dict[str, Any]:
  rope: dict[str, Any] = {'rope_type': 'default', 'rope_theta': model.rotary_base}
  match model.rotary_scaling:
    case LinearScaling(factor):
      rope |= {'rope_type': 'linear', 'factor': factor}
    case Llama3Scaling(factor, low, high, length):
      rope |= {
        'rope_type': 'llama3', 'factor': factor, 'low_freq_factor': low, 'high_freq_factor': high,
        'original_max_position_embeddings': length,
      }  # fmt: skip
  old = None if rope['rope_type'] == 'default' else rope
  return {'rope_parameters': rope, 'rope_theta': model.rotary_base, 'rope_scaling': old}


def _window_config(model: DecoderLM, model_type: str) -> dict[str, Any]:
  size = next((window for window in model.windows if window), None)
  if model_type == 'llama':
    return {}
  found: dict[str, Any] = {'sliding_window': size}
  if model_type in ('gemma2', 'qwen2', 'qwen3'):
    turns = [model.windows[i % len(model.windows)] for i in range(model.depth)]
    kinds = ['sliding_attention' if window else 'full_attention' for window in turns]
    found |= {'layer_types': kinds, 'use_sliding_window': size is not None}
  return found


def _family(model_type: str) -> Family:
  gpt = model_type == 'gpt2'
  return Family(
    from_config=_gpt2 if gpt else functools.partial(_llama, model_type),
    to_config=functools.partial(_to_config, model_type),
    names=gpt_tensors if gpt else functools.partial(llama_tensors, model_type),
    prefix='transformer.' if gpt else 'model.',
    # Old files hold masks and frequencies.
    ignored=(r'.*\.attn\.(masked_)?bias', r'.*rotary_emb\.inv_freq'),
  )


FAMILIES = {model_type: _family(model_type) for model_type in _CLASSES}
