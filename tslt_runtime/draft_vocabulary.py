"""What a device says of its tokens in the handshake, and what it makes of the edge's answer.

Spec section 7.9.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.engines.protocol import DraftText
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.mapped_text import MappedText, Reading, nothing
from tslt_runtime.other_tokenizer import map_between, reading_between
from tslt_runtime.token_map import TokenMap, same_ids
from tslt_runtime.token_names import in_words, named
from tslt_runtime.tokenizer import Tokenizer, tokenizer_of
from tslt_wire.messages.token_sample import first_difference

log = logging.getLogger("tslt.device")


class DraftVocabulary:
    """The tokens of a draft model, and which of a target's they are."""

    def __init__(self, tokenizer: Any, *, vocab_size: int, target_tokenizer: Any = None) -> None:
        """``tokenizer``: the draft model's, see ``tokenizer_of``; ``vocab_size``: its logits.

        ``target_tokenizer``: the target's, for a draft model with another one; also for one whose tokenizer begins
        texts otherwise.  Raises VocabularyMismatch for a tokenizer of another model, or two that have no token in
        common.
        """
        own = tokenizer_of(tokenizer)
        self.tokenizer: Tokenizer = own if target_tokenizer is None else tokenizer_of(target_tokenizer)
        """What texts are cut by, and made of tokens."""
        self.facts = vocabulary_of(own, vocab_size=vocab_size)
        """What HELLO says."""
        self.token_map: TokenMap | None = None
        """From the target's tokens to the draft's; None: they have one tokenizer, but for special tokens."""
        self._start = next(iter(self.facts.begins), 0)
        self._reading: Reading = nothing
        if target_tokenizer is not None:
            self._draft_for(own, vocab_size)
        self._names = dict(self.facts.others)

    def _draft_for(self, own: Tokenizer, vocab_size: int) -> None:
        """Take the tokens of ``tokenizer`` for those of HELLO."""
        theirs = vocabulary_of(self.tokenizer)
        if theirs.fingerprint == self.facts.fingerprint:
            self.facts = replace(self.facts, begins=theirs.begins)
            return
        size = theirs.vocab_size
        self.token_map = map_between(self.tokenizer, own, vocab_size=size, draft_size=vocab_size)
        self.facts, self._reading = theirs, reading_between(self.tokenizer, own)

    def text_for(self, text: DraftText, fit: tw.Fit, edge: tw.Welcome | tw.EdgeSettings) -> DraftText:
        """``text`` in the tokens of the edge's target; logs those that are never drafted."""
        if self.token_map is not None:
            resized = self.token_map.resized(edge.vocab_size)
            self._tell("other tokenizer", resized)
            return MappedText(text, resized, reading=self._reading, start=self._start)
        if fit is tw.Fit.SAME:
            return text
        without = self._names if fit is tw.Fit.RENAMED else ()
        token_map = same_ids(text.vocab_size, edge.vocab_size, without=without)
        self._tell(f"{fit.value} vocabulary", token_map)
        return MappedText(text, token_map)

    def explained(self, refused: EdgeError) -> EdgeError:
        """An edge's refusal of this vocabulary, with the first of the tokens it told that are others here."""
        own = {token: text for text, token in self.tokenizer.get_vocab().items()}
        found = first_difference(refused.tokens, own)
        if found is None:
            where = f"the {len(refused.tokens)} tokens that it told are the same here, others are not"
        else:
            token, theirs, mine = found
            here = "no token here" if mine is None else f"{printable(mine)!r} here"
            where = f"of the tokens it told {token} is the first that differs: {printable(theirs)!r} there, {here}"
        error = EdgeError(f"{refused} (--target-tokenizer PATH); {where}")
        error.code, error.tokens = refused.code, refused.tokens
        return error

    def compare_begins(self, welcome: tw.Welcome) -> None:
        """Warn if texts of this tokenizer begin otherwise than the target's do."""
        ours, theirs = self.facts.begins, welcome.begins
        if theirs is None or theirs == ours:
            return
        log.warning(
            "texts begin with %s by the draft's tokenizer, with %s by that of the target (%s), which so reads another "
            "text than it expects: let the target's tokenizer cut the prompt (--target-tokenizer)",
            self._in_words(ours),
            self._in_words(theirs),
            printable(welcome.model),
        )

    def _in_words(self, tokens: tuple[int, ...]) -> str:
        return " ".join(named(token, self._names.get(token, "")) for token in tokens) or "no token"

    def _tell(self, which: str, token_map: TokenMap) -> None:
        never = token_map.never.tolist()
        if not never:
            return
        some = in_words(((token, self._names.get(token, "")) for token in never), len(never))
        log.info(
            "%s: %d of %d tokens are never drafted: %s",
            which,
            len(never),
            token_map.vocab_size,
            some,
        )
