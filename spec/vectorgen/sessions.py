"""Cases of sessions.json: what two ends say to each other, and what each of them makes of it.

Spec section 7.7 and what it refers to.  Both ends are the library's; frames that no such end would send are put in
between them, and the error each must give is written down by hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Any

import tslt_wire as tw
from spec.vectorgen.fitting_sessions import FITTING, fittings
from spec.vectorgen.flights import FLYING, alone, flights
from spec.vectorgen.flights import NOTES as IN_FLIGHT
from spec.vectorgen.recorded_sessions import (
    CONTEXT,
    EDGE,
    EOS,
    HELLO,
    KEY,
    LISTS,
    Recorded,
    V,
    evidence_of,
    opened,
    proposals_of,
)
from spec.vectorgen.resumed_sessions import NOTES as RESUMED
from spec.vectorgen.resumed_sessions import resumptions
from spec.vectorgen.session_settings import OWN, asked_settings, told
from spec.vectorgen.tools import Json, list_value, make_list, sampling_value
from tslt_wire.frames.codec import HANDSHAKE_PROFILE

NOTES = {
    "conversation": "all goes well",
    "handshake": "HELLO or WELCOME is refused",
    "log-probs": "answers that say how probable their tokens were",
    "vocabulary": "whether vocabularies fit, and how",
    "sampling": "which sampling settings are in force",
    "prompt": "what an edge checks of a PROMPT, and what a device may send in place of a draft",
    "state": "a frame that the state or the side does not allow",
    "resend": "frames that are lost, sent again or come twice",
    "edge-checks": "what an edge checks of a draft, MORE or LIST",
    "device-checks": "what a device checks of an answer",
    "recovery": "a session is over, and another one goes on with its text",
    **RESUMED,
    **IN_FLIGHT,
}


def build() -> list[Json]:
    """All groups; one for each way in which an edge is set up."""
    few = replace(EDGE, evidence=("list", "scalar"))
    group = [*conversations(), *refused_hellos(), *refused_welcomes(), *prompts(), *wrong_states(), *resends()]
    group += [*checked_by_edges(), *checked_by_devices(), *recoveries(), *resumptions(), *told(), *alone()]
    return [
        _group(EDGE, group),
        _group(few, checked_evidence(few)),
        _group(OWN, asked_settings()),
        _group(FITTING, fittings()),
        _group(FLYING, flights()),
    ]


def _group(edge: tw.EdgeSettings, recorded: list[Recorded]) -> Json:
    names = ("vocab_size", "model", "evidence", "precisions", "entropy", "priors", "eos_tokens", "context")
    settings: Json = {name: getattr(edge, name) for name in names}
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    if edge.sampling.in_force():
        settings["sampling"] = sampling_value(edge.sampling)
    settings |= {"tokenizer": edge.tokenizer.hex(), "limits": asdict(edge.limits), "coupling": KEY.hex()}
    if edge.window > 1:
        settings["window"] = edge.window
    if edge.ordinary:
        settings["ordinary"] = edge.ordinary.hex()
    if edge.begins is not None:
        settings["begins"] = list(edge.begins)
    lists = [{"parent": parent, **list_value(q)} for parent, q in LISTS.items()]
    tests = [test.to_json() for test in recorded]
    return {"edge": settings, "precision": "log2/1", "lists": lists, "tests": tests}


# ---------------------------------------------------------------------------------------------------------- all is well


def conversations() -> list[Recorded]:
    """Each kind of evidence once, and the ends of texts and sessions."""
    found = []
    for name in ("list", "match", "coupled"):
        talk = opened(name, f"two rounds of {name}, the end of the text, another text, BYE", "conversation")
        talk.drafted(name, 1, 2).verdict(0, 7).drafted(name, 2).verdict(-1, EOS).prompted((5,), keep=2)
        talk.drafted(name).verdict(-1, 0)
        talk.device.close()
        found.append(talk.send("device"))
    talk = opened(
        "scalar", "proposals, of which the second batch fits; the next draft names the choice", "conversation"
    )
    talk.drafted("scalar", 1, 3, 4).proposals(0, 5, 6).more().proposals(0, 7, 8, batch=1).take(1)
    found.append(talk.drafted("scalar", 2).verdict(0, 3))
    for name in ("list", "match", "coupled", "lazy"):
        talk = opened(f"scalar-{name}", f"the draft that names the choice is of evidence {name}", "conversation")
        found.append(talk.drafted("scalar", 1).proposals(-1, 5).take(0).drafted(name, 1, 2).verdict(1, 3))
    talk = opened("scalar-end", "the proposal that is taken ends the text: PROMPT follows", "conversation")
    talk.drafted("scalar", 1).proposals(-1, 5, EOS).take(1).prompted((6,), keep=3)
    found.append(talk)
    talk = opened("lazy", "a list is asked for", "conversation")
    talk.drafted("lazy", 1, 2, 4).asked(0).listed().verdict(0, 8).drafted("lazy", 2).verdict(0, 1)
    found.append(talk)
    talk = opened("early-end", "an accepted token ends the text: the verdict stops there", "conversation")
    talk.drafted("list", EOS).verdict(0, 3)
    found.append(talk)
    talk = opened(
        "edge-leaves", "BYE of the edge while a draft is open; what comes after it is ignored", "conversation"
    )
    talk.drafted("match", 2)
    talk.edge.close()
    found.append(talk.send("edge").forge("edge", tw.Verdict(round=0, node=-1, token=1)))
    return found


# ------------------------------------------------------------------------------------------------------------ handshake


def refused_hellos() -> list[Recorded]:
    """[WELCOME-2]"""
    found = []
    for label, error, changes in (
        ("version", "version_mismatch", {"min_version": 2, "max_version": 3, "vocab_size": V + 1}),
        ("vocabulary", "vocabulary_mismatch", {"vocab_size": V + 1, "tokenizer": bytes(32)}),
        ("tokenizer", "tokenizer_mismatch", {"tokenizer": bytes(32)}),
        ("precision", "unsupported", {"precisions": ("f16",)}),
    ):
        hello: Any = changes
        talk = Recorded(f"hello-{label}", f"{label}: no WELCOME, an ERROR", "handshake", hello=replace(HELLO, **hello))
        found.append(talk.send("device", error=error).send("edge"))
    for label, changes in (
        ("evidence", {"evidence": ("x-mine",)}),
        ("entropy", {"entropy": ("x-mine",)}),
        ("prior", {"priors": ("density",)}),
    ):
        hello = changes
        talk = Recorded(f"hello-{label}", f"no {label} in common", "handshake")
        found.append(talk.forge("device", replace(HELLO, **hello), "unsupported"))
    talk = Recorded("hello-later", "names, fields and versions that are not known are ignored", "handshake")
    later = replace(HELLO, max_version=9, evidence=("x-mine", "list"), entropy=("x-mine", "none"), extra={"later": 1})
    found.append(talk.forge("device", later))
    return found


def refused_welcomes() -> list[Recorded]:
    """[WELCOME-3]: each is wrong in one thing, and in all that are checked after it."""
    wrong: list[tuple[str, Any, str]] = [
        ("transcript", bytes(16), "transcript_mismatch"),
        ("version", 2, "version_mismatch"),
        ("vocab_size", V + 1, "vocabulary_mismatch"),
        ("tokenizer", bytes(32), "tokenizer_mismatch"),
        ("evidence", ("x-mine",), "unsupported"),
    ]
    found = []
    for i, (name, _, error) in enumerate(wrong):
        talk, welcome = _greeted(f"welcome-{name}", f"another {name}, and all that follows it")
        later = {later: value for later, value, _ in wrong[i:]}
        found.append(talk.forge("edge", replace(welcome, **later), error))
    for label, changes in (
        ("no-evidence", {"evidence": ()}),
        ("precision", {"precisions": ("log2/1", "bf16")}),
        ("entropy", {"entropy": "zstd"}),
        ("prior", {"prior": "density"}),
        ("no-key", {"coupling": b""}),
        ("key", {"evidence": ("list",)}),
    ):
        given: Any = changes
        talk, welcome = _greeted(f"welcome-{label}", "not what was offered, or a key that does not go with it")
        found.append(talk.forge("edge", replace(welcome, **given), "unsupported"))
    return found


def _greeted(id_: str, comment: str) -> tuple[Recorded, tw.Welcome]:
    """After HELLO, with the WELCOME that would be right."""
    talk = Recorded(id_, comment, "handshake").send("device")
    welcome = tw.decode(talk.edge.data_to_send(), HANDSHAKE_PROFILE)
    if not isinstance(welcome, tw.Welcome):
        raise TypeError("the edge has refused HELLO")
    return talk, welcome


# -------------------------------------------------------------------------------------------------------------- prompts


def prompts() -> list[Recorded]:
    """[PROMPT-3], [PROMPT-4], [PROP-7]"""
    found = []
    for label, changes, error in (
        ("transcript", {"transcript": bytes(8), "keep": 9}, "transcript_mismatch"),
        ("epoch", {"epoch": 3, "keep": 3, "tokens": (1,) * (CONTEXT - 2)}, "desynchronised"),
        ("keep", {"keep": 4, "tokens": (1,) * CONTEXT}, "desynchronised"),
        ("context", {"keep": 3, "tokens": (1,) * (CONTEXT - 2)}, "context_full"),
        ("none", {"keep": 0, "tokens": ()}, "protocol_violation"),
    ):
        talk = opened(f"prompt-{label}", f"PROMPT: {label}", "prompt")
        right = tw.Prompt(tokens=(1,), epoch=2, keep=0, transcript=transcript_of(talk))
        given: Any = changes
        found.append(talk.forge("device", replace(right, **given), error))
    talk = opened("prompt-full", "as many tokens as the context has", "prompt").prompted((1,) * (CONTEXT - 3), keep=3)
    found.append(talk.prompted((), keep=2))
    talk = opened(
        "prompt-choice", "PROMPT before the choice was named: keep counts without it, and it is sent", "prompt"
    )
    talk.drafted("scalar", 1, 3).proposals(0, 5, 6).take(1).prompted((7,), keep=5)
    found.append(talk.drafted("match", 2).verdict(0, 3))
    talk = opened("prompt-choice-dropped", "the same, and the choice is not kept", "prompt")
    found.append(talk.drafted("scalar", 1).proposals(-1, 5).take(0).prompted((7, 8), keep=2))
    talk = opened(
        "prompt-choice-kept", "the same with keep that counts the choice: the edge has not its token", "prompt"
    )
    talk.drafted("scalar", 1).proposals(-1, 5).take(0)
    prompt = tw.Prompt(tokens=(7,), epoch=2, keep=4, transcript=transcript_of(talk))
    found.append(talk.forge("device", prompt, "desynchronised"))
    talk = opened("prompt-proposed", "another text in the place of a choice", "prompt")
    found.append(
        talk.drafted("scalar", 1).proposals(-1, 5).prompted((2,), new_text=True).drafted("list", 1).verdict(0, 2)
    )
    talk = opened("prompt-open", "PROMPT while a draft is open", "prompt").drafted("match", 2)
    prompt = tw.Prompt(tokens=(7,), epoch=2, keep=0, transcript=transcript_of(talk))
    found.append(talk.forge("device", prompt, "protocol_violation"))
    talk = opened("prompt-again", "PROMPT comes again, in each state: no second text, and no error", "prompt")
    talk.again(2).prompted((7,)).again(2).again(4).drafted("scalar", 1).again(4).proposals(-1, 5).again(4)
    talk.take(0).drafted("match", 2).again(2).verdict(0, EOS).again(4)
    old = tw.Prompt(tokens=(9,), epoch=1, transcript=transcript_of(talk))
    found.append(talk.forge("device", old).prompted((6,)).again(2))
    talk = opened("prompt-other-again", "an old epoch, but another handshake", "prompt")
    other = tw.Prompt(tokens=(9,), epoch=1, transcript=bytes(8))
    found.append(talk.forge("device", other, "transcript_mismatch"))
    return found


def transcript_of(talk: Recorded) -> bytes:
    """What PROMPT has."""
    return hashlib.sha256(talk.frames[0] + talk.frames[1]).digest()[:8]


# --------------------------------------------------------------------------------------------------------------- states


def draft_of(name: str, talk: Recorded, *tokens: int, **changes: Any) -> tw.Draft:
    """The draft that would be right next, less ``changes``; tokens that no list has come from other lists."""
    prefix = talk.edge.prefix
    fields: Json = {"round": talk.edge.round, "prefix_length": len(prefix), "prefix_hash": tw.prefix_hash(prefix)}
    evidence = changes.pop("evidence", None) or evidence_of(name, tokens)
    return tw.Draft(**(fields | changes), tree=tw.TokenTree.chain(tokens), evidence=evidence)


def wrong_states() -> list[Recorded]:
    """[STATE-1], [STATE-2]"""
    profile = tw.Profile(vocab_size=V, entropy="range")
    early: dict[str, tw.Message] = {
        "prompt": tw.Prompt(tokens=(1,), keep=0, transcript=bytes(8)),
        "match": tw.Draft(
            round=0, prefix_length=0, prefix_hash=0, tree=tw.TokenTree.chain([1]), evidence=tw.MatchEvidence()
        ),
        "more": tw.More(round=0, batch=1),
        "verdict": tw.Verdict(round=0, node=-1, token=1),
    }
    found = []
    for name, message in early.items():
        talk = Recorded(f"start-{name}", f"{name} before HELLO: the kind alone says it", "state")
        error = "protocol_violation" if name == "verdict" else "unknown_session"
        found.append(talk.forge("device", tw.encode(message, profile)[:2], error))
        talk = Recorded(f"greeted-{name}", f"{name} in the place of WELCOME", "state").send("device")
        found.append(talk.forge("edge", tw.encode(message, profile), "protocol_violation"))
    found.append(Recorded("start-empty", "no bytes before HELLO", "state").forge("device", b"", "truncated"))
    talk = Recorded("greeted-empty", "no bytes in the place of WELCOME", "state").send("device")
    found.append(talk.forge("edge", b"", "truncated"))
    talk = opened("idle-empty", "no bytes from the device", "state")
    found.append(talk.forge("device", b"", "truncated").send("edge"))
    talk = opened("open-empty", "no bytes in the place of a verdict", "state").drafted("match", 2)
    found.append(talk.forge("edge", b"", "truncated").send("device"))
    talk = Recorded("ready-draft", "a draft before PROMPT", "state").welcomed()
    found.append(talk.forge("device", draft_of("match", talk, 1), "protocol_violation"))
    talk = opened("second-hello", "HELLO in a session", "state")
    found.append(talk.forge("device", HELLO, "protocol_violation"))
    talk = opened("idle-verdict", "a verdict of the expected round without a draft", "state")
    found.append(talk.forge("edge", tw.Verdict(round=0, node=-1, token=1), "protocol_violation"))
    talk = opened("side", "a verdict of the device", "state").drafted("match", 2)
    found.append(talk.forge("device", tw.Verdict(round=0, node=-1, token=1), "protocol_violation"))
    answered: tuple[tuple[str, tuple[tw.Answer, ...]], ...] = (
        ("list", (proposals_of(0, -1, 5), tw.AskList(round=0, node=-1))),
        ("scalar", (tw.AskList(round=0, node=-1),)),
        ("lazy", (proposals_of(0, -1, 5),)),
    )
    for name, answers in answered:
        for i, answer in enumerate(answers):
            talk = opened(f"answer-{name}-{i}", f"what does not answer {name}", "state").drafted(name, 1)
            found.append(talk.forge("edge", answer, "protocol_violation"))
    talk = opened("answer-more", "a verdict in answer to MORE", "state").drafted("scalar", 1).proposals(-1, 5).more()
    talk.forge("edge", tw.Verdict(round=0, node=-1, token=1))  # [STATE-6]: old news
    found.append(talk.proposals(-1, 6, batch=1))
    talk = opened("asked-more", "MORE where a list was asked for", "state").drafted("lazy", 1).asked(-1)
    found.append(talk.forge("device", tw.More(round=0, batch=1), "protocol_violation"))
    talk = opened("ended-draft", "a draft after the end of the text", "state").drafted("match", 2).verdict(-1, EOS)
    found.append(talk.forge("device", draft_of("match", talk, 1), "protocol_violation"))
    talk = opened("damaged", "a frame that does not decode is refused; then all is ignored", "state").drafted(
        "match", 2
    )
    damaged = bytes([talk.frames[-1][0], 1, *talk.frames[-1][2:]])
    talk.forge("device", damaged, "bad_checksum").send("edge").again(3)
    found.append(talk.forge("edge", tw.Verdict(round=0, node=-1, token=1)))
    return found


# -------------------------------------------------------------------------------------------------------------- resends


def resends() -> list[Recorded]:
    """[STATE-5], [STATE-6]"""
    found = []
    talk = opened("draft-lost", "a draft is lost, and sent again", "resend").drafted("match", 2, lost=True).again(3)
    found.append(talk.again(3).verdict(0, 3))
    talk = opened("verdict-lost", "a verdict is lost: the draft again, the same verdict again, twice", "resend")
    talk.drafted("list", 1).verdict(0, 3, lost=True).again(3).again(4).again(4).drafted("list", 2).again(3).again(4)
    found.append(talk.verdict(0, 3).again(3))
    talk = opened("other-bytes", "another draft of a round that is over is ignored", "resend").drafted("match", 2)
    talk.verdict(-1, 3)
    found.append(talk.forge("device", draft_of("match", talk, 5, round=0, prefix_length=3)))
    talk = opened("proposals-lost", "proposals, and those of a second batch, are lost", "resend")
    talk.drafted("scalar", 1).proposals(-1, 5, lost=True).again(3).again(4).more().proposals(-1, 6, batch=1, lost=True)
    talk.again(7).again(8).again(4).take(0).drafted("scalar", 2).again(7).again(8)
    found.append(talk.verdict(0, 3))
    talk = opened("list-lost", "the edge's question, the list and the verdict are lost in turn", "resend")
    talk.drafted("lazy", 1).asked(-1, lost=True).again(3).again(4).listed(lost=True).again(4)
    talk.again(7).verdict(-1, 6, lost=True).again(3).again(7).again(10).drafted("lazy", 1).again(4)
    found.append(talk.verdict(0, 2))
    talk = opened("after-prompt", "what belongs to the text before is ignored on both sides", "resend")
    talk.drafted("scalar", 1).proposals(-1, 5).prompted((2,), new_text=True)
    found.append(talk.again(4).again(3).drafted("match", 2).again(4).verdict(0, 2))
    return found


# --------------------------------------------------------------------------------------------------------------- checks


def checked_by_edges() -> list[Recorded]:
    """[STATE-7], [LAZY-3]"""
    choice = (tw.Extension(1, b"\0"),)
    found = []

    def refused(label: str, comment: str, error: str, name: str = "match", **changes: Any) -> None:
        talk = opened(f"draft-{label}", comment, "edge-checks")
        tokens = changes.pop("tokens", (2,) if name == "match" else (1,))
        found.append(talk.forge("device", draft_of(name, talk, *tokens, **changes), error))

    refused("round", "a round too far, and another prefix", "desynchronised", round=1, prefix_length=9)
    refused("choice", "a choice without proposals", "desynchronised", extensions=choice)
    refused("length", "another length of the prefix", "desynchronised", prefix_length=4)
    refused("hash", "another hash of the prefix", "desynchronised", prefix_hash=1)
    refused("depth", "more tokens than the context has", "context_full", tokens=(2,) * (CONTEXT - 2))
    half = {-1: make_list(V, "f16", [1, 2], [0, 0x8400])}
    refused("precision", "a precision that WELCOME did not name", "unsupported", "list", evidence=tw.ListEvidence(half))
    for label, extensions, error in (
        ("no-choice", (), "desynchronised"),
        ("choice-behind", (tw.Extension(1, b"\2"),), "desynchronised"),
        ("choice-ends", (tw.Extension(1, b"\1"),), "protocol_violation"),
        ("choice-without-token", choice, "desynchronised"),
    ):
        talk = opened(f"draft-{label}", "proposals 5 and the end of the text", "edge-checks")
        talk.drafted("scalar", 1).proposals(-1, 5, EOS)
        found.append(talk.forge("device", draft_of("match", talk, 2, extensions=extensions), error))
    for label, more in (("batch", tw.More(round=0, batch=2)), ("round", tw.More(round=1, batch=1))):
        talk = opened(f"more-{label}", f"MORE of another {label}", "edge-checks").drafted("scalar", 1).proposals(-1, 5)
        found.append(talk.forge("device", more, "desynchronised"))
    other, none = make_list(V, "log2/1", [1, 2], [0, 0]), make_list(V, "log2/1", [2, 5], [0, 0])
    for label, reply, error in (
        ("round", tw.ListReply(round=1, q=half[-1]), "desynchronised"),
        ("precision", tw.ListReply(round=0, q=half[-1]), "unsupported"),
        ("code", tw.ListReply(round=0, q=other), "protocol_violation"),
        ("zero", tw.ListReply(round=0, q=none), "protocol_violation"),
    ):
        talk = opened(f"list-{label}", f"LIST: {label}", "edge-checks").drafted("lazy", 1).asked(-1)
        found.append(talk.forge("device", reply, error))
    return found


def checked_evidence(edge: tw.EdgeSettings) -> list[Recorded]:
    """An edge that takes two kinds of evidence: no key, and other drafts are refused."""
    talk = Recorded("few", "evidence that WELCOME did not name", "edge-checks", edge=edge).welcomed().prompted()
    talk.drafted("list", 1).verdict(0, 2)
    return [talk.forge("device", draft_of("match", talk, 2), "unsupported")]


def checked_by_devices() -> list[Recorded]:
    """[STATE-8]"""
    found = []
    for name, label, answer in (
        ("list", "round", tw.Verdict(round=1, node=-1, token=1)),
        ("list", "node", tw.Verdict(round=0, node=1, token=1)),
        ("scalar", "proposals-round", proposals_of(1, -1, 5)),
        ("scalar", "proposals-batch", proposals_of(0, -1, 5, batch=1)),
        ("scalar", "proposals-node", proposals_of(0, 0, 5)),
        ("lazy", "ask-round", tw.AskList(round=1, node=-1)),
        ("lazy", "ask-node", tw.AskList(round=0, node=0)),
    ):
        talk = opened(f"device-{label}", f"{label} of an answer to a draft of one node", "device-checks")
        found.append(talk.drafted(name, 1).forge("edge", answer, "desynchronised"))
    talk = opened("device-other-node", "a second batch after another node", "device-checks").drafted("scalar", 1, 3)
    talk.proposals(-1, 5).more()
    found.append(talk.forge("edge", proposals_of(0, 0, 5, batch=1), "desynchronised"))
    talk = opened("device-batch", "a batch too far", "device-checks").drafted("scalar", 1).proposals(-1, 5).more()
    found.append(talk.forge("edge", proposals_of(0, -1, 5, batch=2), "desynchronised"))
    return found


def recoveries() -> list[Recorded]:
    """[STATE-2]: an edge that has forgotten the session, and the session after it; an ERROR is not answered."""
    talk = Recorded("forgotten", "an edge that was restarted: the device had a session", "recovery")
    frame = tw.encode(draft_of("match", talk, 2, round=7), tw.Profile(vocab_size=V, entropy="range"))
    talk.forge("device", frame, "unknown_session").send("edge")
    again = Recorded("goes-on", "a new session, with the whole text in its PROMPT, from round 0", "recovery")
    again.welcomed().prompted((3, 1, 4, 1, 7)).drafted("list", 1).verdict(0, 2)
    over = opened("overloaded", "an ERROR of the edge ends the session, and is not answered", "recovery")
    over.drafted("match", 2)
    over.edge.fail(tw.ErrorCode.OVERLOADED, "later")
    over.send("edge").again(3)
    over.forge("edge", tw.Verdict(round=0, node=-1, token=1))
    away = opened("going-away", "an edge that ends, and says when to come back", "recovery").drafted("match", 2)
    away.verdict(0, 2)
    away.edge.fail(tw.ErrorCode.GOING_AWAY, "", retry_after_s=1.5)
    away.send("edge")
    mine = opened("device-fails", "an ERROR of the device", "recovery").drafted("match", 2)
    mine.device.fail(tw.ErrorCode.INTERNAL, "")
    return [talk, again, over, away, mine.send("device")]
