"""Tokens as they come, into text that can be shown: whole characters, up to a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_TORN = '\ufffd'  # What stands for a character in pieces.


class TextStream:
  """The text of a growing line of tokens.

  Only tokens since the character before the last whole one are decoded again, not the whole text:
  some tokenizers put a space before what they decode, which the earlier tokens take away.

  Attributes:
    text: What was shown so far.
    stopped: Whether a stop string came; it is no part of the text, and nothing follows.
  """

  def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()):
    """Args: decode, maps tokens to text; stop, strings that end the text, none of them empty.

    Raises:
      ValueError: A stop string is empty.
    """
    if '' in stop:
      raise ValueError('a stop string must not be empty: every text holds it at once')
    self._decode, self._stop = decode, tuple(stop)
    self._tokens: list[int] = []  # Since the beginning of the window.
    self._known = 0  # How many of these are shown or held already.
    self._held = ''  # May be the beginning of a stop string.
    self.text, self.stopped = '', False

  def add(self, tokens: Any, ended: bool = False) -> str:
    """Takes the next tokens, and returns what can be shown now that could not before.

    Args:
      tokens: Integers; what comes after a stop string is passed over.
      ended: Whether no more come. Until then a character in pieces, and what may be the beginning
        of a stop string, is held back.
    """
    if self.stopped:
      return ''
    self._tokens += [int(token) for token in tokens]
    before = self._decode(self._tokens[: self._known])
    now = self._decode(self._tokens)
    if ended or not now.endswith(_TORN):
      self._held += now[len(before) :]
      self._tokens, self._known = self._tokens[self._known :], len(self._tokens) - self._known
    return self._show(ended)

  def _show(self, ended: bool) -> str:
    found = [self._held.index(stop) for stop in self._stop if stop in self._held]
    if found:
      shown, self._held, self.stopped = self._held[: min(found)], '', True
    else:
      ends = [n for s in self._stop for n in range(1, len(s)) if self._held.endswith(s[:n])]
      keep = 0 if ended else max(ends, default=0)
      shown = self._held[: len(self._held) - keep]
      self._held = self._held[len(shown) :]
    self.text += shown
    return shown
