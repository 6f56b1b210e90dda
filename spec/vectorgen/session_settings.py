"""Cases of sessions.json about what HELLO asks for: sampling settings, log probabilities.

Spec sections 6.2, 7.2 and 7.3.
"""

from __future__ import annotations

from dataclasses import replace

import tslt_wire as tw
from spec.vectorgen.recorded_sessions import EDGE, EOS, HELLO, Recorded, V, opened, proposals_of
from tslt_wire.frames.codec import HANDSHAKE_PROFILE

OWN = replace(EDGE, sampling=tw.Sampling(repetition_penalty=1.05, top_k=7, suppress_tokens=(0,)))
"""An edge whose target has settings of its own."""


def asked_settings() -> list[Recorded]:
    """[HELLO-6], [WELCOME-3], at ``OWN``."""
    found = []
    asked: tuple[tuple[str, str, tw.SamplingRequest | tw.Sampling], ...] = (
        ("own", "HELLO names nothing: the target's own", tw.SamplingRequest()),
        ("some", "HELLO names some", tw.SamplingRequest(temperature=0.5, top_k=3)),
        ("neutral", "HELLO names all, neutral: nothing is the target's own", tw.Sampling()),
        ("list", "another list of tokens takes the place of the target's", tw.SamplingRequest(suppress_tokens=(1, 2))),
    )
    for label, note, settings in asked:
        talk = Recorded(f"settings-{label}", note, "sampling", hello=replace(HELLO, sampling=settings), edge=OWN)
        found.append(talk.welcomed().prompted().drafted("match", 2).verdict(0, 3))
    others = tuple(token for token in range(V) if token != EOS)
    for label, note, request in (
        ("unknown", "a setting that no edge of version 1 has", tw.SamplingRequest(extra={"typical_p": 0.9})),
        ("all", "every token is suppressed", tw.SamplingRequest(suppress_tokens=tuple(range(V)))),
        ("all-but-end", "and the end's", tw.SamplingRequest(suppress_tokens=others, ignore_eos=True)),
    ):
        talk = Recorded(f"settings-{label}", note, "sampling", hello=replace(HELLO, sampling=request), edge=OWN)
        found.append(talk.send("device", error="unsupported").send("edge"))
    hello = replace(HELLO, sampling=tw.SamplingRequest(temperature=0.5, presence_penalty=0.0))
    for label, note, forged in (
        ("another", "another temperature than HELLO's", tw.Sampling(temperature=0.75)),
        ("missing", "HELLO's temperature is missing", tw.Sampling(top_k=7)),
        ("more", "a penalty that HELLO says is 0", tw.Sampling(temperature=0.5, presence_penalty=1.0)),
    ):
        talk = Recorded(f"settings-welcome-{label}", note, "sampling", hello=hello, edge=OWN).send("device")
        welcome = tw.decode(talk.edge.data_to_send(), HANDSHAKE_PROFILE)
        if not isinstance(welcome, tw.Welcome):
            raise TypeError("the edge has refused HELLO")
        found.append(talk.forge("edge", replace(welcome, sampling=forged), "unsupported"))
    return found


def _codes(tokens: int) -> tuple[tw.Extension, ...]:
    return (tw.Extension(4, bytes(range(1, 1 + 2 * tokens))),)


def _asking(label: str, comment: str) -> Recorded:
    hello = replace(HELLO, extra={"logprobs": True})
    return Recorded(f"log-probs-{label}", comment, "log-probs", hello=hello).welcomed().prompted()


def told() -> list[Recorded]:
    """log_probs in each answer, and of another number of tokens ([STATE-8])."""
    found = []
    talk = _asking("verdict", "two accepted tokens and one more: three of them").drafted("match", 1, 2)
    found.append(talk.answered(tw.Verdict(round=0, node=1, token=3, extensions=_codes(3))))
    talk = _asking("end", "the verdict is shortened, and they are, too").drafted("match", 1, EOS, 2)
    found.append(talk.answered(tw.Verdict(round=0, node=2, token=3, extensions=_codes(4))))
    talk = _asking("proposals", "those of the path and of the proposals; later ones have no path")
    talk.drafted("scalar", 1, 3)
    talk.answered(replace(proposals_of(0, 0, 5, 6), extensions=_codes(3))).more()
    found.append(talk.answered(replace(proposals_of(0, 0, 7, batch=1), extensions=_codes(1))).take(0))
    talk = _asking("list", "those of the path with the question, then the token's").drafted("lazy", 1, 2)
    talk.answered(tw.AskList(round=0, node=0, extensions=_codes(1))).listed()
    found.append(talk.answered(tw.Verdict(round=0, node=0, token=8, extensions=_codes(1))))
    found.append(_asking("none", "an edge that does not say").drafted("match", 1).verdict(0, 2))
    talk = opened("log-probs-unasked", "unasked: the device takes it", "log-probs").drafted("match", 1)
    found.append(talk.answered(tw.Verdict(round=0, node=0, token=3, extensions=_codes(2))))
    answers: tuple[tuple[str, str, tw.Answer], ...] = (
        ("few", "list", tw.Verdict(round=0, node=0, token=3, extensions=_codes(1))),
        ("many", "list", tw.Verdict(round=0, node=0, token=3, extensions=_codes(3))),
        ("ask-many", "lazy", tw.AskList(round=0, node=-1, extensions=_codes(1))),
        ("proposals-few", "scalar", replace(proposals_of(0, -1, 5, 6), extensions=_codes(1))),
    )
    for label, name, answer in answers:
        talk = _asking(label, "another number of tokens than the answer has").drafted(name, 1)
        found.append(talk.forge("edge", answer, "desynchronised"))
    talk = _asking("batch-many", "a later batch with those of the path").drafted("scalar", 1, 3).proposals(0, 5).more()
    more = replace(proposals_of(0, 0, 7, batch=1), extensions=_codes(2))
    found.append(talk.forge("edge", more, "desynchronised"))
    talk = _asking("list-many", "after the list, with those of the path").drafted("lazy", 1, 2).asked(0).listed()
    last = tw.Verdict(round=0, node=0, token=8, extensions=_codes(2))
    found.append(talk.forge("edge", last, "desynchronised"))
    return found
