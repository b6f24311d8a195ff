"""T5 in Hugging Face's files: its configuration and the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bigtrain.architecture.encoder_decoders import EncoderDecoder
from bigtrain.architecture.published import Family, Published, same, stacked, transposed

_FEEDS = {'relu': 'relu', 'gated-gelu': 'geglu_tanh', 'gated-silu': 'swiglu'}
_NAMES = {ours: theirs for theirs, ours in _FEEDS.items()}


def _from_config(config: Mapping[str, Any]) -> EncoderDecoder:
  name = (config.get('architectures') or ['T5ForConditionalGeneration'])[0]
  if name != 'T5ForConditionalGeneration':
    raise ValueError(f"t5: architectures must be 'T5ForConditionalGeneration', got {name!r}")
  feed = config.get('feed_forward_proj', 'relu')
  if feed not in _FEEDS:
    words = ' or '.join(map(repr, _FEEDS))
    raise ValueError(f't5: feed_forward_proj must be {words}, got {feed!r}')
  # Newer files say tied of every model, and here whether the features are scaled for that.
  tied = config.get('tie_word_embeddings', True) and config.get('scale_decoder_outputs', True)
  return EncoderDecoder(
    vocab=config['vocab_size'],
    depth=config['num_layers'],
    decoder_depth=config.get('num_decoder_layers'),
    width=config['d_model'],
    heads=config['num_heads'],
    head_width=config['d_kv'],
    hidden=config['d_ff'],
    feed=_FEEDS[feed],
    tied=tied,
    pad=config.get('pad_token_id', 0),
    buckets=config.get('relative_attention_num_buckets', 32),
    longest=config.get('relative_attention_max_distance', 128),
    epsilon=config.get('layer_norm_epsilon', 1e-6),
    dropout=config.get('dropout_rate', 0.1),
    attention_dropout=config.get('dropout_rate', 0.1),
  )


def _to_config(model: Any) -> dict[str, Any]:
  if not isinstance(model, EncoderDecoder):
    raise ValueError(f't5: must be an EncoderDecoder, got {type(model).__name__}')
  if model.feed not in _NAMES or model.norm != 'rms':
    raise ValueError(
      f"t5: norm must be 'rms' and feed {' or '.join(map(repr, _NAMES))}, got {model.norm!r} and "
      f'{model.feed!r}'
    )
  return {
    'architectures': ['T5ForConditionalGeneration'],
    'model_type': 't5',
    'vocab_size': model.vocab,
    'num_layers': model.depth,
    'num_decoder_layers': model.depth if model.decoder_depth is None else model.decoder_depth,
    'd_model': model.width,
    'num_heads': model.heads,
    'd_kv': model.head_width or model.width // model.heads,
    'd_ff': model.hidden or 4 * model.width,
    'feed_forward_proj': _NAMES[model.feed],
    'tie_word_embeddings': model.tied,
    'pad_token_id': model.pad,
    'eos_token_id': 1,
    'decoder_start_token_id': 0,
    'is_encoder_decoder': True,
    'relative_attention_num_buckets': model.buckets,
    'relative_attention_max_distance': model.longest,
    'layer_norm_epsilon': model.epsilon,
    'dropout_rate': model.dropout,
  }


def _attention(ours: str, theirs: str, *, whole: bool) -> dict[str, Published]:
  """The names of a layer; `whole` where queries, keys and values are kept in one stack."""
  q, k, v = (transposed(f'{theirs}.{letter}.weight') for letter in 'qkv')
  kept = {'qkv': stacked([q, k, v])} if whole else {'q': q, 'kv': stacked([k, v])}
  kept['out/kernel'] = transposed(f'{theirs}.o.weight')
  return {f'{ours}/{name}': published for name, published in kept.items()}


def _names(model: EncoderDecoder) -> dict[str, Published]:
  whole = model.heads * (model.head_width or model.width // model.heads) == model.width
  feeds = {'up': 'wi_1', 'gate': 'wi_0'} if model.feed != 'relu' else {'up': 'wi'}
  names = {'embed/embedding': same('shared.weight')}
  if not model.tied:
    names['head/kernel'] = transposed('lm_head.weight')
  depth = model.depth if model.decoder_depth is None else model.decoder_depth
  for side, blocks in (('encoder', model.depth), ('decoder', depth)):
    table = f'{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight'
    names[f'{side}_bias/table'] = same(table)
    names[f'{side}_norm/scale'] = same(f'{side}.final_layer_norm.weight')
    for i in range(blocks):
      ours, layer = f'{side}_{i}', f'{side}.block.{i}.layer'
      layers = ['attention', 'cross', 'feed'] if side == 'decoder' else ['attention', 'feed']
      for place, name in enumerate(layers):
        names[f'{ours}/{name}_norm/scale'] = same(f'{layer}.{place}.layer_norm.weight')
      names |= _attention(f'{ours}/attention', f'{layer}.0.SelfAttention', whole=whole)
      if side == 'decoder':
        names |= _attention(f'{ours}/cross', f'{layer}.1.EncDecAttention', whole=False)
      feed = f'{layer}.{len(layers) - 1}.DenseReluDense'
      for kept, theirs in (feeds | {'down': 'wo'}).items():
        names[f'{ours}/feed/{kept}/kernel'] = transposed(f'{feed}.{theirs}.weight')
  return names


FAMILIES = {
  't5': Family(
    from_config=_from_config,
    to_config=_to_config,
    names=_names,
    # Copies of the shared embedding; the last is in old files only, and was never used.
    ignored=(
      r'(en|de)coder\.embed_tokens\.weight',
      r'lm_head\.weight',
      r'decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight',
    ),
  ),
}
