"""Messages that no frame can carry, and what the table of kinds says: for callers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frame_samples import FRAMES, PROFILE, SAMPLES

import tslt_wire as tw
from tslt_wire.coding.bits import BitWriter
from tslt_wire.frames.codec import decode_reference, encode_reference
from tslt_wire.frames.draft_codes import write_draft_codes
from tslt_wire.frames.draft_list import write_draft_list
from tslt_wire.frames.kinds import FRAME_KINDS, Kind


@pytest.mark.parametrize("name", FRAMES)
def test_the_reference_writes_the_same(name):
    assert encode_reference(SAMPLES[name], PROFILE) == FRAMES[name]
    assert decode_reference(FRAMES[name], PROFILE) == SAMPLES[name]


def test_kinds_have_the_names_of_the_registry():
    assert [row.name for row in FRAME_KINDS] == [kind.name for kind in Kind]


def test_limits_are_limits():
    with pytest.raises(TypeError, match="limits must be DecodeLimits or None, got 7"):
        tw.decode(FRAMES["bye"], PROFILE, limits=7)


def test_a_body_is_of_its_evidence():
    match = replace(SAMPLES["draft-chain"], evidence=tw.MatchEvidence())
    with pytest.raises(TypeError, match="expected evidence with codes, got MatchEvidence"):
        write_draft_codes(BitWriter(), match, PROFILE)
    with pytest.raises(TypeError, match="expected evidence with lists, got MatchEvidence"):
        write_draft_list(BitWriter(), match, PROFILE)


@pytest.mark.skipif(tw.backend != "native", reason="the reference trusts whom it is told to trust")
def test_the_kernel_refuses_a_draft_that_nobody_checked():
    lists = SAMPLES["draft-chain"].evidence
    tree = tw.TokenTree.trusted((PROFILE.vocab_size,) * 3, (-1, 0, 1))
    with pytest.raises(ValueError, match="bad_tree"):
        tw.encode(tw.Draft.trusted(0, 0, 0, tree, lists, ()), PROFILE)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (tw.Bye(extensions=(tw.Extension(1, b"\1"),)), "extension 1 is not for this kind of frame"),
        (tw.Verdict(round=0, node=0, token=1, extensions=(tw.Extension(2, b""),)), "extension 2 cannot have 0 bytes"),
        (tw.Verdict(round=0, node=0, token=1, extensions=(tw.Extension(2, b"\1\0"),)), "must be as short as can be"),
        (tw.Bye(extensions=(tw.Extension(4, b""), tw.Extension(2, b""))), "ascending, distinct types"),
        (replace(SAMPLES["draft-chain"], extensions=(tw.Extension(3, b"\0"),)), "extension 3 cannot say 00"),
        (replace(SAMPLES["draft-chain"], extensions=(tw.Extension(3, b"\1\1"),)), "extension 3 cannot say 0101"),
        (replace(SAMPLES["draft-chain"], extensions=(tw.Extension(3, b"\3\1\0"),)), "as short as can be, got 030100"),
    ],
)
def test_an_extension_is_of_its_kind_and_has_one_form(message, said):
    with pytest.raises(ValueError, match=said):
        tw.encode(message, PROFILE)
