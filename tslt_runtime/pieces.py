"""Rounds in, pieces of text out: each character once, up to a stop string, with the tokens that it is of."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tslt_runtime.incremental_decoding import IncrementalDecoder
from tslt_runtime.stops import Stops


@dataclass(frozen=True, slots=True)
class Piece:
    """What a text grew by; the text or the tokens may be none, since one may wait for the other."""

    text: str
    """Whole characters."""
    tokens: tuple[int, ...] = ()
    """Those whose text has been shown with it, or in part where a stop string began within one."""
    log_probs: tuple[float, ...] = ()
    """Log probability of each of ``tokens``, if the device asks for them."""


class _Read(NamedTuple):
    """A token, and the text's characters once it is there."""

    token: int
    log_prob: float | None
    end: int


class Pieces:
    """One text as it is written, after its prompt."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int] = ()) -> None:
        """``tokenizer``: what ``tokenizer_of`` takes; ``prompt``: the tokens before the text."""
        self._decoder = IncrementalDecoder(tokenizer, prompt)
        self._stops = Stops()
        self._start = len(prompt)
        self._read = self._shown = 0  # characters
        self._waiting: deque[_Read] = deque()
        self._borders: deque[tuple[int, int]] = deque()  # characters and tokens where both end, not shown yet
        self._cut = 0
        self.written = 0
        """Tokens of the text, the one that completed a stop string included, those after it not."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come."""
        return self._stops.found is not None

    @property
    def keep(self) -> int:
        """Tokens, the prompt's included, whose text has been shown as a whole."""
        return self._start + self._cut

    def stop_at(self, stop: str | Sequence[str]) -> None:
        """From now on the text ends at these; see ``stops.stops_of``."""
        self._stops = Stops(stop)

    def add(self, tokens: Sequence[int], log_probs: Sequence[float] = ()) -> Piece:
        """What ``tokens`` add to the text; ``log_probs``: theirs, or none."""
        text = ""
        for at, token in enumerate(tokens):
            new = self._decoder.add([token])
            self.written += 1
            self._read += len(new)
            self._waiting.append(_Read(token, log_probs[at] if log_probs else None, self._read))
            if self._decoder.whole:
                self._borders.append((self._read, self.written))
            text += self._stops.add(new)
            if self.stopped:
                break
        return self._piece(text)

    def release(self) -> Piece:
        """What waited for a stop string that does not come any more; half a character may still become whole."""
        return self._piece(self._stops.finish())

    def finish(self) -> Piece:
        """All that waited: the text is over."""
        new = self._decoder.finish()
        self._read += len(new)
        return self._piece(self._stops.add(new) + self._stops.finish())

    def _piece(self, text: str) -> Piece:
        before, self._shown = self._shown, self._shown + len(text)
        found = []
        while self._waiting and self._waiting[0].end <= self._shown:
            found.append(self._waiting.popleft())
        if self.stopped and self._waiting:
            begun = max(before, found[-1].end if found else before)
            if begun < self._shown:
                found.append(self._waiting[0])
            self._waiting.clear()
        while self._borders and self._borders[0][0] <= self._shown:
            _, self._cut = self._borders.popleft()
        told = tuple(read.log_prob for read in found if read.log_prob is not None)
        return Piece(text, tuple(read.token for read in found), told)
