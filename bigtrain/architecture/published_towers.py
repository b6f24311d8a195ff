"""CLIP and SigLIP in Hugging Face's files: their configurations and the names of their tensors."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from bigtrain.architecture.encoders import Encoder
from bigtrain.architecture.published import (
  Family,
  Published,
  layer_norm,
  linear,
  must,
  patches,
  same,
  shaped,
  stacked,
  transposed,
)
from bigtrain.architecture.towers import TwoTowers
from bigtrain.architecture.vision_transformers import ViT

# Old files of CLIP name this token as the end; theirs ended with the last of the vocabulary.
_OLD_END = 2
_FEEDS = {'gelu': 'gelu', 'gelu_pytorch_tanh': 'gelu_tanh', 'quick_gelu': 'gelu_sigmoid'}
_ACTIVATIONS = {ours: theirs for theirs, ours in _FEEDS.items()}
_SIZES = {
  'depth': 'num_hidden_layers',
  'width': 'hidden_size',
  'heads': 'num_attention_heads',
  'hidden': 'intermediate_size',
  'epsilon': 'layer_norm_eps',
  'attention_dropout': 'attention_dropout',
}
# What files leave out, as Hugging Face fills it in.
_DEFAULTS = {
  'clip': {
    'text': {
      'vocab_size': 49408, 'max_position_embeddings': 77, 'eos_token_id': 49407,
      'hidden_size': 512, 'intermediate_size': 2048, 'num_attention_heads': 8,
    },
    'vision': {
      'patch_size': 32, 'hidden_size': 768, 'intermediate_size': 3072, 'num_attention_heads': 12,
    },
    'both': {'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5},
  },
  'siglip': {
    'text': {'vocab_size': 32000, 'max_position_embeddings': 64},
    'vision': {'patch_size': 16, 'vision_use_head': True},
    'both': {
      'hidden_act': 'gelu_pytorch_tanh', 'layer_norm_eps': 1e-6,
      'hidden_size': 768, 'intermediate_size': 3072, 'num_attention_heads': 12,
    },
  },
}  # fmt: skip
_SHARED = {'num_hidden_layers': 12, 'attention_dropout': 0.0, 'image_size': 224, 'num_channels': 3}


def _from_config(kind: str, config: Mapping[str, Any]) -> TwoTowers:
  filled = _DEFAULTS[kind]
  text, vision = (
    {**_SHARED, **filled['both'], **filled[side], **(config.get(f'{side}_config') or {})}
    for side in ('text', 'vision')
  )
  for side, have in (('text', text), ('vision', vision)):
    must(f'{kind}: {side}_config', have, {'hidden_act': tuple(_FEEDS)})
  clip = kind == 'clip'
  if not clip:
    must(f'{kind}: vision_config', vision, {'vision_use_head': (True,)})
  sizes = [{ours: have[theirs] for ours, theirs in _SIZES.items()} for have in (vision, text)]
  end = text['eos_token_id'] if clip else None
  side = vision['image_size']
  return TwoTowers(
    image=ViT(
      classes=None,
      patch=vision['patch_size'],
      pool='cls' if clip else 'map',
      in_norm=clip,
      embed_bias=not clip,
      feed=_FEEDS[vision['hidden_act']],
      attention_bias=True,
      shape=(side, side, vision['num_channels']),
      **sizes[0],
    ),
    text=Encoder(
      vocab=text['vocab_size'],
      length=text['max_position_embeddings'],
      pool='last',
      end=text['vocab_size'] - 1 if end == _OLD_END else end,
      causal=clip,
      norm_first=True,
      feed=_FEEDS[text['hidden_act']],
      **sizes[1],
    ),
    width=config.get('projection_dim', 512)
    if clip
    else text.get('projection_size', text['hidden_size']),
    project_image=clip,
    text_bias=not clip,
    scale=math.exp(config.get('logit_scale_init_value', 2.6592)) if clip else 10.0,
    bias=None if clip else -10.0,
  )


def _to_config(kind: str, model: Any) -> dict[str, Any]:
  if not isinstance(model, TwoTowers):
    raise ValueError(f'{kind}: must be a TwoTowers, got {type(model).__name__}')
  image, text, clip = model.image, model.text, kind == 'clip'
  if not isinstance(image, ViT) or not isinstance(text, Encoder):
    raise ValueError(f'{kind}: towers must be a ViT and an Encoder')
  must(kind, vars(model), {'project_image': (clip,), 'text_bias': (not clip,)})
  if (model.bias is None) != clip:
    raise ValueError(f'{kind}: bias must be {"None" if clip else "a number"}, got {model.bias}')
  want = {'position': ('learned',), 'feed': tuple(_ACTIVATIONS)}
  must(
    f'{kind}: image',
    vars(image),
    want
    | {'classes': (None,), 'pool': ('cls' if clip else 'map',), 'in_norm': (clip,)}
    | {'embed_bias': (not clip,), 'attention_bias': (True,), 'registers': (0,)}
    | {'overlap': (False,)},
  )
  must(
    f'{kind}: text',
    vars(text),
    want
    | {'classes': (None,), 'pool': ('last',), 'causal': (clip,), 'norm_first': (True,)}
    | {'norm': ('layer_bias',), 'use_bias': (True,), 'qk_norm': (False,), 'types': (0,)}
    | {'pad': (None,)},
  )
  if (text.end is None) == clip:
    raise ValueError(f'{kind}: text: end must be {"a token" if clip else "None"}, got {text.end}')
  if image.shape is None or len(image.shape) != 3 or image.shape[0] != image.shape[1]:
    raise ValueError(f'{kind}: image: shape must be (side, side, channels), got {image.shape}')
  if not isinstance(image.patch, int):
    raise ValueError(f'{kind}: image: patch must be one side, got {image.patch}')
  sides = {}
  for side, tower in (('vision', image), ('text', text)):
    sizes = {theirs: getattr(tower, ours) for ours, theirs in _SIZES.items()}
    sizes['intermediate_size'] = tower.hidden or 4 * tower.width
    sizes['num_attention_heads'] = tower.heads or max(1, tower.width // 64)
    sides[side] = sizes | {'hidden_act': _ACTIVATIONS[tower.feed]}
  sides['vision'] |= {
    'image_size': image.shape[0], 'num_channels': image.shape[2], 'patch_size': image.patch,
  }  # fmt: skip
  sides['text'] |= {
    'vocab_size': text.vocab,
    'max_position_embeddings': text.length,
    # Hugging Face asks for tokens of the vocabulary; SigLIP's model reads none of them.
    'bos_token_id': 0, 'pad_token_id': 0, 'eos_token_id': 0 if text.end is None else text.end,
    **({} if clip else {'projection_size': model.width}),
  }  # fmt: skip
  own = {'projection_dim': model.width, 'logit_scale_init_value': math.log(model.scale)}
  return {
    'architectures': ['CLIPModel' if clip else 'SiglipModel'],
    'model_type': kind,
    'text_config': sides['text'],
    'vision_config': sides['vision'],
    **(own if clip else {}),
  }


def _blocks(ours: str, theirs: str, depth: int) -> dict[str, Published]:
  names = {}
  for i in range(depth):
    block, layer = f'{ours}/block_{i}', f'{theirs}.encoder.layers.{i}'
    each = {letter: f'{layer}.self_attn.{letter}_proj' for letter in 'qkv'}
    names[f'{block}/attention/qkv'] = stacked([transposed(f'{n}.weight') for n in each.values()])
    names |= {f'{block}/attention/{q}_bias': same(f'{name}.bias') for q, name in each.items()}
    names |= linear(f'{block}/attention/out', f'{layer}.self_attn.out_proj')
    names |= linear(f'{block}/feed/up', f'{layer}.mlp.fc1')
    names |= linear(f'{block}/feed/down', f'{layer}.mlp.fc2')
    names |= layer_norm(f'{block}/LayerNorm_0', f'{layer}.layer_norm1')
    names |= layer_norm(f'{block}/LayerNorm_1', f'{layer}.layer_norm2')
  return names


def _names(kind: str, model: TwoTowers) -> dict[str, Published]:
  image, text = model.image, model.text
  assert isinstance(image, ViT)
  assert isinstance(image.patch, int)
  assert isinstance(text, Encoder)
  seen, read = 'vision_model', 'text_model'
  # A single number, which CLIP keeps without an axis.
  shape = () if kind == 'clip' else (1,)
  names = {
    'log_scale': shaped('logit_scale', (), shape),
    'image/embed/kernel': patches(
      f'{seen}.embeddings.patch_embedding.weight', image.patch, image.patch, image.width
    ),
    'image/position_embed': same(f'{seen}.embeddings.position_embedding.weight'),
    'text/embed/embedding': same(f'{read}.embeddings.token_embedding.weight'),
    'text/position_embed/embedding': same(f'{read}.embeddings.position_embedding.weight'),
    **_blocks('image', seen, image.depth),
    **_blocks('text', read, text.depth),
    **layer_norm('image/out_norm', f'{seen}.post_layernorm'),
    **layer_norm('text/outer_norm', f'{read}.final_layer_norm'),
  }
  if kind == 'clip':
    token = f'{seen}.embeddings.class_embedding'
    return {
      **names,
      'image/cls_embed': shaped(token, (1, 1, -1), (-1,)),
      **layer_norm('image/in_norm', f'{seen}.pre_layrnorm'),
      **linear('image_out', 'visual_projection', bias=False),
      **linear('text_out', 'text_projection', bias=False),
    }
  pool = f'{seen}.head'
  joint = f'{pool}.attention.in_proj'
  q, k, v = (f'[{i}/3]' for i in range(3))
  rows = [transposed(f'{joint}_weight[{i}/3 rows]') for i in range(3)]
  return {
    **names,
    'bias': shaped('logit_bias', (), (1,)),
    'image/embed/bias': same(f'{seen}.embeddings.patch_embedding.bias'),
    'image/pool/probe': same(f'{pool}.probe'),
    'image/pool/attention/q': rows[0],
    'image/pool/attention/kv': stacked(rows[1:]),
    'image/pool/attention/q_bias': same(f'{joint}_bias{q}'),
    'image/pool/attention/k_bias': same(f'{joint}_bias{k}'),
    'image/pool/attention/v_bias': same(f'{joint}_bias{v}'),
    **linear('image/pool/attention/out', f'{pool}.attention.out_proj'),
    **layer_norm('image/pool/norm', f'{pool}.layernorm'),
    **linear('image/pool/feed/up', f'{pool}.mlp.fc1'),
    **linear('image/pool/feed/down', f'{pool}.mlp.fc2'),
    **linear('text_out', f'{read}.head'),
  }


def _family(kind: str) -> Family:
  return Family(
    from_config=functools.partial(_from_config, kind),
    to_config=functools.partial(_to_config, kind),
    names=functools.partial(_names, kind),
    ignored=(r'(text|vision)_model\.embeddings\.position_ids',),
  )


FAMILIES = {kind: _family(kind) for kind in ('clip', 'siglip')}
