"""A draft model with a shorter context than its target: it reads the text's first token and its last ones.

What is drafted changes the speed alone, never the output, so a draft model may see less of the text than the target
does.  The first token stays because attention leans on it (Xiao et al., arXiv 2309.17453).
"""

from __future__ import annotations

from collections.abc import Sequence

from tslt_runtime.engines.protocol import DraftText


class DraftWindow:
    """What a draft model sees of a text of any length.

    As long as the text fits the model, all of it.  Beyond that the first token and the last ones, half of what the
    model holds, and what comes after these until it is full again: so each token is read about twice.
    """

    def __init__(self, text: DraftText) -> None:
        """``text``: a new one; its ``room`` says how many tokens the model holds."""
        self._text = text
        self.context = max(1, text.room)
        """Tokens that the model holds."""
        self._kept = max(1, self.context // 2)
        self._start = 0  # the model has the first token, and those from here on; 0: all of them

    @property
    def room(self) -> int:
        """Depth of the deepest draft that ``make_room`` makes room for; never below 0."""
        return max(self._text.room, self.context - self._kept)

    @property
    def slid(self) -> bool:
        """Whether the model has less than the whole text."""
        return self._start > 0

    def read(self, prefix: Sequence[int]) -> None:
        """Let the model go on from ``prefix``; see ``DraftText.set_prefix``, but none is too long."""
        start = self._start
        if len(prefix) <= self.context:
            start = 0
        elif not (start and start < len(prefix) < start + self.context):  # else what is cached stays of use
            start = self._slid_start(prefix)
        self._set(prefix, start)

    def make_room(self, prefix: Sequence[int], depth: int) -> bool:
        """Let a draft of ``depth``, at most ``room``, fit behind ``prefix``, which the model has read.

        Returns whether the model had to read it anew.
        """
        kept, slides = self._kept, False
        while depth > 0 and self._text.room < depth and kept:
            self._set(prefix, self._slid_start(prefix, kept))
            kept //= 2  # where a token of the text is several of the model's
            slides = True
        return slides

    def _slid_start(self, prefix: Sequence[int], kept: int | None = None) -> int:
        return max(0, len(prefix) - max(1, (kept or self._kept) - 1))

    def _set(self, prefix: Sequence[int], start: int) -> None:
        first = prefix[:1] if start and self._kept > 1 else ()  # one token alone is the last one
        self._text.set_prefix([*first, *prefix[start:]])
        self._start = start
