"""Decoder-only language models, from GPT-2's shape to today's by knobs.

Letters: B examples, L positions, M slots of a cache, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigtrain.architecture import stacking
from bigtrain.architecture.decoder_blocks import DecoderBlock, Ledger, Period
from bigtrain.architecture.decoder_stages import through_stages
from bigtrain.architecture.norms import norm
from bigtrain.architecture.pipeline import stages
from bigtrain.architecture.positions import Scaling, sinusoidal, within_segments
from bigtrain.architecture.products import dense
from bigtrain.architecture.self_attention import Slots
from bigtrain.architecture.spreading import spread

POSITIONS = ('rotary', 'learned', 'sinusoidal', 'none')


class DecoderLM(nn.Module):
  """A causal transformer over tokens (Radford et al. 2019; Touvron et al. 2023).

  Attributes:
    vocab: Tokens there are, V.
    depth: Blocks.
    width: D.
    heads: Attention heads; None is one for 32 channels.
    hidden: Width inside the feed-forward layer; None is 4 D.
    length: Positions at most; needed where they are learned.
    position: 'rotary' (Su et al. 2021), 'learned' (GPT-2), 'sinusoidal' (Vaswani et al. 2017) or
      'none'. What is learned or sinusoidal starts anew in each packed document.
    norm: 'rms', 'rms_shifted' (Gemma), 'layer' or 'layer_bias', as in `norm`.
    feed: 'relu2', 'gelu', 'swiglu' or another kind that `FeedForward` has.
    qk_norm: Whether queries and keys are normalised.
    conv: Width of a causal depthwise convolution before each layer; 0 is none.
    tied: Whether the output layer is the embedding, transposed.
    init_scale: Standard deviation of every matrix, with outputs of blocks scaled by 1/sqrt(2 depth)
      (GPT-2 has 0.02). None is 1/sqrt(D), with the outputs of blocks 0 at first.
    dropout: Share left out of embeddings and of each layer's output in training.
    dtype: Of the computation.
    kv_heads: Heads of keys and values, each for a group of neighbouring heads; None is as many.
    head_width: Channels of a head; None is D / heads.
    window: How many positions each one sees, itself among them; None is all. A sequence is taken in
      turn: (4096, None) lets every other block, from the first on, see its neighbourhood only.
    rotary_base: Of the frequencies.
    rotary_scaling: `LinearScaling`, `Llama3Scaling` or another function of frequencies.
    norms: 'pre', before each layer; 'both', before and after it (Gemma 2); or 'post', of the
      stream, after each layer (Vaswani et al. 2017).
    norm_epsilon: Of every norm.
    attention_scale: Of the logits of attention; None is 1/sqrt(head_width).
    attention_cap: Soft cap on the logits of attention; None is none.
    logit_cap: Soft cap on the output's logits; None is none.
    embed_scale: Factor of the embeddings (Gemma has sqrt(D)); the tied output has none.
    bias: Whether products have biases.
    qkv_bias: Whether queries, keys and values do; None is as `bias` says.
    attention_dropout: Share of the attention weights left out in training.
    stochastic_depth: Probability of leaving out a layer of the last block in training; falls
      linearly to 0 at the first.
    depth_scaling: Power of 1/depth that multiplies each layer's output, in place of init_scale's
      1/sqrt(2 depth). Adam moves every layer alike, so that what it learns adds up with their
      number: 1 keeps the stream as large in a deep model (Dey et al. 2025). 0 leaves it.
    experts: Feed-forward layers that a router picks from in each block (`Experts`); 0 is one layer
      without a router. Their losses are sown: `evaluation.with_sown` adds them.
    active: Experts of a token.
    scan: Whether blocks are scanned: compiled once, with stacked parameters (`stack_layers`). On
      a mesh with several stages they then make a `pipeline`.
    remat: What the backward pass computes again: 'none', or 'full', 'dots' or 'weight_dots' as in
      `stacking.REMAT`.
  """

  vocab: int
  depth: int
  width: int
  heads: int | None = None
  hidden: int | None = None
  length: int | None = None
  position: str = 'rotary'
  norm: str = 'rms'
  feed: str = 'relu2'
  qk_norm: bool = True
  conv: int = 0
  tied: bool = False
  init_scale: float | None = None
  dropout: float = 0.0
  dtype: Any = jnp.float32
  kv_heads: int | None = None
  head_width: int | None = None
  window: int | tuple[int | None, ...] | None = None
  rotary_base: float = 10_000.0
  rotary_scaling: Scaling | None = None
  norms: str = 'pre'
  norm_epsilon: float = 1e-6
  attention_scale: float | None = None
  attention_cap: float | None = None
  logit_cap: float | None = None
  embed_scale: float | None = None
  bias: bool = False
  qkv_bias: bool | None = None
  attention_dropout: float = 0.0
  stochastic_depth: float = 0.0
  depth_scaling: float = 0.0
  experts: int = 0
  active: int = 2
  scan: bool = False
  remat: str = 'none'

  @property
  def windows(self) -> tuple[int | None, ...]:
    """The windows that blocks take in turn."""
    return tuple(self.window) if isinstance(self.window, (list, tuple)) else (self.window,)

  def setup(self):
    """Makes the parts, which `features`, `head` and `decode` share."""
    self._check()
    scale = nn.initializers.normal(self.init_scale or 0.02)
    self.embed = nn.Embed(self.vocab, self.width, embedding_init=scale, dtype=self.dtype)
    if self.position == 'learned':
      self.position_embed = self.param('position_embed', scale, (self.length, self.width))
    shape = self.clone(parent=None, name=None)
    windows = self.windows
    if self.scan:
      self.blocks: Any = Period(shape, windows)
    else:
      self.blocks = [
        DecoderBlock(shape, windows[i % len(windows)], name=f'block_{i}') for i in range(self.depth)
      ]
    if self.norms != 'post':
      self.out_norm = norm(self.norm, epsilon=self.norm_epsilon, dtype=self.dtype)
    self.in_dropout = nn.Dropout(self.dropout)
    self.ledger = Ledger()
    if not self.tied:
      zeros = nn.initializers.zeros
      self.out = dense(self.vocab, use_bias=False, kernel_init=zeros, name='head', dtype=self.dtype)

  def _check(self) -> None:
    if self.position not in POSITIONS:
      raise ValueError(
        f'position must be one of {", ".join(map(repr, POSITIONS))}, got {self.position!r}'
      )
    if self.position == 'learned' and self.length is None:
      raise ValueError("position='learned' needs length, the number of positions")
    if self.norms not in ('pre', 'both', 'post'):
      raise ValueError(f"norms must be 'pre', 'both' or 'post', got {self.norms!r}")
    if self.depth % len(self.windows) and self.scan:
      raise ValueError(
        f'to be scanned, depth must divide by {len(self.windows)} windows that take turns, '
        f'got {self.depth}'
      )

  def features(
    self,
    tokens_BL: jax.Array,
    *,
    train: bool,
    segment_ids: jax.Array | None = None,
    positions: jax.Array | None = None,
  ) -> jax.Array:
    """Maps tokens [B, L] to what the output layer sees, [B, L, D].

    Args:
      tokens_BL: Integers in 0 ... V - 1.
      train: Whether dropout is on.
      segment_ids: Integers [B, L]: documents packed into one row, which must not see each other.
      positions: Integers [B, L], where they are not 0, 1, ... L - 1 (in each document).

    Raises:
      ValueError: The tokens are longer than the positions that are learned.
    """
    x_BLD = self._embedded(tokens_BL, segment_ids, positions, train)
    return self._through(x_BLD, train=train, segment_ids=segment_ids, positions=positions)

  def _embedded(
    self,
    tokens_BL: jax.Array,
    segment_ids: jax.Array | None,
    positions: jax.Array | None,
    train: bool,
  ) -> jax.Array:
    x_BLD = spread(self.embed(tokens_BL))
    if self.embed_scale is not None:
      x_BLD = x_BLD * jnp.asarray(self.embed_scale, x_BLD.dtype)
    length = tokens_BL.shape[1]
    if positions is None and segment_ids is not None:
      positions = within_segments(segment_ids)
    if self.position == 'learned':
      if length > len(self.position_embed):
        raise ValueError(
          f'tokens must be no longer than the {len(self.position_embed)} learned positions, '
          f'got {length}: raise length, or use rotary positions'
        )
      table = self.position_embed.astype(self.dtype)
      if positions is None:
        x_BLD = x_BLD + table[:length]
      else:  # A position that was not learned is NaN, lest it pass for the last one.
        x_BLD = x_BLD + table.at[positions].get(mode='fill', fill_value=jnp.nan)
    elif self.position == 'sinusoidal':
      positions = jnp.arange(length) if positions is None else positions
      x_BLD = x_BLD + sinusoidal(positions, self.width).astype(self.dtype)
    return self.in_dropout(x_BLD, deterministic=not train)

  def _through(self, x_BLD: jax.Array, *, train: bool, **seen: Any) -> jax.Array:
    """Puts embedded tokens through the blocks and the last norm."""
    skips = jnp.linspace(0, self.stochastic_depth, self.depth)
    turns = skips.reshape(-1, len(self.windows)) if self.scan else skips

    def call(block: nn.Module, x_BLD: jax.Array, skip: jax.Array, seen: Any = seen) -> jax.Array:
      return block(x_BLD, skip, train=train, **seen)

    call = stacking.remat(self.remat, call, self.scan)
    if stages(len(turns)) > 1 and not self.is_initializing():
      x_BLD = through_stages(self, call, x_BLD, turns, train, seen)
    elif self.scan:
      x_BLD = stacking.scan(
        lambda period, x_BLD, skips: period(x_BLD, skips, call=call), self.blocks, x_BLD, turns
      )
    else:
      for i, block in enumerate(self.blocks):
        x_BLD = call(block, x_BLD, skips[i])
    return x_BLD if self.norms == 'post' else self.out_norm(x_BLD)

  def head(self, x_BLD: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps features to logits [B, L, V]."""
    del train
    # Said of both, or XLA gathers all examples' features instead of the matrix.
    x_BLD = spread(x_BLD)
    logits_BLV = spread(self.embed.attend(x_BLD) if self.tied else self.out(x_BLD))
    if self.logit_cap is not None:
      logits_BLV = self.logit_cap * jnp.tanh(logits_BLV / self.logit_cap)
    return logits_BLV

  def __call__(
    self,
    tokens_BL: jax.Array,
    *,
    train: bool,
    segment_ids: jax.Array | None = None,
    positions: jax.Array | None = None,
  ) -> jax.Array:
    """Maps tokens [B, L] to logits [B, L, V]; position l predicts token l + 1."""
    x_BLD = self.features(tokens_BL, train=train, segment_ids=segment_ids, positions=positions)
    return self.head(x_BLD, train=train)

  def decode(
    self,
    tokens_BL: jax.Array,
    *,
    train: bool = False,
    positions: jax.Array | None = None,
    length: int | None = None,
  ) -> jax.Array:
    """Maps the next tokens [B, L] of texts whose earlier ones are in the cache to logits [B, L, V].

    Call it by `apply(variables, tokens, method='decode', mutable=['cache'])`, first with a prompt,
    then with one token after another, each time with the 'cache' that came back. The caller sees
    to it that no more than M tokens go in: the cache cannot tell.

    Args:
      tokens_BL: Prompts of several lengths are padded in front.
      train: False.
      positions: Integers [B, L], below 0 for padding; None goes on counting, from 0.
      length: M, the tokens that a new cache has room for.

    Raises:
      ValueError: There is neither a cache nor a length, or it is too short for these tokens.
    """
    slots: Slots = self.ledger(positions, tokens_BL.shape, length)
    positions = slots.positions[0]
    x_BLD = self._embedded(tokens_BL, None, jnp.maximum(positions, 0), train)
    return self.head(self._through(x_BLD, train=train, positions=positions, slots=slots))


def init_cache(model: DecoderLM, batch: int, length: int) -> Mapping[str, Any]:
  """Returns an empty cache for `batch` texts of up to `length` tokens, for `DecoderLM.decode`."""

  def start() -> Mapping[str, Any]:
    tokens = jnp.zeros((batch, 1), jnp.int32)
    return model.init(jax.random.key(0), tokens, length=length, method='decode')['cache']

  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(start))
