"""What a device says of its tokens in the handshake, and what it makes of the edge's answer.

Spec section 7.9.
"""

from __future__ import annotations

import logging
from typing import Any

from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.engines.protocol import DraftText
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.mapped_text import MappedText
from tslt_runtime.token_map import TokenMap, same_ids
from tslt_runtime.token_names import in_words, named

log = logging.getLogger("tslt.device")


class DraftVocabulary:
    """The tokens of a draft model, and which of a target's they are."""

    def __init__(self, tokenizer: Any, *, vocab_size: int) -> None:
        """``tokenizer``: the draft model's, see ``tokenizer_of``; ``vocab_size``: its logits.

        Raises VocabularyMismatch for a tokenizer of another model.
        """
        self.facts = vocabulary_of(tokenizer, vocab_size=vocab_size)
        """What HELLO says."""
        self._names = dict(self.facts.others)

    def text_for(self, text: DraftText, fit: tw.Fit, welcome: tw.Welcome) -> DraftText:
        """``text`` in the tokens of the edge's target; logs those that are never drafted."""
        if fit is tw.Fit.SAME:
            return text
        without = self._names if fit is tw.Fit.RENAMED else ()
        token_map = same_ids(text.vocab_size, welcome.vocab_size, without=without)
        self._tell(fit, token_map)
        return MappedText(text, token_map)

    def compare_begins(self, welcome: tw.Welcome) -> None:
        """Warn if texts of this tokenizer begin otherwise than the target's do."""
        ours, theirs = self.facts.begins, welcome.begins
        if theirs is None or theirs == ours:
            return
        log.warning(
            "texts begin with %s by the draft's tokenizer, with %s by that of the target (%s), which so reads another "
            "text than it expects: let the target's tokenizer cut the prompt",
            self._in_words(ours),
            self._in_words(theirs),
            printable(welcome.model),
        )

    def _in_words(self, tokens: tuple[int, ...]) -> str:
        return " ".join(named(token, self._names.get(token, "")) for token in tokens) or "no token"

    def _tell(self, fit: tw.Fit, token_map: TokenMap) -> None:
        never = token_map.never.tolist()
        some = in_words(((token, self._names.get(token, "")) for token in never), len(never))
        log.info(
            "%s vocabulary: %d of %d tokens are never drafted: %s",
            fit.value,
            len(never),
            token_map.vocab_size,
            some or "none",
        )
