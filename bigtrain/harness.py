"""A decoder as EleutherAI's lm-eval sees one: log-likelihoods of texts, and greedy continuations.

Rows are filled up on the right to a power of two, which a causal model does not see, so that one
compiled function serves all requests of about one length.

Letters: B rows of a call, L tokens of a row, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
  from bigtrain.data import Tokenizer

Pair = tuple[Sequence[int], Sequence[int]]  # Tokens that are given, and tokens that are judged.

_SHORTEST = 32  # Tokens of the shortest row.
_CHUNK = 16  # Tokens made in one call.
_CONTINUATION = 256  # Tokens of a continuation, where a task does not say.


class Scorer:
  """Judges and continues texts by a causal model.

  Args:
    logits: `logits(variables, tokens [B, L]) -> [B, L, V]`.
    variables: Of the model.
    length: Tokens that the model sees at most.
    rows: B.

  Attributes:
    length: As given.
  """

  def __init__(
    self,
    logits: Callable[[Any, jax.Array], jax.Array],
    variables: Any,
    length: int,
    rows: int = 8,
  ):
    if length < 2 or rows < 1:
      raise ValueError(
        f'a scorer takes length of at least 2 and rows of 1, got {length} and {rows}'
      )
    self.length, self._rows, self._variables = length, rows, variables
    self._score = jax.jit(functools.partial(_score, logits))
    self._go_on = jax.jit(functools.partial(_go_on, logits), static_argnums=0)

  def score(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
    """Returns the log-likelihood of each continuation (nats), and whether each of its tokens is the
    likeliest.

    What is given is cut on the left where both together are too long.

    Raises:
      ValueError: Nothing is given, or a continuation is longer than the model sees.
    """
    found: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
    whole = []
    for given, judged in pairs:
      if not len(given) or len(judged) > self.length:
        raise ValueError(
          f'a continuation takes 1 to {self.length} tokens after at least 1 that is given, '
          f'got {len(judged)} after {len(given)}'
        )
      whole.append(np.array([*given, *judged], np.int32)[-self.length - 1 :])
    asked = [i for i, (_, judged) in enumerate(pairs) if len(judged)]
    asked.sort(key=lambda i: -len(whole[i]))  # The longest first: what does not fit fails at once.
    for begin in range(0, len(asked), self._rows):
      some = asked[begin : begin + self._rows]
      width = self._width(len(whole[some[0]]) - 1)
      tokens = np.zeros((self._rows, width + 1), np.int32)
      span = np.zeros((self._rows, 2), np.int32)
      for row, i in enumerate(some):
        tokens[row, : len(whole[i])] = whole[i]
        span[row] = len(whole[i]) - 1 - len(pairs[i][1]), len(whole[i]) - 1
      nats, greedy = jax.device_get(self._score(self._variables, tokens, span))
      for row, i in enumerate(some):
        found[i] = float(nats[row]), bool(greedy[row])
    return found

  def go_on(
    self, prompts: Sequence[Sequence[int]], tokens: int, over: Callable[[int, np.ndarray], bool]
  ) -> list[np.ndarray]:
    """Returns the likeliest continuation of each prompt, token by token.

    Args:
      prompts: At least one token each; cut on the left where there would be no room to go on.
      tokens: How many to make at most; no more than half of what the model sees.
      over: Tells of prompt i and what was made of it so far whether that is enough.
    """
    tokens = min(tokens, self.length // 2)
    chunk = min(_CHUNK, tokens)
    room = -(-tokens // chunk) * chunk  # The last chunk is as long as the others.
    found: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    if tokens < 1 or not all(len(prompt) for prompt in prompts):
      raise ValueError('a continuation takes a prompt of at least 1 token, and a token to make')
    cut = [np.array(prompt, np.int32)[room - self.length :] for prompt in prompts]
    asked = sorted(range(len(prompts)), key=lambda i: -len(cut[i]))
    for begin in range(0, len(asked), self._rows):
      some = asked[begin : begin + self._rows]
      width = self._width(len(cut[some[0]]) + room)
      rows = np.zeros((self._rows, width), np.int32)
      lengths = np.ones(self._rows, np.int32)
      for row, i in enumerate(some):
        rows[row, : len(cut[i])], lengths[row] = cut[i], len(cut[i])
      filled = jnp.asarray(rows)
      for made in range(chunk, room + 1, chunk):
        filled = self._go_on(chunk, self._variables, filled, lengths + made - chunk)
        now = np.asarray(filled)
        for row, i in enumerate(some):
          found[i] = now[row, lengths[row] : lengths[row] + min(made, tokens)]
        if all(over(i, found[i]) for i in some):
          break
    return found

  def _width(self, least: int) -> int:
    width = _SHORTEST
    while width < least:
      width *= 2
    return min(width, self.length)


def _score(logits, variables, tokens_BL, span_B2):
  inputs_BL, targets_BL = tokens_BL[:, :-1], tokens_BL[:, 1:]
  logits_BLV = logits(variables, inputs_BL).astype(jnp.float32)
  own_BL = jnp.take_along_axis(logits_BLV, targets_BL[..., None], axis=-1)[..., 0]
  nats_BL = own_BL - jax.nn.logsumexp(logits_BLV, axis=-1)
  place_L = jnp.arange(targets_BL.shape[1])
  judged_BL = (place_L >= span_B2[:, :1]) & (place_L < span_B2[:, 1:])
  greedy_BL = jnp.argmax(logits_BLV, axis=-1) == targets_BL
  return (
    jnp.sum(jnp.where(judged_BL, nats_BL, 0), axis=1),
    jnp.all(greedy_BL | ~judged_BL, axis=1),
  )


def _go_on(logits, chunk, variables, tokens_BL, length_B):
  rows = jnp.arange(len(length_B))

  def step(i, tokens_BL):
    logits_BLV = logits(variables, tokens_BL)
    place_B = length_B + i
    return tokens_BL.at[rows, place_B].set(jnp.argmax(logits_BLV[rows, place_B - 1], axis=-1))

  return jax.lax.fori_loop(0, chunk, step, tokens_BL)


def language_model(scorer: Scorer, tokenizer: Tokenizer) -> Any:
  """Returns a model that `lm_eval.simple_evaluate` takes.

  Args:
    scorer: Of the model.
    tokenizer: It was trained with; a text follows the token that ends a document, as in training.

  Raises:
    ValueError: lm-eval isn't installed, or the tokenizer has nothing to begin a text with.
  """
  try:
    from lm_eval import utils  # pyright: ignore[reportMissingImports]
    from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise ValueError('this needs lm-eval: pip install lm-eval torch transformers') from None
  begin = tokenizer.end
  if begin is None:
    newline = tokenizer.encode('\n')
    if not len(newline):
      raise ValueError('the tokenizer has no token that a text could begin after')
    begin = int(newline[0])

  class Decoder(TemplateLM):
    """A decoder behind lm-eval's interface."""

    @property
    def eot_token_id(self) -> int:
      return begin

    def tok_encode(self, string: str, add_special_tokens: Any = None, **_: Any) -> list[int]:
      return [int(token) for token in tokenizer.encode(string)]

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
      return scorer.score([(given, judged) for _, given, judged in requests])

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
      windows, owner = [], []
      for number, request in enumerate(requests):
        tokens = self.tok_encode(request.args[0])
        for window in utils.get_rolling_token_windows(tokens, begin, scorer.length, 1):
          windows.append(utils.make_disjoint_window(window))
          owner.append(number)
      totals = [0.0] * len(requests)
      for number, (nats, _) in zip(owner, scorer.score(windows), strict=True):
        totals[number] += nats
      return totals

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
      asked = [(request.args[0], dict(request.args[1])) for request in requests]
      if any(own.get('do_sample') or own.get('temperature') for _, own in asked):
        raise ValueError('texts are continued by the likeliest tokens: leave do_sample out')
      prompts = [self.tok_encode(prompt) or [begin] for prompt, _ in asked]

      def text(number: int, tokens: np.ndarray) -> tuple[str, bool]:
        own = asked[number][1]
        stops = own.get('until') or []
        ends = np.flatnonzero(tokens == tokenizer.end) if tokenizer.end is not None else []
        said = tokenizer.decode(tokens[: ends[0]] if len(ends) else tokens)
        places = [said.find(stop) for stop in ([stops] if isinstance(stops, str) else stops)]
        places = [place for place in places if place >= 0]
        return said[: min(places)] if places else said, bool(places) or len(ends) > 0

      most = [int(own.get('max_gen_toks', _CONTINUATION)) for _, own in asked]
      found = scorer.go_on(prompts, max(most, default=1), lambda i, made: text(i, made)[1])
      return [text(i, tokens[: most[i]])[0] for i, tokens in enumerate(found)]

  return Decoder()
