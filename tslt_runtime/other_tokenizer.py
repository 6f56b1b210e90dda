"""The map between two tokenizers: tokens that stand for the same text, and what is read for the others.

Token-level intersection (arXiv 2502.05202), spec section 7.9.  What is not matched costs acceptance alone, so whatever
is doubtful is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tslt_runtime.incremental_decoding import UNFINISHED
from tslt_runtime.token_map import ABSENT, TokenMap
from tslt_runtime.tokenizer import Tokenizer

_BEFORE = "a"
"""A text before a token: where texts begin some tokenizers leave out a space, or put one."""
_LINE = "\n"
"""What no token goes on from, in nearly all tokenizers."""


class TokenTexts:
    """The texts of a tokenizer's tokens, each as it is in the middle of a text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before = tokenizer.tokens_of(_BEFORE)[-1:]
        self._said = tokenizer.text_of(self._before)

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``; "" if they have none, or it cannot be told apart from what is before it."""
        text = self._tokenizer.text_of([*self._before, *tokens])
        return text.removeprefix(self._said) if text.startswith(self._said) else ""

    def tokens_of(self, text: str) -> list[int]:
        """The tokens of ``text`` in the middle of a text: none that a text begins with."""
        line, both = self._tokenizer.tokens_of(_LINE), self._tokenizer.tokens_of(_LINE + text)
        if both[: len(line)] == line:
            return both[len(line) :]
        return self._tokenizer.tokens_of(text)[len(self._tokenizer.tokens_of("")) :]

    def named(self, vocabulary: Mapping[str, int]) -> dict[tuple[str, str], list[int]]:
        """Ordinary tokens by what they stand for: their text, and for parts of characters the file's name for them.

        Of several with one text, the one that a text would be cut into comes first: bytes by their numbers come last.
        """
        found: dict[tuple[str, str], list[int]] = {}
        for name, token in sorted(vocabulary.items(), key=lambda item: (_is_byte(item[0]), item[1])):
            text = "" if self._tokenizer.is_silent(token) else self.text_of([token])
            if text:
                found.setdefault((text, name if UNFINISHED in text else ""), []).append(token)
        return found


def _is_byte(name: str) -> bool:
    return len(name) == 6 and name.startswith("<0x") and name.endswith(">")


def map_between(target: Tokenizer, draft: Tokenizer, *, vocab_size: int, draft_size: int) -> TokenMap:
    """The map from a target's tokens, ``vocab_size`` of them, to those of a draft model with ``draft_size`` logits.

    What may be drafted are ordinary tokens that both have.  Special ones are read, not drafted: those of one name, and
    what texts begin with.  Raises VocabularyMismatch if the two have nothing in common.
    """
    theirs, ours = target.get_vocab(), draft.get_vocab()
    read, drafted = np.full(vocab_size, ABSENT, np.int32), np.zeros(vocab_size, bool)
    own = TokenTexts(draft).named(ours)
    for text, tokens in TokenTexts(target).named(theirs).items():
        if text in own and own[text][0] < draft_size:
            read[tokens] = own[text][0]
            drafted[tokens[0]] = True
    for name, token in theirs.items():
        if target.is_silent(token) and name in ours and draft.is_silent(ours[name]) and ours[name] < draft_size:
            read[token] = ours[name]
    begins, own_begins = target.tokens_of(""), draft.tokens_of("")
    for token, other in zip(begins, own_begins, strict=False):
        if read[token] == ABSENT:
            read[token] = other
    return TokenMap(read, drafted)


def reading_between(target: Tokenizer, draft: Tokenizer) -> Callable[[Sequence[int]], Sequence[int]]:
    """What a draft reads in place of tokens of the target that it has not: their text, cut by its own tokenizer."""
    theirs, own = TokenTexts(target), TokenTexts(draft)

    def read(tokens: Sequence[int]) -> Sequence[int]:
        text = theirs.text_of(tokens)
        return own.tokens_of(text) if text else ()

    return read
