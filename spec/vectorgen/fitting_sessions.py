"""Cases of sessions.json about vocabularies that fit: padded outputs, special tokens of other names, and what does not.

Spec sections 7.2, 7.3 and 7.9.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tslt_wire as tw
from spec.vectorgen.recorded_sessions import EDGE, HELLO, Recorded, V
from tslt_wire.frames.codec import HANDSHAKE_PROFILE

ORDINARY = bytes(range(64, 96))
OTHER = bytes(32)
FITTING = replace(EDGE, ordinary=ORDINARY, begins=(1,))
"""An edge that says which of its tokens are ordinary, and how a text begins."""
NAMED = replace(HELLO, ordinary=ORDINARY)


def fittings() -> list[Recorded]:
    """[FIT-1], [FIT-2], [FIT-4], [HELLO-6], [WELCOME-2] and [WELCOME-3], at ``FITTING``."""
    found = []
    fits: tuple[tuple[str, str, tw.Hello], ...] = (
        ("same", "the same vocabulary, of a device that says nothing of ordinary tokens", HELLO),
        ("padded", "the draft's output has one token more", replace(NAMED, vocab_size=V + 1)),
        ("narrow", "the draft's output has fewer tokens: the ids on the wire are the target's", _narrow()),
        ("renamed", "other special tokens, the same ordinary ones", replace(NAMED, tokenizer=OTHER)),
        ("renamed-padded", "and one token more", replace(NAMED, tokenizer=OTHER, vocab_size=V + 1)),
        ("map", "the target's tokenizer, by a map", replace(NAMED, token_map=OTHER)),
    )
    for label, note, hello in fits:
        talk = Recorded(f"fit-{label}", note, "vocabulary", hello=hello, edge=FITTING).welcomed()
        found.append(
            talk.prompted((V - 1,)).drafted("match", 2, 5).verdict(0, V - 1).drafted("match", 3).verdict(-1, 0)
        )
    refused: tuple[tuple[str, str, str, Any], ...] = (
        ("tokenizer", "tokenizer_mismatch", "another tokenizer, nothing said of ordinary tokens", {"tokenizer": OTHER}),
        ("ordinary", "tokenizer_mismatch", "other ordinary tokens", {"tokenizer": OTHER, "ordinary": OTHER}),
        ("size", "vocabulary_mismatch", "and another size", {"tokenizer": OTHER, "vocab_size": V + 1}),
        ("beyond", "unsupported", "settings name a token that the target has not",
         {"vocab_size": V + 2, "sampling": tw.SamplingRequest(logit_bias=((V, 1.0),))}),
    )  # fmt: skip
    for label, error, note, changes in refused:
        talk = Recorded(f"fit-no-{label}", note, "vocabulary", hello=replace(HELLO, **changes), edge=FITTING)
        found.append(talk.send("device", error=error).send("edge"))
    found += _forged()
    return found


def _narrow() -> tw.Hello:
    """A draft model with half of the tokens; its settings may name others."""
    return replace(NAMED, vocab_size=V // 2, sampling=tw.SamplingRequest(suppress_tokens=(V - 2,)))


def _forged() -> list[Recorded]:
    """What a device checks of WELCOME."""
    found = []
    for label, error, changes in (
        ("padded", None, {"vocab_size": V + 1}),
        ("renamed", None, {"tokenizer": OTHER}),
        ("ordinary", "tokenizer_mismatch", {"tokenizer": OTHER, "ordinary": OTHER}),
        ("unsaid", "tokenizer_mismatch", {"tokenizer": OTHER, "ordinary": b""}),
        ("size", "vocabulary_mismatch", {"tokenizer": OTHER, "ordinary": OTHER, "vocab_size": V + 1}),
    ):
        given: Any = changes
        talk = Recorded(f"fit-welcome-{label}", "what a device makes of it", "vocabulary", hello=NAMED, edge=FITTING)
        found.append(_answered(talk.send("device"), given, error))
    for label, changes in (
        ("size", {"vocab_size": V + 1}),
        ("tokenizer", {"tokenizer": OTHER}),
        ("ordinary", {"ordinary": OTHER}),
    ):
        given = changes
        note = "an edge with another vocabulary cannot go on with the session"
        talk = Recorded(f"fit-again-{label}", note, "vocabulary", hello=NAMED, edge=FITTING)
        talk.welcomed().prompted().drafted("match", 2).verdict(0, 3).reconnects(kept=False).send("device")
        found.append(_answered(talk, given, "unsupported"))
    return found


def _answered(talk: Recorded, changes: Any, error: str | None) -> Recorded:
    """WELCOME comes with these changes."""
    welcome = tw.decode(talk.edge.data_to_send(), HANDSHAKE_PROFILE)
    if not isinstance(welcome, tw.Welcome):
        raise TypeError("the edge has refused HELLO")
    return talk.forge("edge", replace(welcome, **changes), error)
