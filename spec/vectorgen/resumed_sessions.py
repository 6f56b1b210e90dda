"""Cases of sessions.json: a text that goes on over another link, at the same edge or at another one.

Spec sections 6.9 and 7.8.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tslt_wire as tw
from spec.vectorgen.recorded_sessions import CONTEXT, EDGE, EOS, KEY, OTHER_KEY, Recorded, evidence_of, opened
from tslt_wire.frames.codec import HANDSHAKE_PROFILE
from tslt_wire.messages.draft import prefix_crc

NOTES = {
    "resumption": "another link: what was open goes on",
    "resumption-checks": "what an edge checks of RESUME and the draft after it, and a device of WELCOME and of answers",
}
EVIDENCE = ("list", "match", "coupled", "scalar", "lazy")


def resumptions() -> list[Recorded]:
    """All of them."""
    return [*_open_rounds(), *_rejections(), *_idle(), *_refused_by_edges(), *_refused_by_devices()]


def _text(id_: str, comment: str, flag: str = "resumption") -> Recorded:
    return opened(f"resume-{id_}", comment, flag)


def _open_rounds() -> list[Recorded]:
    found = []
    for name in EVIDENCE:
        talk = _text(f"open-{name}", f"a draft of {name} is lost: the edge has the prefix, and the draft comes again")
        talk.drafted(name, 1, lost=True).reconnects().resumed()
        found.append(talk.verdict(0, 3).drafted(name, 1).verdict(-1, 4))
    for name in EVIDENCE:
        talk = _text(f"forgot-{name}", f"a verdict on {name} is lost, and the edge forgot: all tokens are sent")
        talk.drafted(name, 1).verdict(0, 3, lost=True).reconnects(kept=False).resumed()
        found.append(talk.verdict(0, 3).drafted("match", 2).verdict(0, 5))
    talk = _text("ahead", "a verdict is lost: the edge says what it held at the start of the round")
    talk.drafted("list", 1).verdict(0, 3).drafted("list", 2).verdict(0, 3, lost=True).reconnects().resumed()
    found.append(talk.verdict(0, 3))
    talk = _text("behind", "a verdict arrives, the next draft does not: the edge lacks two tokens")
    talk.drafted("list", 1).verdict(0, 3).drafted("list", 2, lost=True).reconnects().resumed()
    found.append(talk.verdict(-1, 3))
    talk = _text("other-key", "another edge, with another key: the draft is verified with its numbers")
    found.append(talk.drafted("coupled", 1, 2).reconnects(kept=False, key=OTHER_KEY).resumed().verdict(1, 3))
    talk = _text("prompt-lost", "a PROMPT and the draft after it are lost: the edge holds another text")
    talk.prompted((8, 7), lost=True).drafted("match", 2, lost=True)
    found.append(talk.reconnects().resumed().verdict(0, 5))
    talk = _text("twice", "the link breaks again, after WELCOME and after RESUME")
    talk.drafted("lazy", 1).asked(-1).reconnects().send("device").send("edge")
    talk.reconnects(kept=False).resumed().reconnects().resumed()
    found.append(talk.asked(-1).listed().verdict(-1, 6))
    talk = _text("old-draft", "a draft of a round before that of RESUME is old")
    talk.drafted("match", 1).verdict(0, 3).reconnects().resumed(draft=False).again(3)
    found.append(talk.drafted("match", 2).verdict(0, 3))
    return found


def _rejections() -> list[Recorded]:
    found = []
    for kept, at in ((True, "the same edge"), (False, "an edge that forgot")):
        end = "" if kept else "-forgot"
        talk = _text(f"more{end}", f"MORE is lost; {at} answers the draft with the batch that is awaited")
        talk.drafted("scalar", 1, 3, 4).proposals(0, 5, 6).more(lost=True).reconnects(kept=kept).resumed()
        talk.proposals(0, 7, 8, batch=1).more().proposals(0, 6, batch=2).take(0)
        found.append(talk.drafted("match", 2).verdict(0, 3))
        talk = _text(f"asked{end}", f"the link breaks after the question for a list; {at} asks again")
        talk.drafted("lazy", 1, 2, 4).asked(0).reconnects(kept=kept).resumed().asked(0).listed()
        found.append(talk.verdict(0, 8))
        talk = _text(f"listed{end}", f"the verdict on a list is lost; {at} asks again")
        talk.drafted("lazy", 1, 2, 4).asked(0).listed().verdict(0, 8, lost=True)
        found.append(talk.reconnects(kept=kept).resumed().asked(0).listed().verdict(0, 8))
    talk = _text("more-lost-again", "the batch that RESUME asked for is lost: the draft again, the same batch again")
    talk.drafted("scalar", 1).proposals(-1, 5).more(lost=True).reconnects().resumed()
    talk.proposals(-1, 6, batch=1, lost=True).again(10).again(11).take(0)
    found.append(talk.drafted("match", 2).verdict(0, 3))
    talk = _text("proposals-lost", "proposals are lost: nothing is known, and the edge decides as before")
    talk.drafted("scalar", 1).proposals(-1, 5, lost=True).reconnects(kept=False).resumed()
    found.append(talk.proposals(-1, 5).take(0).drafted("match", 2).verdict(0, 3))
    talk = _text("prompt", "another text in place of the draft whose rejection is known")
    talk.drafted("lazy", 1).asked(-1).reconnects().resumed(draft=False)
    prompt = tw.Prompt(tokens=(2,), epoch=2, keep=0, transcript=talk.device._transcript)
    return [*found, talk.forge("device", prompt)]


def _idle() -> list[Recorded]:
    found = []
    talk = _text("idle", "no round is open")
    talk.drafted("list", 1).verdict(0, 3).reconnects().resumed(draft=False)
    found.append(talk.drafted("list", 2).verdict(0, 4))
    talk = _text("choice", "a proposal was taken and not named: RESUME has its token, the draft names nothing")
    talk.drafted("scalar", 1, 3).proposals(0, 5, 6).take(1).reconnects().resumed(draft=False)
    found.append(talk.drafted("match", 2).verdict(0, 4))
    talk = _text("choice-named", "the draft that named it is lost, and comes again without its choice")
    talk.drafted("scalar", 1, 3).proposals(0, 5, 6).take(1).drafted("match", 2, lost=True)
    found.append(talk.reconnects().resumed().verdict(0, 4))
    talk = _text("ended", "the text has ended: PROMPT follows")
    talk.drafted("list", 1).verdict(0, EOS).reconnects().resumed(draft=False)
    found.append(talk.prompted((5,), keep=2).drafted("list", 2).verdict(0, 4))
    talk = _text("closed", "the edge said BYE, the device comes back")
    talk.drafted("match", 2)
    talk.edge.close()
    found.append(talk.send("edge").reconnects().resumed().verdict(0, 4))
    talk = _text("failed", "the edge said ERROR, the device goes on at another one")
    talk.drafted("match", 2)
    talk.edge.fail(tw.ErrorCode.OVERLOADED, "later")
    found.append(talk.send("edge").reconnects(kept=False, key=OTHER_KEY).resumed().verdict(0, 4))
    talk = Recorded("resume-ready", "there is no text yet: nothing to go on with", "resumption").welcomed()
    found.append(talk.reconnects().welcomed().prompted())
    talk = Recorded("resume-greeted", "WELCOME is lost: HELLO again", "resumption").send("device")
    talk.send("edge", lost=True)
    found.append(talk.reconnects(kept=False).welcomed().prompted())
    return found


def _refused_by_edges() -> list[Recorded]:
    """[RESUME-3], [RESUME-4]: each is wrong in one thing, and in what is checked after it."""
    found = []
    prefix = (3, 1, 4)
    right: dict[str, Any] = {"tokens": prefix[2:], "keep": 2, "prefix_crc": prefix_crc(prefix), "prompt_length": 3}
    long = {"tokens": (1,) * CONTEXT, "keep": 2, "prompt_length": 0}
    for label, changes, error in (
        ("transcript", {"transcript": bytes(8), "keep": 9}, "transcript_mismatch"),
        ("keep", {**long, "keep": 4}, "desynchronised"),
        ("context", long, "context_full"),
        ("no-prompt", {"prompt_length": 0, "prefix_crc": 1}, "protocol_violation"),
        ("prompt-length", {"prompt_length": 4, "prefix_crc": 1}, "protocol_violation"),
        ("nothing", {"tokens": (), "keep": 0, "prompt_length": 0}, "protocol_violation"),
        ("hash", {"prefix_crc": prefix_crc(prefix) ^ 1 << 31}, "desynchronised"),
    ):
        talk = _text(f"bad-{label}", f"RESUME: {label}", "resumption-checks").reconnects().send("device").send("edge")
        given: Any = {"round": 0, "epoch": 1, "transcript": talk.device._transcript, **right, **changes}
        found.append(talk.forge("device", tw.Resume(**given), error))
    talk = _text("twice-said", "RESUME of a session that has a prefix", "resumption-checks")
    again: Any = {"round": 0, "transcript": talk.device._transcript, **right}
    found.append(talk.forge("device", tw.Resume(**again), "protocol_violation"))
    for label, back, kept, again in (
        ("back", 1, True, False),
        ("back-far", 0, True, False),
        ("back-twice", 1, True, True),
        ("back-forgot", 0, False, False),
    ):
        talk = _text(label, f"RESUME of round {back} after a draft of round 2", "resumption-checks")
        talk.drafted("match", 1).verdict(-1, 5).drafted("match", 2).verdict(-1, 6).drafted("match", 1)
        if again:
            talk.reconnects().resumed(draft=False)
        talk.reconnects(kept=kept).send("device").send("edge")
        given = {**right, "tokens": prefix, "keep": 0, "round": back, "transcript": talk.device._transcript}
        if kept:
            given["prompt_length"] = 0
        found.append(talk.forge("device", tw.Resume(**given), "desynchronised" if kept else None))
    refused: tuple[tuple[bytes, str | None], ...] = ((KEY, "protocol_violation"), (OTHER_KEY, None))
    for key, found_error in refused:
        talk = _text(f"prompt-for-it-{found_error}", "PROMPT in place of RESUME", "resumption-checks")
        talk.reconnects(kept=False, key=key).send("device").send("edge")
        prompt = tw.Prompt(tokens=(2,), epoch=1, keep=0, transcript=talk.device._transcript)
        found.append(talk.forge("device", prompt, found_error))
    for label, name, rejection in (
        ("batch", "lazy", tw.Rejection(-1, 1)),
        ("no-batch", "scalar", tw.Rejection(-1)),
        ("node", "lazy", tw.Rejection(0)),
        ("kind", "match", tw.Rejection(-1)),
    ):
        comment = f"the draft after RESUME cannot have the rejection: {label}"
        talk = _text(f"bad-rejection-{label}", comment, "resumption-checks").reconnects().send("device").send("edge")
        given = {"round": 4, "transcript": talk.device._transcript, **right, "rejection": rejection}
        talk.forge("device", tw.Resume(**given))
        tree = tw.TokenTree.chain((1,))
        draft = tw.Draft(
            round=4,
            prefix_length=3,
            prefix_hash=tw.prefix_hash(prefix),
            tree=tree,
            evidence=evidence_of(name, (1,)),
        )
        found.append(talk.forge("device", draft, "desynchronised"))
    return found


def _refused_by_devices() -> list[Recorded]:
    """[RESUME-5], [STATE-8]"""
    found = []
    for label, changes in (
        ("ends", {"eos_tokens": (EOS, 2)}),
        ("evidence", {"evidence": ("list",), "coupling": b""}),
        ("context", {"context": 2}),
        ("nodes", {"limits": replace(EDGE.limits, max_nodes=1)}),
        ("prompt", {"limits": replace(EDGE.limits, max_frame_bytes=20)}),
        ("sampling", {"sampling": tw.Sampling(top_k=3)}),
    ):
        talk = _text(f"welcome-{label}", f"an edge at which the text cannot go on: {label}", "resumption-checks")
        talk.drafted("scalar", 1, 2).reconnects(kept=False).send("device")
        welcome = tw.decode(talk.edge.data_to_send(), HANDSHAKE_PROFILE)
        if not isinstance(welcome, tw.Welcome):
            raise TypeError("the edge has refused HELLO")
        given: Any = changes
        found.append(talk.forge("edge", replace(welcome, **given), "unsupported"))
    talk = _text("asks-elsewhere", "a list is asked for after another node than before", "resumption-checks")
    talk.drafted("lazy", 1, 2, 4).asked(0).reconnects().resumed()
    found.append(talk.forge("edge", tw.AskList(round=0, node=-1), "desynchronised"))
    talk = _text("decides-anew", "a verdict on a draft of which the rejection is known", "resumption-checks")
    talk.drafted("lazy", 1, 2, 4).asked(0).reconnects().resumed()
    found.append(talk.forge("edge", tw.Verdict(round=0, node=2, token=3), "desynchronised"))
    talk = _text("proposes-elsewhere", "proposals after another node than before", "resumption-checks")
    talk.drafted("scalar", 1, 3, 4).proposals(0, 5, 6).more(lost=True).reconnects().resumed()
    wrong = tw.Proposals(round=0, node=-1, batch=1, proposals=(tw.Proposal(3, 256),))
    return [*found, talk.forge("edge", wrong, "desynchronised")]
