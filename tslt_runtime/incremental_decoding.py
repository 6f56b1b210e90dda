"""Text from tokens as they come: each piece once, whole characters only, in time linear in the text.

A character can be spread over several tokens, and some decoders treat the first token of a text otherwise (they drop a
space before it).  So a piece is what the tokens since the last piece add to the text of those of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tslt_runtime.tokenizer import tokenizer_of

UNFINISHED = "\ufffd"
"""What decoders put in the place of bytes that are no character, or none yet."""
MOST_HELD = 8
"""Tokens that wait for a character to become whole.  One has at most four bytes, and a token at least one: what has
waited longer never was one."""


class IncrementalDecoder:
    """Turns tokens into text as they come.

    All pieces together are what decoding everything at once gives, for a byte-level tokenizer.  Where single bytes are
    tokens of their own (``<0xE2>``), a decoder takes back whole characters if bytes that are none follow at once; what
    was given out stays, and those bytes alone become U+FFFD.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int] = ()) -> None:
        """``tokenizer``: what ``tokenizer_of`` takes; ``prompt``: tokens before the first piece."""
        own = tokenizer_of(tokenizer)
        self._decode, self._silent = own.text_of, own.is_silent
        self._window = self._spoken(prompt)
        self._given = len(self._window)

    @property
    def whole(self) -> bool:
        """Whether the text of all tokens so far has been given out: none waits for the rest of a character."""
        return self._given == len(self._window)

    def add(self, tokens: Sequence[int]) -> str:
        """What the text grows by, as far as its characters are whole; special tokens add nothing."""
        pieces = [self._add(token) for token in self._spoken(tokens)]
        return "".join(pieces)

    def finish(self) -> str:
        """What is left of a character that never became whole: U+FFFD for its bytes."""
        return self._give(self._grown())

    def _spoken(self, tokens: Sequence[int]) -> list[int]:
        return [int(token) for token in tokens if not self._silent(int(token))]

    def _add(self, token: int) -> str:
        self._window.append(token)
        new = self._grown()
        if not new.endswith(UNFINISHED):
            return self._give(new)
        return self._cut() if len(self._window) - self._given > MOST_HELD else ""

    def _grown(self) -> str:
        """What the tokens that have not been given out add to the text of those before them."""
        before, after = self._decode(self._window[: self._given]), self._decode(self._window)
        # Else the text before them was cut within a character, or was taken back.
        return after[len(before) :] if after.startswith(before) else self._decode(self._window[self._given :])

    def _give(self, new: str) -> str:
        del self._window[: self._given]
        self._given = len(self._window)
        return new

    def _cut(self) -> str:
        """Give out bytes that are no character, up to where another may have begun."""
        held = self._window[self._given :]
        whole = self._decode(held)
        for end in range(len(held) - 1, 0, -1):
            if self._decode(held[:end]) + self._decode(held[end:]) == whole:
                text = self._decode(held[:end])
                self._window, self._given = held, end
                return text
        return self._give(whole)
