"""Cases of frames.json and sessions.json for drafts in flight.

Spec section 6.10.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tslt_wire as tw
from spec.vectorgen.recorded_sessions import EDGE, EOS, OTHER_KEY, Recorded, evidence_of
from spec.vectorgen.tools import DRAFT_KINDS, Bits, Group, Json, Refusals, empty_draft, extended, make_list
from tslt_wire.frames.codec import HANDSHAKE_PROFILE

NOTES = {
    "flight": "drafts in flight: they follow each other, and are dropped where one is not accepted whole",
    "resumption-flight": "drafts in flight over another link",
}
WINDOW = 3
FLYING = replace(EDGE, window=WINDOW)
"""An edge that takes three drafts at a time."""


# -------------------------------------------------------------------------------------------------------------- frames


def build_frames() -> list[Json]:
    """Drafts with the extension, and VERDICT_WHOLE."""
    return [_valid().to_json(), *_invalid(), *_handshakes()]


def _valid() -> Group:
    group = Group(tw.Profile(vocab_size=10), tw.decode)

    def accept(name: str, message: tw.Message, note: str, *flags: str) -> None:
        group.accept(f"frame/10/{name}", note, message, *flags)

    one = {-1: make_list(10, "log2/1", [2, 7], [0, 3])}
    for name in DRAFT_KINDS:
        for data in map(bytes.fromhex, ("01", "02", "03", "ff", "0b", "0200", "0301", "fe0001", "02ffffffff")):
            for choice in ((), (tw.Extension(1, b"\1"),)):
                draft = tw.Draft(
                    round=3,
                    prefix_length=5,
                    prefix_hash=0xA990,
                    tree=tw.TokenTree.chain([7]),
                    evidence=evidence_of(name, (7,), one),
                    extensions=(*choice, tw.Extension(3, data)),
                )
                label = f"flight-{name}-{data.hex()}{'-choice' if choice else ''}"
                accept(label, draft, "how it stands among the drafts in flight", "extension")
    for number in (0, 3, 127, 128, (1 << 32) - 1):
        accept(f"whole-{number}", tw.Whole(round=number), "round", "varint")
    told = (tw.Extension(2, b"\x07"), tw.Extension(4, b"\x00\x04\x01\x00"))
    accept("whole-told", tw.Whole(round=1, extensions=told), "verify_time and log_probs", "extension")
    other = (tw.Extension(6, b""), tw.Extension(32, bytes(9)), tw.Extension(34, b"a"))
    accept("whole-ext", tw.Whole(round=1, extensions=other), "others, and padding", "extension")
    return group


def _invalid() -> list[Json]:
    bad = Refusals()
    for name, kind in DRAFT_KINDS.items():
        end = empty_draft(name)
        for size in (0, 6):
            bits = extended(kind, (3, b"\3" * size)).raw(end)
            bad("out_of_range", f"flight-{name}-{size}-bytes", bits, f"{size} bytes for 1 to 5", "extension")
        for data in ("00", "04", "fc", "0001", "0101", "fd00"):
            bits = extended(kind, (3, bytes.fromhex(data))).raw(end)
            note = "neither follows nor goes on" if len(data) == 2 else "names a leaf, and does not go on"
            bad("out_of_range", f"flight-{name}-{data}", bits, note, "extension")
        for data in ("020000", "030100", "010100"):
            bits = extended(kind, (3, bytes.fromhex(data))).raw(end)
            bad("non_canonical", f"flight-{name}-{data}", bits, "a leaf in a byte more than it takes", "extension")
        bits = extended(kind, (3, b"\0"))
        bad("out_of_range", f"flight-{name}-alone", bits, "the same, and no draft", "extension", "order")
        bits = extended(kind, (3, b"\3"), (3, b"\3")).raw(end)
        bad("non_canonical", f"flight-{name}-twice", bits, "twice", "extension")
        bits = extended(kind, (3, b"\3"), (1, b"\0")).raw(end)
        bad("non_canonical", f"flight-{name}-order", bits, "types 3, 1", "extension")
        bits = Bits().put(kind | 0x40, 8).varint(1).varint(3).varint(1)
        bad("truncated", f"flight-{name}-short", bits, "no data", "extension")
    for name, kind in (("verdict", 0x08), ("whole", 0x0B), ("proposals", 0x09), ("ask", 0x0A), ("more", 0x15)):
        bits = extended(kind, (3, b"\3")).raw(bytes(8))
        bad("unknown_critical_extension", f"flight-{name}", bits, "type 3 in another frame", "extension")
    whole = Bits().put(0x0B, 8)
    bad("truncated", "whole-no-round", Bits().put(0x0B, 8), "no round")
    bad("non_canonical", "whole-long-round", Bits().put(0x0B, 8).varint(1, 2), "81 00 for 1", "varint")
    bad("trailing_bytes", "whole-trailing", whole.varint(1).raw(b"\0"), "a byte too many")
    for size, error in ((0, "out_of_range"), (9, "out_of_range")):
        bits = extended(0x0B, (2, b"\1" * size)).varint(1)
        bad(error, f"whole-time-{size}-bytes", bits, "verify_time of a wrong size", "extension")
    bad("non_canonical", "whole-time-long", extended(0x0B, (2, b"\4\0")).varint(1), "4 in two bytes", "extension")
    for size in (0, 1, 3):
        bits = extended(0x0B, (4, bytes(size))).varint(1)
        bad("out_of_range", f"whole-log-probs-{size}-bytes", bits, "log_probs of a wrong size", "extension")
    return bad.to_json()


def _handshakes() -> list[Json]:
    group = Group(HANDSHAKE_PROFILE, tw.decode)
    for label, value in (("2", 2), ("16", 16), ("17", 17), ("1", 1), ("0", 0), ("true", True), ("string", "2")):
        welcome = tw.Welcome(
            version=1, vocab_size=10, tokenizer=bytes(32), transcript=bytes(16), extra={"window": value}
        )
        note = "window, which may have any type"
        group.accept(f"frame/1/welcome-window-{label}", note, welcome, "control")
    return [group.to_json()]


# ------------------------------------------------------------------------------------------------------------ sessions


def flights() -> list[Recorded]:
    """All of them, of the edge ``FLYING``."""
    return [*_conversations(), *_losses(), *_refused(), *_resumed()]


def alone() -> list[Recorded]:
    """Those of an edge that takes one draft at a time."""
    talk = _flying("not-agreed", "a draft that goes on, at an edge that takes one at a time", edge=EDGE)
    draft = _draft(0, talk.edge.prefix, (1,), tw.Flight(goes_on=True, run=0))
    return [talk.forge("device", draft, "protocol_violation")]


def _flying(id_: str, comment: str, flag: str = "flight", edge: tw.EdgeSettings = FLYING) -> Recorded:
    return Recorded(f"flight-{id_}", comment, flag, edge=edge).welcomed().prompted()


def _conversations() -> list[Recorded]:
    found = []
    for name in DRAFT_KINDS:
        talk = _flying(name, f"{name}: three in flight, accepted whole in turn; the token that was left out follows")
        talk.drafted(name, 1, goes_on=True).drafted(name, 2, goes_on=True).drafted(name, 1)
        found.append(talk.whole().whole().verdict(0, 3))
        talk = _flying(f"{name}-late", f"{name}: the next one comes after VERDICT_WHOLE; an empty one ends the run")
        talk.drafted(name, 1, goes_on=True).whole().drafted(name, 2, goes_on=True).whole()
        found.append(talk.drafted(name).verdict(-1, 3))
        talk = _flying(f"{name}-dropped", f"{name}: the first is not accepted whole, and two are dropped")
        talk.drafted(name, 1, 2, goes_on=True).drafted(name, 1, goes_on=True).drafted(name, 2)
        talk.verdict(0, 5).drafted(name, 2, goes_on=True).drafted(name, 1, goes_on=True).whole()
        found.append(talk.verdict(-1, 4))
    for name in ("match", "scalar"):
        talk = _flying(f"{name}-on-its-way", f"{name}: a draft whose ground is gone comes after the verdict")
        talk.drafted(name, 1, goes_on=True).drafted(name, 2, lost=True).verdict(-1, 5)
        found.append(talk.again(4).drafted("list", 2).again(4).verdict(0, 4))
    talk = _flying("kinds", "evidence changes in flight, and what an answer may be with it")
    talk.drafted("scalar", 1, goes_on=True).drafted("lazy", 2, goes_on=True).drafted("match", 2)
    found.append(talk.whole().asked(-1).again(5).listed().verdict(-1, 8).drafted("scalar", 1).proposals(-1, 5))
    talk = _flying("proposed", "proposals: what follows is dropped, before MORE and after it")
    talk.drafted("scalar", 1, 3, goes_on=True).drafted("scalar", 1, goes_on=True).proposals(0, 5).again(4)
    talk.more().again(4).proposals(0, 6, batch=1).take(0).drafted("match", 2, goes_on=True).drafted("match", 7)
    found.append(talk.whole().verdict(0, 2))
    talk = _flying("end", "an accepted token ends the text: a verdict, and what follows is dropped")
    talk.drafted("list", EOS, goes_on=True).drafted("match", 2).verdict(0, 3).again(4).prompted((5,), keep=2)
    found.append(talk.again(4).drafted("match", 2, goes_on=True).verdict(-1, 3))
    talk = _flying("empty", "an empty draft in flight asks for the token that is left out")
    found.append(talk.drafted("match", 1, goes_on=True).drafted("match").whole().verdict(-1, 2))
    for name in ("match", "coupled"):
        talk = _flying(f"tree-{name}", f"{name}: trees in flight, each after the leaf that the one before it names")
        talk.drafted(name, 1, 2, 5, parents=(-1, -1, 1), goes_on=True, leaf=2)
        talk.drafted(name, 3, 6, parents=(-1, -1), goes_on=True, leaf=0).drafted(name, 1, 2, parents=(-1, 0))
        found.append(talk.whole().whole().verdict(1, 3))
        talk = _flying(f"tree-{name}-dropped", f"{name}: accepted down to another leaf; what follows is dropped")
        talk.drafted(name, 1, 2, 5, parents=(-1, -1, 1), goes_on=True, leaf=0)
        talk.drafted(name, 3, 6, parents=(-1, -1), goes_on=True, leaf=1).verdict(2, 4)
        talk.drafted(name, 3, 6, parents=(-1, -1), goes_on=True, leaf=1).drafted(name, 1)
        found.append(talk.verdict(0, 7).drafted(name, 2).verdict(-1, 3))
    talk = _flying("prompt", "another text after VERDICT_WHOLE")
    talk.drafted("match", 1, goes_on=True).drafted("match", 2, lost=True).whole().again(4).verdict(-1, 5)
    found.append(talk.prompted((2,)).drafted("match", 3).verdict(0, 4))
    return found


def _losses() -> list[Recorded]:
    """[FLIGHT-5], [FLIGHT-9]"""
    found = []
    talk = _flying("first-lost", "the first of two is lost: the second has no ground; both again")
    talk.drafted("match", 1, goes_on=True, lost=True).drafted("match", 2, goes_on=True).again(3).again(4)
    found.append(talk.whole().whole().drafted("list", 1).verdict(0, 4))
    talk = _flying("answers-lost", "two answers are lost, then one of them: drafts again, and the same answers again")
    talk.drafted("match", 1, goes_on=True).drafted("match", 2, goes_on=True).drafted("list", 1)
    talk.whole(lost=True).whole(lost=True).verdict(0, 7).again(3).again(4).again(5)
    found.append(talk.again(6).again(7).again(8).drafted("list", 2).verdict(0, 3).again(3))
    talk = _flying("twice", "drafts that wait come twice, and so do their answers")
    talk.drafted("match", 1, goes_on=True).drafted("match", 2, goes_on=True).again(3).again(4).whole().again(3)
    found.append(talk.again(4).again(5).again(7).whole().again(5).again(4).drafted("match", 2).verdict(0, 3))
    talk = _flying("old-run", "a draft of a run that was dropped comes late, where another one begins and goes on")
    talk.drafted("match", 1, 2, goes_on=True).drafted("match", 3, goes_on=True, lost=True)
    talk.drafted("match", 4, lost=True).verdict(0, 2).drafted("match", 3, goes_on=True).whole().again(5).again(4)
    found.append(talk.drafted("match", 4).verdict(0, 5))
    talk = _flying("known", "the last answers are kept as long as the device may not have heard them, and no longer")
    talk.drafted("match", 1, goes_on=True).whole().drafted("match", 2, goes_on=True).again(3).drafted(
        "match", 4, goes_on=True
    )
    found.append(talk.whole().again(5).again(6).drafted("match", 5).whole().again(5).again(6).verdict(0, 2))
    return found


def _refused() -> list[Recorded]:
    """[FLIGHT-2], [FLIGHT-5], [STATE-7], [STATE-8]"""
    found = []
    talk = _flying("too-many", "a fourth draft in flight")
    talk.drafted("match", 1, goes_on=True).drafted("match", 2, goes_on=True).drafted("match", 3, goes_on=True)
    prefix = (*talk.edge.prefix, 1, 2, 3)
    fourth = _draft(3, prefix, (4,), tw.Flight(follows=True, run=0))
    found.append(talk.forge("device", fourth, "protocol_violation"))
    for label, tokens, parents, leaf in (
        ("empty", (), (), None),
        ("empty-named", (), (), 0),
        ("tree", (1, 2), (-1, -1), None),
        ("chain-named", (1, 2), (-1, 0), 1),
        ("inner", (1, 2, 3), (-1, -1, 0), 0),
        ("beyond", (1, 2), (-1, -1), 2),
    ):
        talk = _flying(f"goes-on-{label}", "a draft that goes on, and from no leaf, or names one where it need not")
        draft = _draft(0, talk.edge.prefix, tokens, tw.Flight(goes_on=True, run=0, leaf=leaf), parents)
        found.append(talk.forge("device", draft, "protocol_violation"))
    talk = _flying("open", "a draft that follows none while one is open").drafted("match", 1, goes_on=True)
    draft = _draft(1, (*talk.edge.prefix, 1), (2,), tw.Flight(goes_on=True, run=1))
    found.append(talk.forge("device", draft, "protocol_violation"))
    talk = _flying("prefix", "a draft that follows, and has another prefix: refused when its turn comes")
    talk.drafted("match", 1, goes_on=True).whole()
    draft = _draft(1, (*talk.edge.prefix, 7), (2,), tw.Flight(follows=True, run=0))
    found.append(talk.forge("device", draft, "desynchronised"))
    talk = _flying("whole-alone", "VERDICT_WHOLE to a draft that does not go on").drafted("match", 1)
    found.append(talk.forge("edge", tw.Whole(round=0), "protocol_violation"))
    talk = _flying("whole-round", "VERDICT_WHOLE of another round").drafted("match", 1, goes_on=True)
    found.append(talk.forge("edge", tw.Whole(round=1), "desynchronised"))
    talk = _flying("whole-told", "log probabilities of two tokens of one").drafted("match", 1, goes_on=True)
    told = (tw.Extension(4, bytes(4)),)
    found.append(talk.forge("edge", tw.Whole(round=0, extensions=told), "desynchronised"))
    talk = _flying("whole-told-tree", "log probabilities of a whole tree, of which one token is accepted")
    talk.drafted("match", 1, 2, parents=(-1, -1), goes_on=True, leaf=1)
    found.append(talk.forge("edge", tw.Whole(round=0, extensions=(tw.Extension(4, bytes(4)),)), "desynchronised"))
    talk = _flying("whole-more", "VERDICT_WHOLE in answer to MORE: old news")
    talk.drafted("scalar", 1, goes_on=True).proposals(-1, 5).more().forge("edge", tw.Whole(round=0))
    found.append(talk.proposals(-1, 6, batch=1))
    return found


def _draft(
    round_: int, prefix: tuple[int, ...], tokens: tuple[int, ...], flight: tw.Flight, parents: Any = None
) -> tw.Draft:
    return tw.Draft(
        round=round_,
        prefix_length=len(prefix),
        prefix_hash=tw.prefix_hash(prefix),
        tree=tw.TokenTree.chain(tokens) if parents is None else tw.TokenTree(tokens, parents),
        evidence=tw.MatchEvidence(),
        extensions=(flight.extension,),
    )


def _resumed() -> list[Recorded]:
    """[FLIGHT-10]"""
    found = []

    def flying(id_: str, comment: str) -> Recorded:
        return _flying(id_, comment, "resumption-flight")

    for kept, at in ((True, "the same edge"), (False, "an edge that forgot")):
        label = "" if kept else "-forgot"
        talk = flying(f"resumed{label}", f"three in flight, the answers to two are lost; {at} answers all again")
        talk.drafted("match", 1, goes_on=True).drafted("list", 2, goes_on=True).drafted("coupled", 7)
        talk.whole(lost=True).whole(lost=True).reconnects(kept=kept).resumed(drafts=3)
        found.append(talk.whole().whole().verdict(0, 5))
        talk = flying(f"tree{label}", f"trees in flight, the answer to one is lost; {at} answers both again")
        talk.drafted("match", 1, 2, parents=(-1, -1), goes_on=True, leaf=1)
        talk.drafted("match", 4, 5, 6, parents=(-1, -1, 0), goes_on=True, leaf=2).whole(lost=True)
        talk.reconnects(kept=kept).resumed(drafts=2)
        found.append(talk.whole().whole().drafted("match", 1).verdict(0, 5))
        talk = flying(f"asked{label}", f"the second in flight is asked for its list; {at} asks again")
        talk.drafted("match", 1, goes_on=True).drafted("lazy", 1, goes_on=True).drafted("match", 3).whole().asked(-1)
        found.append(talk.reconnects(kept=kept).resumed().asked(-1).listed().verdict(-1, 4).again(5))
    talk = flying("half", "the first answer has come: the second draft follows none any more")
    talk.drafted("match", 1, goes_on=True).drafted("match", 2, goes_on=True).whole().whole(lost=True)
    found.append(talk.reconnects().resumed().whole().drafted("match", 3).verdict(0, 4))
    for window, label in ((1, "one"), (2, "two")):
        talk = flying(f"smaller-{label}", f"another edge takes {window} at a time")
        talk.drafted("match", 1, goes_on=True).drafted("match", 2, goes_on=True).drafted("match", 3, goes_on=True)
        talk.edge_settings(replace(EDGE, window=window)).reconnects(kept=False, key=OTHER_KEY).resumed(drafts=window)
        if window > 1:
            talk.whole()
        talk.verdict(0, 4).drafted("match", 5, goes_on=window > 1)
        found.append(talk.whole() if window > 1 else talk.verdict(0, 6))
    talk = flying("smaller-tree", "another edge takes one at a time: the tree names no leaf any more")
    talk.drafted("match", 1, 2, parents=(-1, -1), goes_on=True, leaf=0).drafted("match", 3)
    talk.edge_settings(replace(EDGE, window=1)).reconnects(kept=False, key=OTHER_KEY).resumed()
    found.append(talk.verdict(0, 4).drafted("match", 5).verdict(0, 6))
    return found
