"""The table of frame kinds: one row a kind, and everything that depends on the kind is derived from it.

Spec section 3.4 and spec/registry.md.  Who reads and writes a body, who sends it, what answers it, what may be
compressed.  A new kind of evidence is a number of ``Kind`` and a row here, and a module for its body.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.frames.draft_codes import read_draft_codes, write_draft_codes
from tslt_wire.frames.draft_ids import read_draft_ids, write_draft_ids
from tslt_wire.frames.draft_list import read_draft_list, write_draft_list
from tslt_wire.frames.endings import read_bye, read_error, write_bye, write_error
from tslt_wire.frames.extensions import OF_ALL, OF_ANSWERS, OF_DRAFTS, OF_ERRORS, Known
from tslt_wire.frames.handshake import read_hello, read_welcome, write_hello, write_welcome
from tslt_wire.frames.list_request import read_ask_list, read_list_reply, write_ask_list, write_list_reply
from tslt_wire.frames.prompt import read_prompt, write_prompt
from tslt_wire.frames.proposals import read_more, read_proposals, write_more, write_proposals
from tslt_wire.frames.resume import read_resume, write_resume
from tslt_wire.frames.verdict import read_verdict, read_whole, write_verdict, write_whole
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.answers import AskList, Proposals, Verdict, Whole
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.endings import Bye, ErrorMessage
from tslt_wire.messages.evidence import (
    CoupledEvidence,
    Evidence,
    LazyEvidence,
    ListEvidence,
    MatchEvidence,
    ScalarEvidence,
)
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.follow_ups import ListReply, More
from tslt_wire.messages.handshake import Hello, Welcome
from tslt_wire.messages.message import Message
from tslt_wire.messages.prompt import Prompt
from tslt_wire.messages.resume import Resume


class Kind(enum.IntEnum):
    """Frame kinds (spec/registry.md): the low 6 bits of the first byte."""

    HELLO = 0x01
    WELCOME = 0x02
    PROMPT = 0x03
    ERROR = 0x04
    BYE = 0x05
    RESUME = 0x06
    VERDICT = 0x08
    VERDICT_PROPOSALS = 0x09
    ASK_LIST = 0x0A
    VERDICT_WHOLE = 0x0B
    DRAFT_LIST = 0x10
    DRAFT_MATCH = 0x11
    DRAFT_COUPLED = 0x12
    DRAFT_SCALAR = 0x13
    DRAFT_LAZY = 0x14
    MORE = 0x15
    LIST = 0x16


class Role(enum.StrEnum):
    """The two ends of a session."""

    DEVICE = "device"
    EDGE = "edge"


_DEVICE, _EDGE, _BOTH = frozenset({Role.DEVICE}), frozenset({Role.EDGE}), frozenset(Role)

Writer = Callable[[BitWriter, Any, Profile], None]
"""Appends the body of a message of its kind; ValueError for one that does not fit the profile."""
Reader = Callable[[BitReader, Profile, DecodeLimits, tuple[Extension, ...]], Message]
"""Reads a body and makes the message, with the extensions that were read before it; DecodeError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameKind:
    """All there is to know of one kind of frame."""

    kind: Kind
    message: type[Message]
    """Class of the messages that travel in it."""
    write: Writer
    read: Reader
    senders: frozenset[Role]
    """Who may send it."""
    evidence: type[Evidence] | None = None
    """Class of the evidence, for drafts."""
    answers: frozenset[Kind] = frozenset()
    """What it may be answered with; nothing: it has no answer of its own."""
    compressible: bool = False
    """Whether ``entropy="zstd"`` may compress it."""
    extensions: Known = field(default_factory=lambda: OF_ALL)
    """The extensions that this version knows in it."""
    needs_profile: bool = True
    """Whether it cannot be read before WELCOME has said the profile."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        return self.kind.name


FRAME_KINDS = (
    FrameKind(
        kind=Kind.HELLO,
        message=Hello,
        write=write_hello,
        read=read_hello,
        senders=_DEVICE,
        answers=frozenset({Kind.WELCOME}),
        needs_profile=False,
    ),
    FrameKind(
        kind=Kind.WELCOME,
        message=Welcome,
        write=write_welcome,
        read=read_welcome,
        senders=_EDGE,
        needs_profile=False,
    ),
    FrameKind(
        kind=Kind.PROMPT,
        message=Prompt,
        write=write_prompt,
        read=read_prompt,
        senders=_DEVICE,
        compressible=True,
    ),
    FrameKind(
        kind=Kind.ERROR,
        message=ErrorMessage,
        write=write_error,
        read=read_error,
        extensions=OF_ERRORS,
        senders=_BOTH,
        needs_profile=False,
    ),
    FrameKind(
        kind=Kind.BYE,
        message=Bye,
        write=write_bye,
        read=read_bye,
        senders=_BOTH,
        needs_profile=False,
    ),
    FrameKind(
        kind=Kind.RESUME,
        message=Resume,
        write=write_resume,
        read=read_resume,
        senders=_DEVICE,
    ),
    FrameKind(
        kind=Kind.VERDICT,
        message=Verdict,
        write=write_verdict,
        read=read_verdict,
        extensions=OF_ANSWERS,
        senders=_EDGE,
    ),
    FrameKind(
        kind=Kind.VERDICT_PROPOSALS,
        message=Proposals,
        write=write_proposals,
        read=read_proposals,
        extensions=OF_ANSWERS,
        senders=_EDGE,
    ),
    FrameKind(
        kind=Kind.ASK_LIST,
        message=AskList,
        write=write_ask_list,
        read=read_ask_list,
        extensions=OF_ANSWERS,
        senders=_EDGE,
    ),
    FrameKind(
        kind=Kind.VERDICT_WHOLE,
        message=Whole,
        write=write_whole,
        read=read_whole,
        extensions=OF_ANSWERS,
        senders=_EDGE,
    ),
    FrameKind(
        kind=Kind.DRAFT_LIST,
        message=Draft,
        evidence=ListEvidence,
        write=write_draft_list,
        read=read_draft_list,
        extensions=OF_DRAFTS,
        senders=_DEVICE,
        answers=frozenset({Kind.VERDICT, Kind.VERDICT_WHOLE}),
        compressible=True,
    ),
    FrameKind(
        kind=Kind.DRAFT_MATCH,
        message=Draft,
        evidence=MatchEvidence,
        write=write_draft_ids,
        read=partial(read_draft_ids, MatchEvidence()),
        extensions=OF_DRAFTS,
        senders=_DEVICE,
        answers=frozenset({Kind.VERDICT, Kind.VERDICT_WHOLE}),
    ),
    FrameKind(
        kind=Kind.DRAFT_COUPLED,
        message=Draft,
        evidence=CoupledEvidence,
        write=write_draft_ids,
        read=partial(read_draft_ids, CoupledEvidence()),
        extensions=OF_DRAFTS,
        senders=_DEVICE,
        answers=frozenset({Kind.VERDICT, Kind.VERDICT_WHOLE}),
    ),
    FrameKind(
        kind=Kind.DRAFT_SCALAR,
        message=Draft,
        evidence=ScalarEvidence,
        write=write_draft_codes,
        read=partial(read_draft_codes, ScalarEvidence),
        extensions=OF_DRAFTS,
        senders=_DEVICE,
        answers=frozenset({Kind.VERDICT, Kind.VERDICT_WHOLE, Kind.VERDICT_PROPOSALS}),
    ),
    FrameKind(
        kind=Kind.DRAFT_LAZY,
        message=Draft,
        evidence=LazyEvidence,
        write=write_draft_codes,
        read=partial(read_draft_codes, LazyEvidence),
        extensions=OF_DRAFTS,
        senders=_DEVICE,
        answers=frozenset({Kind.VERDICT, Kind.VERDICT_WHOLE, Kind.ASK_LIST}),
    ),
    FrameKind(
        kind=Kind.MORE,
        message=More,
        write=write_more,
        read=read_more,
        senders=_DEVICE,
        answers=frozenset({Kind.VERDICT_PROPOSALS}),
    ),
    FrameKind(
        kind=Kind.LIST,
        message=ListReply,
        write=write_list_reply,
        read=read_list_reply,
        senders=_DEVICE,
        answers=frozenset({Kind.VERDICT}),
        compressible=True,
    ),
)
"""Every frame kind of this version.  The order of drafts is the one in which evidence is offered."""

BY_KIND: dict[int, FrameKind] = {row.kind: row for row in FRAME_KINDS}
"""The row of each kind, by its number."""
DRAFT_KINDS = {row.evidence.name: row.kind for row in FRAME_KINDS if row.evidence is not None}
"""Evidence names of the handshake, and the frames that the drafts travel in."""
_BY_MESSAGE: dict[type, FrameKind] = {row.message: row for row in FRAME_KINDS if row.evidence is None}
_BY_EVIDENCE: dict[type, FrameKind] = {row.evidence: row for row in FRAME_KINDS if row.evidence is not None}


def row_of(message: Message) -> FrameKind:
    """The row of the frame that a message travels as: a draft's goes by its evidence.  TypeError for no message."""
    if isinstance(message, Draft):
        return _BY_EVIDENCE[type(message.evidence)]
    row = _BY_MESSAGE.get(type(message))
    if row is None:
        raise TypeError(f"expected a message, got {type(message).__name__}")
    return row


def kind_of(message: Message) -> Kind:
    """The frame kind a message travels as; a draft's is its evidence.  TypeError for no message."""
    return row_of(message).kind
