"""BERT and ViT in Hugging Face's files: their configurations and the names of their tensors."""

from __future__ import annotations

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
from bigtrain.architecture.vision_transformers import ViT

_FEEDS = {'gelu': 'gelu', 'gelu_new': 'gelu_tanh', 'gelu_pytorch_tanh': 'gelu_tanh', 'relu': 'relu'}
_ACTIVATIONS = {ours: theirs for theirs, ours in reversed(_FEEDS.items())}


def _block(number: int, layer: str, attention: str, norms: tuple[str, str]) -> dict[str, Published]:
  """The names of a block whose products all have biases."""
  ours = f'block_{number}'
  each = [f'{layer}.attention.{attention}.{name}' for name in ('query', 'key', 'value')]
  biases = zip('qkv', each, strict=True)
  return {
    f'{ours}/attention/qkv': stacked([transposed(f'{name}.weight') for name in each]),
    **{f'{ours}/attention/{letter}_bias': same(f'{name}.bias') for letter, name in biases},
    **linear(f'{ours}/attention/out', f'{layer}.attention.output.dense'),
    **layer_norm(f'{ours}/LayerNorm_0', f'{layer}.{norms[0]}'),
    **linear(f'{ours}/feed/up', f'{layer}.intermediate.dense'),
    **linear(f'{ours}/feed/down', f'{layer}.output.dense'),
    **layer_norm(f'{ours}/LayerNorm_1', f'{layer}.{norms[1]}'),
  }


def _classes(config: Mapping[str, Any]) -> int:
  return len(config['id2label']) if 'id2label' in config else config.get('num_labels', 2)


def _labels(count: int) -> dict[str, Any]:
  names = {str(i): f'LABEL_{i}' for i in range(count)}
  return {'id2label': names, 'label2id': {name: int(i) for i, name in names.items()}}


# What comes out of a BERT: (pooled, with classes) -> the published class.
_BERTS = {
  ('none', False): 'BertForMaskedLM',
  ('none', True): 'BertForTokenClassification',
  ('cls', False): 'BertModel',
  ('cls', True): 'BertForSequenceClassification',
}


def _bert_from_config(config: Mapping[str, Any]) -> Encoder:
  name = (config.get('architectures') or ['BertForMaskedLM'])[0]
  have = {'architectures': name, 'position_embedding_type': 'absolute', 'is_decoder': False}
  have |= {'hidden_act': 'gelu'} | {key: config[key] for key in config if key != 'architectures'}
  must(
    'bert',
    have,
    {
      'architectures': (*_BERTS.values(), 'BertForPreTraining'),
      'position_embedding_type': ('absolute',),
      'is_decoder': (False,),
      'hidden_act': tuple(_FEEDS),
    },
  )
  # BERT was trained for two tasks at once: the masked one is taken.
  kinds = {theirs: ours for ours, theirs in _BERTS.items()}
  pool, classes = kinds.get(name, ('none', False))
  return Encoder(
    vocab=config['vocab_size'],
    depth=config['num_hidden_layers'],
    width=config['hidden_size'],
    heads=config['num_attention_heads'],
    hidden=config['intermediate_size'],
    length=config['max_position_embeddings'],
    classes=_classes(config) if classes else None,
    pool=pool,
    types=config.get('type_vocab_size', 2),
    pad=config.get('pad_token_id', 0),
    feed=_FEEDS[have['hidden_act']],
    tied=config.get('tie_word_embeddings', True),
    epsilon=config.get('layer_norm_eps', 1e-12),
    dropout=config.get('hidden_dropout_prob', 0.1),
    attention_dropout=config.get('attention_probs_dropout_prob', 0.1),
  )


def _bert_to_config(model: Any) -> dict[str, Any]:
  if not isinstance(model, Encoder):
    raise ValueError(f'bert: must be an Encoder, got {type(model).__name__}')
  want = {'position': ('learned',), 'norm': ('layer_bias',), 'norm_first': (False,)}
  want |= {'use_bias': (True,), 'qk_norm': (False,), 'feed': tuple(_ACTIVATIONS)}
  must('bert', vars(model), want | {'pool': ('none', 'cls'), 'causal': (False,)})
  if not model.types:
    raise ValueError('bert: types must be at least 1, got 0')
  return {
    'architectures': [_BERTS[model.pool, model.classes is not None]],
    'model_type': 'bert',
    'vocab_size': model.vocab,
    'num_hidden_layers': model.depth,
    'hidden_size': model.width,
    'num_attention_heads': model.heads or max(1, model.width // 64),
    'intermediate_size': model.hidden or 4 * model.width,
    'max_position_embeddings': model.length,
    'type_vocab_size': model.types,
    'pad_token_id': model.pad,
    'hidden_act': _ACTIVATIONS[model.feed],
    'tie_word_embeddings': model.tied,
    'layer_norm_eps': model.epsilon,
    'hidden_dropout_prob': model.dropout,
    'attention_probs_dropout_prob': model.attention_dropout,
    **({} if model.classes is None else _labels(model.classes)),
  }


def _bert_names(model: Encoder) -> dict[str, Published]:
  inside = '' if model.pool == 'cls' and model.classes is None else 'bert.'
  embeddings = {'embed': 'word', 'position_embed': 'position', 'type_embed': 'token_type'}
  names = {
    f'{ours}/embedding': same(f'{inside}embeddings.{theirs}_embeddings.weight')
    for ours, theirs in embeddings.items()
  }
  names |= layer_norm('outer_norm', f'{inside}embeddings.LayerNorm')
  norms = ('attention.output.LayerNorm', 'output.LayerNorm')
  for i in range(model.depth):
    names |= _block(i, f'{inside}encoder.layer.{i}', 'self', norms)
  if model.pool == 'cls':
    names |= linear('pooler', f'{inside}pooler.dense')
  if model.classes is not None:
    return names | linear('head', 'classifier')
  if model.pool == 'none':
    names |= linear('head_dense', 'cls.predictions.transform.dense')
    names |= layer_norm('head_norm', 'cls.predictions.transform.LayerNorm')
    names['head_bias'] = same('cls.predictions.bias')
    if not model.tied:
      names |= linear('head', 'cls.predictions.decoder', bias=False)
  return names


def _vit_from_config(config: Mapping[str, Any]) -> ViT:
  name = (config.get('architectures') or ['ViTForImageClassification'])[0]
  have = {'architectures': name, 'hidden_act': config.get('hidden_act', 'gelu')}
  have['qkv_bias'] = config.get('qkv_bias', True)
  want = {'architectures': ('ViTForImageClassification', 'ViTModel'), 'hidden_act': ('gelu',)}
  must('vit', have, want | {'qkv_bias': (True,)})
  sizes = {}
  for key in ('image_size', 'patch_size'):
    size = config[key]
    sizes[key] = (size, size) if isinstance(size, int) else tuple(size)
  return ViT(
    classes=None if name == 'ViTModel' else _classes(config),
    patch=sizes['patch_size'],
    depth=config['num_hidden_layers'],
    width=config['hidden_size'],
    heads=config['num_attention_heads'],
    hidden=config['intermediate_size'],
    pool='cls',
    attention_bias=True,
    epsilon=config.get('layer_norm_eps', 1e-12),
    dropout=config.get('hidden_dropout_prob', 0.0),
    attention_dropout=config.get('attention_probs_dropout_prob', 0.0),
    shape=(*sizes['image_size'], config.get('num_channels', 3)),
  )


def _vit_to_config(model: Any) -> dict[str, Any]:
  if not isinstance(model, ViT):
    raise ValueError(f'vit: must be a ViT, got {type(model).__name__}')
  want = {'pool': ('cls',), 'position': ('learned',), 'registers': (0,), 'overlap': (False,)}
  want |= {'feed': ('gelu',), 'in_norm': (False,), 'embed_bias': (True,)}
  must('vit', vars(model), want | {'attention_bias': (True,)})
  if model.shape is None or len(model.shape) != 3:
    raise ValueError(f'vit: shape must be (height, width, channels), got {model.shape}')
  height, width, channels = model.shape
  patch = (model.patch,) * 2 if isinstance(model.patch, int) else tuple(model.patch)
  square = height == width and patch[0] == patch[1]
  return {
    'architectures': ['ViTModel' if model.classes is None else 'ViTForImageClassification'],
    'model_type': 'vit',
    'image_size': height if square else [height, width],
    'patch_size': patch[0] if square else list(patch),
    'num_channels': channels,
    'num_hidden_layers': model.depth,
    'hidden_size': model.width,
    'num_attention_heads': model.heads,
    'intermediate_size': model.hidden or 4 * model.width,
    'hidden_act': 'gelu',
    'qkv_bias': True,
    'layer_norm_eps': model.epsilon,
    'hidden_dropout_prob': model.dropout,
    'attention_probs_dropout_prob': model.attention_dropout,
    **({} if model.classes is None else _labels(model.classes)),
  }


def _vit_names(model: ViT) -> dict[str, Published]:
  inside = '' if model.classes is None else 'vit.'
  height, width = (model.patch,) * 2 if isinstance(model.patch, int) else model.patch
  D = model.width
  projection = f'{inside}embeddings.patch_embeddings.projection'
  names = {
    'embed/kernel': patches(f'{projection}.weight', height, width, D),
    'embed/bias': same(f'{projection}.bias'),
    'cls_embed': same(f'{inside}embeddings.cls_token'),
    'position_embed': shaped(f'{inside}embeddings.position_embeddings', (-1, D), (1, -1, D)),
    **layer_norm('out_norm', f'{inside}layernorm'),
  }
  for i in range(model.depth):
    norms = ('layernorm_before', 'layernorm_after')
    names |= _block(i, f'{inside}encoder.layer.{i}', 'attention', norms)
  return names if model.classes is None else names | linear('head', 'classifier')


FAMILIES = {
  'bert': Family(
    from_config=_bert_from_config,
    to_config=_bert_to_config,
    names=_bert_names,
    # Copies of tied weights, counting, and what was trained beside the masked tokens.
    ignored=(
      r'cls\.predictions\.decoder\.(weight|bias)',
      r'(bert\.)?embeddings\.position_ids',
      r'cls\.seq_relationship\..*',
      r'bert\.pooler\..*',
    ),
  ),
  'vit': Family(
    from_config=_vit_from_config,
    to_config=_vit_to_config,
    names=_vit_names,
    # A pooler that is trained for no published task.
    ignored=(r'(vit\.)?pooler\..*',),
  ),
}
