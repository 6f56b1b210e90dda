"""The device in C and the one in Python hear what no edge should say: both take it, or both refuse it alike."""

import shutil

import numpy as np
import pytest
from c_and_python import LIMITS, LIST, PROFILE, TREE, Both, proposals, said, sealed, welcome_to
from c_device import CC, NOTHING, RESUMED, WELCOMED, CDevice, Refused
from c_frames import decode as c_decode

import tslt_wire as tw
from tslt_wire.coding.control_map import pack
from tslt_wire.errors import ErrorCode, ProtocolError
from tslt_wire.lists.probability_grid import BELOW
from tslt_wire.session.states import State

pytestmark = pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")

ORDINARY, OTHER = bytes([7] * 32), bytes([8] * 32)


def with_text(kind: str | None = None, *, goes_on: bool = False, hello=None, **fields) -> Both:
    """Devices that have a text, and a draft in flight if they are told of which kind."""
    both = Both(hello)
    assert both.greeted(**fields) == 0
    both.call("send_prompt", (1, 2))
    if kind:
        both.drafts(kind, goes_on=goes_on)
    return both


# ---------------------------------------------------------------------------------------------------------- WELCOME

TAKEN, UNSUPPORTED, RANGE = 0, ErrorCode.UNSUPPORTED, ErrorCode.OUT_OF_RANGE
CONTROL = ErrorCode.BAD_CONTROL
WELCOMES = {
    "a name twice": ({"evidence": ["list", "list"], "coupling": b""}, TAKEN),
    "more than a name of nothing": ({"evidence": ["rumours"]}, UNSUPPORTED),
    "an unknown coder": ({"entropy": "zstd"}, UNSUPPORTED),
    "another prior": ({"prior": "density"}, UNSUPPORTED),
    "a key without coupling": ({"coupling": bytes(8)}, UNSUPPORTED),
    "a later version": ({"version": 2}, ErrorCode.VERSION_MISMATCH),
    "no context": ({"context": 0, "limits": LIMITS}, TAKEN),
    "a limit of 0": ({"limits": LIMITS | {"max_nodes": 0}}, RANGE),
    "a limit below 0": ({"limits": LIMITS | {"max_nodes": -1}}, RANGE),
    "a limit of another name": (
        {"limits": {("most" if n == "max_nodes" else n): v for n, v in LIMITS.items()}},
        CONTROL,
    ),
    "another HELLO": ({"transcript": bytes(16)}, ErrorCode.TRANSCRIPT_MISMATCH),
    **{f"a window of {window!r}": ({"window": window}, TAKEN) for window in ("2", -3, 1, 17, 16)},
}


@pytest.mark.parametrize("name", WELCOMES)
def test_a_welcome_is_taken_or_refused_as_in_python(name):
    fields, wanted = WELCOMES[name]
    both = Both()
    assert both.greeted(**fields) == wanted
    if wanted is TAKEN:
        assert both.in_c.event.kind == WELCOMED
        both.call("send_prompt", (1, 2))
        both.drafts("list")


def test_what_a_device_did_not_offer():
    for hello, fields in (
        (said(entropy=("range",)), {"entropy": "none"}),
        (said(evidence=("list",)), {}),
        (said(min_version=2, max_version=3), {}),
        (said(sampling=tw.SamplingRequest(logit_bias=((3, 1.0), (5, -2.0)))), {"sampling": {"logit_bias": [[3, 1.0]]}}),
        (said(sampling=tw.SamplingRequest(logit_bias=((3, 1.0),))), {"sampling": {"logit_bias": [[3, 2.0]]}}),
        (said(sampling=tw.SamplingRequest(logit_bias=((3, 1.0),))), {"sampling": {"logit_bias": [[4, 1.0]]}}),
        (said(sampling=tw.SamplingRequest(suppress_tokens=(3,))), {"sampling": {"suppress_tokens": [4]}}),
        (said(limits=tw.DecodeLimits(max_control_bytes=64)), {}),
    ):
        assert Both(hello).greeted(**fields) > 0


def test_settings_that_were_asked_for():
    for asked, had in (
        ({"logit_bias": ((3, 1.0), (5, -2.0))}, {"logit_bias": [[3, 1.0], [5, -2.0]]}),
        ({"suppress_tokens": (3, 5)}, {"suppress_tokens": [3, 5]}),
    ):
        assert Both(said(sampling=tw.SamplingRequest(**asked))).greeted(sampling=had) == TAKEN


SECOND = {
    "another coder": ({"entropy": "none"}, UNSUPPORTED),
    "other settings": ({"sampling": {"temperature": 0.25}}, UNSUPPORTED),
    "settings of the same size": ({"sampling": {"temperature": 0.75}}, UNSUPPORTED),
    "other ends": ({"eos_tokens": [9]}, UNSUPPORTED),
    "an ordinary fingerprint more": ({"ordinary": ORDINARY}, UNSUPPORTED),
    "a hash of another text": ({"held": 2, "held_hash": 1}, TAKEN),
    "more than there is": ({"held": 9, "held_hash": 1}, TAKEN),
    "a short context": ({"context": 1}, UNSUPPORTED),
    "small drafts": ({"limits": LIMITS | {"max_depth": 1}}, UNSUPPORTED),
    "one at a time": ({"window": 1}, TAKEN),
}


@pytest.mark.parametrize("name", SECOND)
def test_a_second_edge_goes_on_with_the_text_or_not(name):
    fields, wanted = SECOND[name]
    first = {"eos_tokens": [3], "sampling": {"temperature": 0.5}}
    both = with_text("list", goes_on=True, **first)
    both.drafts("list", goes_on=True)
    both.hello = both.call("reconnect")
    assert both.greeted(**(first | fields)) == wanted
    if wanted is TAKEN:
        assert both.in_c.event.kind == RESUMED


def test_a_second_edge_has_the_priors_and_fingerprints_of_the_first():
    both = with_text(hello=said(priors=("density", "none"), ordinary=ORDINARY), prior="density", ordinary=ORDINARY)
    both.hello = both.call("reconnect")
    assert both.greeted(prior="none", ordinary=ORDINARY) == UNSUPPORTED
    for ordinary, wanted in (({"ordinary": OTHER}, UNSUPPORTED), ({}, UNSUPPORTED), ({"ordinary": ORDINARY}, TAKEN)):
        both = with_text(hello=said(ordinary=ORDINARY), ordinary=ORDINARY)
        both.hello = both.call("reconnect")
        assert both.greeted(**ordinary) == wanted


def test_without_a_text_another_edge_may_end_texts_otherwise():
    both = Both()
    both.greeted(eos_tokens=[3])
    both.hello = both.call("reconnect")
    assert both.greeted(eos_tokens=[9]) == TAKEN
    assert both.in_c.event.kind == WELCOMED


@pytest.mark.parametrize("padding", [*range(2, 200), 700, 16_500, 1 << 16])
def test_padding_is_that_of_python(padding):
    both = Both(said(extra={"padding": padding}))
    assert len(both.hello) % padding == 0
    assert len(both.call("close")) % padding == 0


@pytest.mark.parametrize("limits", [{"max_extensions": 1}, {"max_frame_bytes": 63}, {"max_frame_bytes": 64}])
def test_padding_stays_within_the_edges_limits(limits):
    both = with_text(hello=said(extra={"padding": 64}), limits=LIMITS | limits)
    assert len(both.drafts("match", goes_on=True)) <= 64
    both.call("close")


# ---------------------------------------------------------------------------------------------------------- answers


def test_frames_that_no_edge_may_send():
    head = tw.TokenTree.chain([1] * 40)
    drafts = [
        tw.Draft(round=0, prefix_length=2, prefix_hash=0, tree=tree, evidence=evidence)
        for tree, evidence in (
            (TREE, tw.ListEvidence({-1: LIST, 0: LIST})),
            (head, tw.MatchEvidence()),
            (tw.TokenTree.chain([]), tw.MatchEvidence()),
            (head, tw.ScalarEvidence(codes=(1,) * 40)),
        )
    ]
    for message in (*drafts, tw.ListReply(round=0, q=LIST), tw.More(round=0, batch=1)):
        both = with_text()
        small = CDevice(said(), most_nodes=2, most_entries=4, most_listed=2)
        small.receive(welcome_to(both.hello))
        assert small.receive(tw.encode(message, PROFILE)) == both.hears_message(message)
        assert both.in_c.state is State.FAILED


def test_frames_before_the_handshake_is_done():
    resume = bytes([6]) + bytes(60)
    for frame in (
        sealed(resume),
        sealed(b"\x03" + bytes(20)),
        sealed(b"\x08" + bytes(20)),
        sealed(b"\x11" + bytes(20)),
    ):
        assert Both().hears(frame) == ErrorCode.PROTOCOL_VIOLATION
    assert Both().hears(b"") == ErrorCode.TRUNCATED


def test_a_draft_that_is_rejected_in_part_is_not_accepted_whole():
    both = with_text("scalar", goes_on=True)
    assert both.hears_message(proposals()) == TAKEN
    assert both.in_c.ahead == both.in_c.prefix  # what is in flight has lost its ground
    both.call("ask_more")
    assert both.in_c.ahead == both.in_c.prefix
    assert both.hears_message(tw.Whole(round=0)) == TAKEN
    assert both.in_c.event.kind == NOTHING  # older than the proposals
    both = with_text("lazy", goes_on=True)
    both.hears_message(tw.AskList(round=0, node=-1))
    both.hello = both.call("reconnect")
    assert both.greeted() == TAKEN
    assert both.in_c.ahead == both.in_c.prefix
    assert both.hears_message(tw.Whole(round=0)) == ErrorCode.DESYNCHRONISED


def test_the_list_of_another_node_than_was_asked_for():
    both = with_text("lazy")
    assert both.hears_message(tw.AskList(round=0, node=-1)) == TAKEN
    assert both.hears_message(tw.AskList(round=0, node=-1)) == TAKEN
    assert both.in_c.event.kind == NOTHING
    assert both.hears_message(tw.AskList(round=0, node=0)) == ErrorCode.PROTOCOL_VIOLATION
    both = with_text("lazy")
    both.hears_message(tw.AskList(round=0, node=-1))
    both.hello = both.call("reconnect")
    both.greeted()
    assert both.hears_message(tw.AskList(round=0, node=0)) == ErrorCode.DESYNCHRONISED


def test_answers_to_rounds_in_flight():
    def in_flight():
        both = with_text("match", goes_on=True)
        both.drafts("match", goes_on=True)
        return both

    early = in_flight()
    assert early.hears_message(tw.Verdict(round=1, node=-1, token=3)) == TAKEN
    assert early.in_c.event.kind == NOTHING
    assert in_flight().hears_message(tw.Verdict(round=2, node=-1, token=3)) == ErrorCode.DESYNCHRONISED
    assert in_flight().hears_message(tw.Verdict(round=0, node=2, token=3)) == ErrorCode.DESYNCHRONISED
    assert in_flight().hears_message(tw.Verdict(round=0, node=0, token=3)) == TAKEN


SURE = tw.sparsify(np.array([0.0] * 15 + [50.0]), truncation=tw.TopK(1))


@pytest.mark.parametrize(("lists", "tokens"), [(LIST, (14, 15)), (SURE, (15, 15))])
def test_proposals_are_kept_as_their_numbers_say(lists, tokens):
    tree, kept = tw.TokenTree.chain(tokens), []
    for code, up in ((BELOW, False), (0, False), (1, True), (300, True), (301, True), (301, False), (1500, False)):
        both = with_text()
        both.call("send_draft", tree, tw.ScalarEvidence.of(tree, {-1: lists, 0: lists}))
        assert both.hears_message(proposals(tokens=(tokens[0], 3), code=code, up=up)) == TAKEN
        kept.append(both.in_c.choose(np.random.default_rng(1)))
        assert kept[-1] == both.in_python.choose(np.random.default_rng(1))
        both.says() if kept[-1] is None else None
    assert kept[0] == tokens[0]
    assert len(set(kept)) > 1


@pytest.mark.parametrize("end", [tw.ErrorMessage(code=ErrorCode.OVERLOADED, message="full"), tw.Bye()])
@pytest.mark.parametrize("name", ["take", "ask_more"])
def test_an_edge_that_gives_up_after_proposals(end, name):
    """What is chosen needs no link; the text goes on over another one."""
    both = with_text("scalar")
    both.hears_message(proposals())
    assert both.hears_message(end) == TAKEN
    for device in (both.in_c, both.in_python):
        getattr(device, name)(*((0,) if name == "take" else ()))
    assert both.in_c.data_to_send() == both.in_python.data_to_send() == b""
    assert both.in_c.state is both.in_python.state
    assert both.in_c.prefix == both.in_python.prefix == ((1, 2, 3) if name == "take" else (1, 2))
    both.hello = both.call("reconnect")
    assert both.greeted() == TAKEN
    if name == "take":
        both.drafts("scalar")
    assert both.hears_message(proposals(round_=int(name == "take"), batch=int(name == "ask_more"))) == TAKEN
    assert both.in_c.take(0) == both.in_python.take(0) == 3


def test_more_proposals_than_one_batch():
    both = with_text("scalar")
    assert both.hears_message(proposals(code=2)) == TAKEN
    both.call("ask_more")
    assert both.hears_message(proposals(node=0, batch=1)) == ErrorCode.DESYNCHRONISED


# ------------------------------------------------------------------------------------------------------ control maps

SHORT = tw.DecodeLimits(max_control_bytes=64)


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xd9",  # a key whose length is not there
        b"\x82\xa4code\x01\xa7message\x01",
        b"\x82\xa4code\xa11\xa7message\xa11",
        b"\x82\xa4code\x01\xa7message" + pack("x" * 80, 1),
        b"\x82\xa4code\x01\xa6nessage\xa11",
        b"\x82\xa4code",
        b"\x81\xa1a\x92\xc1\x01",
        *(
            b"\x82\xa4code\x01\xa7message" + bytes([0xA0 | len(text)]) + text
            for text in (
                b"\xc2",
                b"\xc2\x41",
                b"\xff",
                b"\xe0\x80\x80",
                b"\xed\xa0\x80",
                b"\xf0\x80\x80\x80",
                b"\xf4\x90\x80\x80",
            )
        ),
    ],
)
def test_errors_that_are_none(body):
    frame = sealed(b"\x04" + body)
    with pytest.raises(tw.DecodeError) as refused:
        tw.decode(frame, PROFILE, limits=SHORT)
    assert c_decode(frame, PROFILE, SHORT) == refused.value.code


@pytest.mark.parametrize("text", ["\u0800", "\ud7ff", "\U00010000", "\U0010ffff", "\u00e9"])
def test_letters_of_any_length(text):
    assert with_text().hears_message(tw.ErrorMessage(code=ErrorCode.INTERNAL, message=text)) == TAKEN


def test_calls_are_refused_alike_after_a_failure():
    both = with_text("match")
    both.hears_message(tw.Verdict(round=5, node=-1, token=3))
    for call in (lambda d: d.send_prompt((1,)), lambda d: d.send_list()):
        with pytest.raises(Refused):
            call(both.in_c)
        with pytest.raises(ProtocolError):
            call(both.in_python)
