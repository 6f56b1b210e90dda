"""The table of frame kinds: complete, without doubles, and what is derived from it."""

from __future__ import annotations

from typing import get_args

import pytest
from frame_samples import FRAMES, PROFILE, SAMPLES

import tslt_wire as tw
from tslt_wire.frames.codec import KIND_MASK
from tslt_wire.frames.kinds import BY_KIND, DRAFT_KINDS, FRAME_KINDS, Kind, Role, kind_of, row_of
from tslt_wire.session.negotiation import OUR_EVIDENCE


def test_every_kind_message_and_evidence_has_one_row():
    assert [row.kind for row in FRAME_KINDS] == list(Kind)
    assert {row.message for row in FRAME_KINDS} == set(get_args(tw.Message))
    assert [row.evidence for row in FRAME_KINDS if row.evidence] == list(get_args(tw.Evidence))
    assert [row.message is tw.Draft for row in FRAME_KINDS] == [row.evidence is not None for row in FRAME_KINDS]
    assert len({row.evidence or row.message for row in FRAME_KINDS}) == len(FRAME_KINDS)
    assert OUR_EVIDENCE == tuple(DRAFT_KINDS) == ("list", "match", "coupled", "scalar", "lazy")


def test_answers_come_from_the_other_end():
    for row in FRAME_KINDS:
        for answer in row.answers:
            assert row.senders == {Role.DEVICE}
            assert BY_KIND[answer].senders == {Role.EDGE}
    answered = frozenset().union(*(row.answers for row in FRAME_KINDS))
    assert answered == {row.kind for row in FRAME_KINDS if row.senders == {Role.EDGE}}


@pytest.mark.parametrize("name", SAMPLES)
def test_frames_are_of_the_kind_of_their_message(name):
    message, frame = SAMPLES[name], FRAMES[name]
    assert frame[0] & KIND_MASK == kind_of(message) == row_of(message).kind
    assert kind_of(tw.decode(frame, PROFILE)) is kind_of(message)


def test_the_samples_have_every_kind():
    assert {kind_of(message) for message in SAMPLES.values()} == set(Kind)


def test_what_is_no_message_has_no_kind():
    for wrong in (b"", None, tw.MatchEvidence()):
        with pytest.raises(TypeError, match="expected a message"):
            kind_of(wrong)
        with pytest.raises(TypeError, match="expected a message"):
            tw.encode(wrong, PROFILE)
