"""Text variation: rows of tokens are corrupted or rearranged into other tasks than the next token.

Maps as in `augmentation`, over batches as `data.pack` gives them: 'inputs' and 'targets', integers
[B, L], where an input is the target before it. The text of a row is its 'targets'; the input before
them stays the first input. What comes out suits `evaluation.next_token`: 'token_weight' float32
[B, M] is 0 where a target does not count, and 'bytes' float32 [B, M] are the bytes of text that a
target stands for (those of the batch, or else 1 a token), 0 for the tokens added here.

Added tokens are ones that text does not hold, and the model's vocabulary has to count them: with
`data.Bytes()`, of 256 tokens, they are 256 and up.

Letters: B rows, L tokens of text, M tokens of a row that comes out, S spans.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bigtrain.data.augmentation import Batch, Map, held, within
from bigtrain.data.draws import Draws


def token_dropout(token: int, probability: float = 0.1, *, key: str = 'inputs') -> Map:
  """Returns a map that puts `token` in the place of inputs at random; targets stay (Bowman et al.
  2016, section 3.1).

  Args:
    token: what stands for an unknown word.
    probability: of each input, to be replaced.
    key: tokens [B, L].

  Raises:
    ValueError: for a probability out of range; by the map, for a missing key.
  """
  within('token_dropout: probability', 0, 1, probability)

  def dropped(batch: Batch, rng: Draws) -> Batch:
    tokens_BL = _tokens(batch, key, 'token_dropout')
    gone_BL = rng.random(*tokens_BL.shape[1:]) < probability
    return {**batch, key: np.where(gone_BL, np.int32(token), tokens_BL)}

  return dropped


def span_lengths(length: int, *, density: float = 0.15, span: float = 3.0) -> tuple[int, int, int]:
  """Returns how many tokens `span_corruption` takes from a row of `length`, in how many spans, as
  T5 counts them (`random_spans_helper`): (tokens taken, spans, tokens of inputs and targets).

  The last one, `length` + twice the spans, is the length of a row in the layout 'decoder', before
  an end is added to each of its two parts.

  Raises:
    ValueError: for a length below 2, a density outside (0, 1), or a span below 1.
  """
  if length < 2 or not 0 < density < 1 or not span >= 1:
    raise ValueError(
      'data.span_corruption: length must be at least 2, density lie in (0, 1) and span be at least '
      f'1, got length={length}, density={density}, span={span}'
    )
  taken = min(max(round(length * density), 1), length - 1)
  spans = min(max(round(taken / span), 1), length - taken)
  return taken, spans, length + 2 * spans


def span_corruption(
  sentinels: Sequence[int],
  *,
  density: float = 0.15,
  span: float = 3.0,
  end: int | None = None,
  layout: Literal['decoder', 'encoder_decoder'] = 'decoder',
) -> Map:
  """Returns a map that takes spans out of a text, to be told from the rest of it (Raffel et al.
  2020, section 3.1.4).

  A sentinel stands for each span: the corrupted text is `a a S0 b b S1`, and what is to be told is
  `S0 x x S1 y y`. How many tokens and spans are taken depends on the length alone (`span_lengths`),
  so all rows come out at one length and nothing is padded; where they are is drawn. A row begins
  with a token that stays and ends with a span, as T5's do; with one span alone, that is the end.

  Args:
    sentinels: at least as many tokens as there are spans, in the order of their use.
    density: share of tokens taken.
    span: tokens of a span, on average.
    end: a token added after the corrupted text and after what is to be told, as T5 does; None adds
      none.
    layout: 'decoder' lays both parts one after the other, for a decoder alone: 'inputs', 'targets',
      'token_weight' and 'bytes' [B, M], with weight 0 for the corrupted text. 'encoder_decoder'
      gives 'inputs' (the corrupted text), and of the length of the other part 'targets',
      'decoder_inputs' (the targets one later), 'token_weight' and 'bytes'.

  Returns:
    A map.

  Raises:
    ValueError: for a density or span out of range or an unknown layout; by the map, for too few
      sentinels, a sentinel that the text holds, or a batch without 'inputs' and 'targets', or with
      'segment_ids' or 'token_weight'.
  """
  span_lengths(2, density=density, span=span)
  if layout not in ('decoder', 'encoder_decoder'):
    raise ValueError(
      f"data.span_corruption: layout is 'decoder' or 'encoder_decoder', got {layout!r}"
    )
  marks = np.asarray(sentinels, np.int64)

  def corrupted(batch: Batch, rng: Draws) -> Batch:
    text_BL, bytes_BL = _text(batch, marks, 'span_corruption')
    rows, length = text_BL.shape
    taken, spans, _ = span_lengths(length, density=density, span=span)
    if spans > len(marks):
      raise ValueError(
        f'data.span_corruption: rows of {length} tokens have {spans} spans, got {len(marks)} '
        'sentinels: give more, or raise span'
      )
    # Pieces are numbered along the text, kept ones even and taken ones odd.
    pieces_BS2 = np.stack([_pieces(rng, n, spans) for n in (length - taken, taken)], -1)
    piece_BL = np.zeros((rows, length + 1), np.int64)
    np.put_along_axis(piece_BL, pieces_BS2.reshape(rows, -1).cumsum(-1), 1, -1)
    piece_BL = piece_BL[:, :length].cumsum(-1)
    # Kept pieces and their sentinels come first and the taken ones behind all of them, from `told`.
    told = 2 * spans + 1
    mark_M = np.concatenate([np.tile(marks[:spans], 2), [] if end is None else [end, end]])
    rank_M = [*range(1, told, 2), *range(told, 2 * told - 1, 2)]
    rank_M += [] if end is None else [told - 1, 2 * told - 1]
    rank_BL = piece_BL + piece_BL % 2 * told
    line_BM, bytes_BM = _laid(text_BL, bytes_BL, mark_M, rank_BL, np.array([rank_M] * rows))
    first = length - taken + spans + (end is not None)
    if layout == 'decoder':
      weight_BM = np.tile(np.float32(np.arange(line_BM.shape[1]) >= first), (rows, 1))
      return _line(batch, line_BM, bytes_BM, weight_BM)
    answer = _line(
      batch, line_BM[:, first:], bytes_BM[:, first:], np.ones_like(bytes_BM[:, first:])
    )
    return {**answer, 'inputs': line_BM[:, :first], 'decoder_inputs': answer['inputs']}

  return corrupted


def fill_in_the_middle(
  prefix: int,
  suffix: int,
  middle: int,
  *,
  rate: float = 0.5,
  spm: float = 0.5,
  end: int | None = None,
) -> Map:
  """Returns a map that moves the middle of a text to its end (Bavarian et al. 2022, section 3).

  A row is cut at two places, drawn uniformly, into a beginning, a middle and a rest. PSM lays them
  as `PREFIX beginning SUFFIX rest MIDDLE middle`, and SPM as `PREFIX SUFFIX rest MIDDLE beginning
  middle`. All targets count, as in the paper. Rows that are left as they are get as many tokens of
  weight 0 at their end, so that all rows have one length: 3 tokens more than before, or 4 with an
  `end`; pack rows as much shorter.

  A row counts as one document: where rows hold several, a middle may be parted from its
  surroundings by the end of one.

  Args:
    prefix: the token before the beginning.
    suffix: the token before the rest.
    middle: the token before the middle.
    rate: share of rows that are rearranged.
    spm: share of those that are laid as SPM.
    end: a token after the middle, which tells a model to stop; None adds none.

  Returns:
    A map to 'inputs', 'targets', 'token_weight' and 'bytes' [B, L + 3 or 4].

  Raises:
    ValueError: for shares out of range or tokens that are the same; by the map, for a token that
      the text holds, or a batch without 'inputs' and 'targets', or with 'segment_ids' or
      'token_weight'.
  """
  within('fill_in_the_middle: rate', 0, 1, rate)
  within('fill_in_the_middle: spm', 0, 1, spm)
  marks = [prefix, suffix, middle]
  if len(set(marks)) < 3:
    raise ValueError(
      f'data.fill_in_the_middle: prefix, suffix and middle must be three tokens, got {marks}'
    )
  added = marks if end is None else [*marks, end]

  def moved(batch: Batch, rng: Draws) -> Batch:
    text_BL, bytes_BL = _text(batch, marks, 'fill_in_the_middle')
    length = text_BL.shape[1]
    plain_B1, spm_B1 = rng.random(1) >= rate, rng.random(1) < spm
    low_B1, high_B1 = np.sort((rng.random(2) * (length + 1)).astype(np.int64), -1).T[..., None]
    # The marks have the ranks 0, 2, 4 and 6; where a row is left as it is, all come last.
    place_L = np.arange(length)
    rank_BL = np.where(place_L < low_B1, np.where(spm_B1, 5, 1), np.where(place_L < high_B1, 5, 3))
    mark_BM = np.where(plain_B1, 0, added)
    rank_BM = np.where(plain_B1, 7, np.arange(0, 2 * len(added), 2))
    line_BM, bytes_BM = _laid(text_BL, bytes_BL, mark_BM, np.where(plain_B1, 0, rank_BL), rank_BM)
    weight_BM = ~plain_B1 | (np.arange(line_BM.shape[1]) < length)
    return _line(batch, line_BM, bytes_BM, weight_BM.astype(np.float32))

  return moved


def _pieces(rng: Draws, length: int, pieces: int) -> np.ndarray:
  """Draws how long each of `pieces` is that make up `length`, [B, pieces], all ways alike."""
  cut_BS = np.sort(np.argsort(rng.random(length - 1), -1)[:, : pieces - 1] + 1, -1)
  return np.diff(np.pad(cut_BS, ((0, 0), (1, 1)), constant_values=((0, 0), (0, length))), axis=-1)


def _laid(
  text_BL: np.ndarray, bytes_BL: np.ndarray, marks: np.ndarray, rank_BL: np.ndarray,
  rank_BM: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
  """Returns tokens and marks in the order of their ranks, and their bytes; equals stay in order."""
  marks = np.broadcast_to(marks, rank_BM.shape).astype(text_BL.dtype)
  rank = np.concatenate([rank_BL, rank_BM], -1)
  # Numbers of at most 16 bits are sorted by radix, several times faster.
  order = np.argsort(rank.astype(np.min_scalar_type(rank.max())), axis=-1, kind='stable')
  line = np.take_along_axis(np.concatenate([text_BL, marks], -1), order, -1)
  zeros = np.zeros(marks.shape, np.float32)
  return line, np.take_along_axis(np.concatenate([bytes_BL, zeros], -1), order, -1)


def _line(batch: Batch, line_BM: np.ndarray, bytes_BM: np.ndarray, weight_BM: np.ndarray) -> Batch:
  inputs_BM = np.concatenate([batch['inputs'][:, :1], line_BM[:, :-1]], -1)
  return {
    **batch, 'inputs': inputs_BM, 'targets': line_BM, 'token_weight': weight_BM, 'bytes': bytes_BM
  }  # fmt: skip


def _text(
  batch: Batch, marks: Sequence[int] | np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the tokens of a batch and their bytes, [B, L] each."""
  _tokens(batch, 'inputs', name)
  text_BL = _tokens(batch, 'targets', name)
  if odd := sorted({'segment_ids', 'token_weight'} & batch.keys()):
    raise ValueError(
      f'data.{name}: the batch has {odd[0]!r}, which would not follow its tokens: drop the key, or '
      'use rows that are text from end to end'
    )
  if (held := np.isin(marks, text_BL)).any():
    raise ValueError(
      f'data.{name}: the text holds {np.asarray(marks)[held][0]}, a token to be added: take ones '
      'above its vocabulary'
    )
  return text_BL.astype(np.int32), batch.get('bytes', np.ones(text_BL.shape, np.float32))


def _tokens(batch: Batch, key: str, name: str) -> np.ndarray:
  tokens_BL = held(batch, key, name)
  if tokens_BL.ndim != 2 or tokens_BL.dtype.kind not in 'iu':
    raise ValueError(
      f'data.{name}: {key!r} is {tokens_BL.dtype} of shape {tokens_BL.shape}: tokens are integers '
      '[B, L], as data.pack gives them'
    )
  return tokens_BL
