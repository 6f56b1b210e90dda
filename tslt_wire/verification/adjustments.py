"""What the sampling settings make of logits before temperature and cuts: biases, penalties, tokens that never come.

Spec section 7.2.  Penalties depend on the text along the path: a row of a tree sees the prefix and its own ancestors.
Only the tokens that a setting names or the text has are touched, so what comes out is a short list of edits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tslt_wire.messages.fields import several
from tslt_wire.messages.sampling import Sampling
from tslt_wire.messages.token_tree import PREFIX, TokenTree
from tslt_wire.verification.float_errors import quiet

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
LogitsAt = Callable[[Ids], Floats]
"""Raw logits of some tokens, float64 (n,), of their ids, int64 (n,), ascending; n is at least 1."""
Allowed = Callable[[tuple[int, ...]], Any]
"""Which tokens may follow an output, its tokens so far: bool (V,), or None for all of them."""


class Edits(NamedTuple):
    """What replaces the logits of some tokens of a row."""

    ids: npt.NDArray[np.int32]
    """The tokens, ascending, each once, int32 (n,)."""
    scores: Floats
    """Their scores, float64 (n,); -inf for one that never comes."""


class Seen(NamedTuple):
    """The tokens of a text, and how often its output has each."""

    ids: Ids
    """Ascending, each once, (n,)."""
    counts: Ids
    """Times in the output, (n,); 0 for a token of the prompt alone."""


def adjusted(
    logits_at: LogitsAt,
    sampling: Sampling,
    prompt: Sequence[int] = (),
    output: Sequence[int] = (),
    *,
    eos_tokens: Sequence[int] = (),
) -> Edits:
    """The scores that ``sampling`` gives in place of a row's raw logits, where they may differ (spec section 7.2).

    ``logits_at``: raw logits, asked once, for the tokens that come out.  ``prompt``, ``output``: the tokens before the
    row, drafted ones on the path to it among the output.  ``eos_tokens``: those that end a text.
    """
    return _edits(logits_at, sampling, _seen(sampling, prompt, output), eos_tokens)


class SampledText:
    """The text before the rows of a draft, for settings that depend on it (spec section 7.2)."""

    def __init__(
        self,
        *,
        prompt: Sequence[int] = (),
        output: Sequence[int] = (),
        tree: TokenTree | None = None,
        eos_tokens: Sequence[int] = (),
        allowed: Allowed | None = None,
    ) -> None:
        """``prompt``: tokens of the prefix up to the end of its PROMPT (``session.prefix[:session.prompt_length]``);
        ``output``: those after it.  ``tree``: the draft's; None: there is one row alone, that after the output.
        ``eos_tokens``: those that end a text.

        ``allowed``: which tokens may follow, a grammar say; called with the output along the path to each row that is
        looked at.  It must be a function of these tokens.  TypeError for what is no tree, or cannot be called.
        """
        self.prompt = several("prompt", "token ids", prompt)
        self.output = several("output", "token ids", output)
        if tree is not None and not isinstance(tree, TokenTree):
            raise TypeError(f"tree must be a TokenTree or None, got {tree!r}")
        if allowed is not None and not callable(allowed):
            raise TypeError(f"allowed must be a function of tokens, got {allowed!r}")
        self.tree = tree
        self.eos_tokens = several("eos_tokens", "token ids", eos_tokens)
        self.allowed = allowed
        self._seen: tuple[Sampling, Seen] | None = None

    @property
    def rows(self) -> int:
        """Rows that there are: 1 + nodes."""
        return 1 if self.tree is None else 1 + len(self.tree)

    def path(self, row: int) -> tuple[int, ...]:
        """The drafted tokens before row ``row``: none before row 0, those down to node i before row 1 + i."""
        tree, node = self.tree, row - 1
        return () if tree is None or node == PREFIX else tuple(tree.tokens[i] for i in tree.path(node))

    def edits(self, row: int, logits_at: LogitsAt, sampling: Sampling) -> Edits:
        """``adjusted`` for row ``row``; the text before the tree is gone through once, for all rows."""
        if self._seen is None or self._seen[0] is not sampling:
            self._seen = sampling, _seen(sampling, self.prompt, self.output)
        seen = self._seen[1]
        if path := self.path(row):
            seen = _grown(seen, _seen(sampling, (), path))
        return _edits(logits_at, sampling, seen, self.eos_tokens)

    def mask(self, row: int, vocab_size: int) -> npt.NDArray[np.bool_] | None:
        """Which tokens ``allowed`` lets follow at row ``row``, bool (V,); None: all of them.

        TypeError or ValueError for what is no such mask, or one without a token.
        """
        found = None if self.allowed is None else self.allowed((*self.output, *self.path(row)))
        if found is None:
            return None
        mask = np.asarray(found)
        if mask.dtype != np.bool_ or mask.shape != (vocab_size,):
            raise ValueError(f"a mask must be bool {(vocab_size,)}, got {mask.dtype} {mask.shape}")
        if not mask.any():
            raise ValueError("a mask must allow a token: let the text end where nothing may follow")
        return mask


_NOTHING = Seen(np.empty(0, np.int64), np.empty(0, np.int64))


def _seen(sampling: Sampling, prompt: Sequence[int], output: Sequence[int]) -> Seen:
    """What the penalties in force look at."""
    repeats = sampling.repetition_penalty != 1
    if not repeats and sampling.presence_penalty == 0 and sampling.frequency_penalty == 0:
        return _NOTHING
    ids, counts = np.unique(np.asarray(output, np.int64), return_counts=True)
    found = Seen(ids, counts.astype(np.int64))
    if not repeats or not len(prompt):
        return found
    before = np.unique(np.asarray(prompt, np.int64))
    return _grown(Seen(before, np.zeros(len(before), np.int64)), found)


def _grown(seen: Seen, more: Seen) -> Seen:
    """Both together, times added."""
    at = np.searchsorted(seen.ids, more.ids)
    there = seen.ids.take(at, mode="clip") == more.ids if len(seen.ids) else np.zeros(len(at), np.bool_)
    counts = seen.counts.copy()
    counts[at[there]] += more.counts[there]
    fresh = ~there
    return Seen(np.insert(seen.ids, at[fresh], more.ids[fresh]), np.insert(counts, at[fresh], more.counts[fresh]))


@quiet
def _edits(logits_at: LogitsAt, sampling: Sampling, seen: Seen, eos_tokens: Sequence[int]) -> Edits:
    biased = np.array([token for token, _ in sampling.logit_bias], np.int64)
    never = np.array([*sampling.suppress_tokens, *(eos_tokens if sampling.ignore_eos else ())], np.int64)
    ids = seen.ids
    if len(biased) or len(never):
        ids = np.unique(np.concatenate([ids, biased, never]))
    if not len(ids):
        return Edits(np.empty(0, np.int32), np.empty(0))
    scores = np.array(logits_at(ids), np.float64)
    scores[np.searchsorted(ids, biased)] += [bias for _, bias in sampling.logit_bias]
    at = np.searchsorted(ids, seen.ids)
    found = scores[at]
    if (penalty := sampling.repetition_penalty) != 1:
        found = np.where(found < 0, found * penalty, found / penalty)
    # In this order, each step rounded: two implementations then have the same bits.
    found = found - sampling.frequency_penalty * seen.counts
    scores[at] = found - sampling.presence_penalty * (seen.counts > 0)
    scores[np.searchsorted(ids, never)] = -np.inf
    return Edits(ids.astype(np.int32), scores)
