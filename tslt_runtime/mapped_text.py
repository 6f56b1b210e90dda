"""A draft model's text as a text of the target's tokens, where the two vocabularies are not the same.

The runtime above sees V logits of the target's, -inf where a token must not be drafted; the engine below sees its own
tokens.  Spec section 7.9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from tslt_runtime.engines.protocol import DraftText, Node
from tslt_runtime.engines.text_rules import grown, require_tokens
from tslt_runtime.token_map import TokenMap

Reading = Callable[[Sequence[int]], Sequence[int]]
"""What the draft model reads in place of tokens that it has not: (the target's tokens) to its own, maybe none."""
MOST_REREAD = 64
"""Tokens without a counterpart that are read as one piece: what they stand for may change as more of them come, a
character of several bytes say, and the work of a round stays bounded."""


def nothing(tokens: Sequence[int]) -> Sequence[int]:
    """Read nothing in place of tokens that the draft has not: ids without a text."""
    return ()


class MappedText:
    """One text on a device, in the target's tokens (see ``engines.protocol.DraftText``)."""

    def __init__(self, inner: DraftText, token_map: TokenMap, *, reading: Reading = nothing, start: int = 0) -> None:
        """``inner``: the engine's text, without a prefix yet.  ``start``: what it reads if all of a prefix has no
        counterpart: a model needs one token."""
        self._inner = inner
        self._map = token_map
        self._reading = reading
        self._start = start
        self._prefix: list[int] = []
        self._read: list[int] = []  # what the draft model has of the prefix, its own tokens
        self._limit = max(1, inner.room)
        self._run: tuple[int, int] | None = None  # where the tokens at the end begin that have no counterpart
        self._nodes: list[Node] = []

    @property
    def vocab_size(self) -> int:
        """The target's V."""
        return self._map.vocab_size

    @property
    def room(self) -> int:
        """See ``DraftText.room``; a drafted token is one token of the draft model, too."""
        return self._inner.room

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens agreed on so far, the target's."""
        return tuple(self._prefix)

    @property
    def read(self) -> tuple[int, ...]:
        """What the draft model reads of it: the first token and the last ones, where it does not hold all."""
        return tuple(self._read)

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """See ``DraftText.set_prefix``."""
        fresh = [int(token) for token in tokens]
        require_tokens(fresh, self.vocab_size)
        if not fresh:
            raise ValueError("a prefix has at least one token (usually the beginning-of-text token)")
        read, run = self._grown([], [], None, fresh)
        self._inner.set_prefix(read)
        self._prefix, self._read, self._run, self._nodes = fresh, read, run, []

    def expand(self, nodes: Sequence[Node]) -> Any:
        """See ``DraftText.expand``; rows (N, V) over the target's tokens."""
        found = [(Node(parent, int(self._map.read[token])), token) for parent, token in nodes]
        for own, token in found:
            if own.token < 0:
                raise ValueError(f"the draft model has no token for {token}")
        rows = self._inner.expand([own for own, _ in found])
        self._nodes = [*self._nodes, *map(Node._make, nodes)] if nodes else []
        return self._map.rows(rows)

    def commit(self, path: Sequence[int], token: int) -> None:
        """See ``DraftText.commit``."""
        require_tokens([token], self.vocab_size)
        text, nodes = grown(self._prefix, self._nodes, path, token)
        tokens = text[len(self._prefix) :]
        own = [int(self._map.read[token]) for token in tokens]
        if own[-1] < 0 or len(self._read) + len(own) > self._limit:
            self._commit_and_read(path, tokens, own)
            return
        self._inner.commit(path, own[-1])
        self._prefix, self._nodes = text, nodes
        self._read += own
        self._run = None

    def _commit_and_read(self, path: Sequence[int], tokens: Sequence[int], own: Sequence[int]) -> None:
        """Let the text grow by ``tokens``, of which the last one may have no counterpart; ``own``: those of the others.

        What the draft reads may then begin to differ anywhere behind the last token that has one.
        """
        if path:
            self._inner.commit(path[:-1], own[len(path) - 1])  # the path's cache stays
        read, run = self._grown(self._prefix, self._read, self._run, tokens)
        self._inner.set_prefix(read)
        self._prefix, self._read, self._run, self._nodes = [*self._prefix, *tokens], read, run, []

    def close(self) -> None:
        """See ``DraftText.close``."""
        self._inner.close()
        self._prefix, self._read, self._nodes, self._run = [], [], [], None

    def _grown(
        self, prefix: Sequence[int], read: Sequence[int], run: tuple[int, int] | None, tokens: Sequence[int]
    ) -> tuple[list[int], tuple[int, int] | None]:
        """What the draft reads once ``prefix``, read as ``read``, has grown by ``tokens``; and the run at its end."""
        grown, at = list(read), len(prefix)
        text = [*prefix[run[0] if run else at :], *tokens]
        first = run[0] if run else at  # place of text[0]
        for known, group in groupby(tokens, lambda token: self._map.read[token] >= 0):
            some = list(group)
            if known:
                grown += self._map.read[some].tolist()
                run = None
            for start in () if known else range(0, len(some), MOST_REREAD):
                piece = some[start : start + MOST_REREAD]
                if run is None or at + start + len(piece) - run[0] > MOST_REREAD:
                    run = (at + start, len(grown))
                grown[run[1] :] = self._reading(text[run[0] - first : at + start + len(piece) - first])
            at += len(some)
        return self._cut(grown or [self._start], run)

    def _cut(self, read: list[int], run: tuple[int, int] | None) -> tuple[list[int], tuple[int, int] | None]:
        """What fits the model's context: all of it, or the first token and the last ones, as of ``DraftWindow``."""
        if len(read) <= self._limit:
            return read, run
        last = max(1, self._limit // 2 - 1)
        first = read[: min(1, self._limit - last)]
        gone = len(read) - last - len(first)
        if run is not None:
            run = (run[0], run[1] - gone) if run[1] - gone >= len(first) else None
        return [*first, *read[-last:]], run
