"""Messages to frames and back.

Spec section 3.  A frame is one kind byte, optional extensions, the body, and a CRC-32; it is read with nothing but its
own bytes and the profile.  The bodies of prompts and drafts may be compressed (section 3.5).
"""

from __future__ import annotations

import enum
import zlib
from typing import Any

import numpy as np

from tslt_wire import checks
from tslt_wire._native import backend
from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.coding.compression import check_shorter, open_compressed, shorter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.draft_bodies import (
    read_coded_draft,
    read_draft,
    read_id_draft,
    write_coded_draft,
    write_draft,
    write_id_draft,
)
from tslt_wire.frames.exchange_bodies import (
    read_ask,
    read_more,
    read_proposals,
    read_reply,
    write_ask,
    write_more,
    write_proposals,
    write_reply,
)
from tslt_wire.frames.extensions import read_extensions, write_extensions
from tslt_wire.frames.handshake_bodies import (
    read_error,
    read_hello,
    read_welcome,
    write_error,
    write_hello,
    write_welcome,
)
from tslt_wire.frames.kernel_drafts import kernel_decode, kernel_encode
from tslt_wire.limits import DEFAULT_FRAME_BYTES, DecodeLimits
from tslt_wire.lists.profile import Profile, check_profile
from tslt_wire.messages.answers import AskList, Proposals, Verdict
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.endings import Bye, ErrorMessage
from tslt_wire.messages.evidence import (
    CodedEvidence,
    CoupledEvidence,
    LazyEvidence,
    ListEvidence,
    MatchEvidence,
    ScalarEvidence,
)
from tslt_wire.messages.extensions import CHOICE, Extension
from tslt_wire.messages.follow_ups import ListReply, More
from tslt_wire.messages.handshake import Hello, Welcome
from tslt_wire.messages.message import Message
from tslt_wire.messages.prompt import Prompt

CRC_BYTES = 4
_HAS_EXTENSIONS = 0x40
_COMPRESSED = 0x80
KIND_MASK = 0x3F


class Kind(enum.IntEnum):
    """Frame kinds (spec/registry.md): the low 6 bits of the first byte."""

    HELLO = 0x01
    WELCOME = 0x02
    PROMPT = 0x03
    ERROR = 0x04
    BYE = 0x05
    VERDICT = 0x08
    VERDICT_PROPOSALS = 0x09
    ASK_LIST = 0x0A
    DRAFT_LIST = 0x10
    DRAFT_MATCH = 0x11
    DRAFT_COUPLED = 0x12
    DRAFT_SCALAR = 0x13
    DRAFT_LAZY = 0x14
    MORE = 0x15
    LIST = 0x16


_KIND_OF = {
    Hello: Kind.HELLO,
    Welcome: Kind.WELCOME,
    Prompt: Kind.PROMPT,
    ErrorMessage: Kind.ERROR,
    Bye: Kind.BYE,
    Verdict: Kind.VERDICT,
    ListEvidence: Kind.DRAFT_LIST,
    MatchEvidence: Kind.DRAFT_MATCH,
    CoupledEvidence: Kind.DRAFT_COUPLED,
    ScalarEvidence: Kind.DRAFT_SCALAR,
    LazyEvidence: Kind.DRAFT_LAZY,
    Proposals: Kind.VERDICT_PROPOSALS,
    More: Kind.MORE,
    AskList: Kind.ASK_LIST,
    ListReply: Kind.LIST,
}
DRAFT_KINDS = {
    "list": Kind.DRAFT_LIST,
    "match": Kind.DRAFT_MATCH,
    "coupled": Kind.DRAFT_COUPLED,
    "scalar": Kind.DRAFT_SCALAR,
    "lazy": Kind.DRAFT_LAZY,
}
"""Evidence names of the handshake, and the frames that the drafts travel in."""
COMPRESSIBLE = (Kind.PROMPT, Kind.DRAFT_LIST, Kind.LIST)
"""Frames that ``entropy="zstd"`` may compress."""
HANDSHAKE_PROFILE = Profile(vocab_size=1)
"""Enough to read HELLO, WELCOME, ERROR and BYE, whose layout depends on nothing negotiated."""


def kind_of(message: Message) -> Kind:
    """The frame kind a message travels as; a draft's is its evidence."""
    return _KIND_OF[type(message.evidence if isinstance(message, Draft) else message)]


def encode(message: Message, profile: Profile, *, max_frame_bytes: int = DEFAULT_FRAME_BYTES) -> bytes:
    """The one frame that stands for ``message``; under ``entropy="zstd"``, the shorter of two.

    ``max_frame_bytes`` is the receiver's limit: nothing is compressed that it would not decompress.  Raises ValueError
    if the message does not fit the profile (a token outside the vocabulary, lists of another one), MissingPackage if a
    long prompt or draft is to be compressed and zstandard is not there, TypeError for arguments of other types.
    """
    max_frame_bytes = _check_writing(message, profile, max_frame_bytes)
    frame = kernel_encode(message, profile) if backend == "native" else None
    return _encode(message, profile, max_frame_bytes) if frame is None else frame


def encode_reference(message: Message, profile: Profile, *, max_frame_bytes: int = DEFAULT_FRAME_BYTES) -> bytes:
    """Do what ``encode`` does without the kernel: this defines the bytes."""
    return _encode(message, profile, _check_writing(message, profile, max_frame_bytes))


def _check_writing(message: Any, profile: Any, max_frame_bytes: Any) -> int:
    if not isinstance(message, Message):
        raise TypeError(f"expected a message, got {type(message).__name__}")
    check_profile(profile)
    return checks.integer("max_frame_bytes", max_frame_bytes, 1, None)


def _encode(message: Message, profile: Profile, max_frame_bytes: int) -> bytes:
    kind, extensions = kind_of(message), message.extensions
    flags = _HAS_EXTENSIONS if extensions else 0
    out = BitWriter()
    _write_body(out, message, profile)
    body = out.finish()
    if profile.entropy == "zstd" and kind in COMPRESSIBLE:
        compressed = shorter(lambda wide: _write_body(wide, message, profile), body, max_frame_bytes)
        if compressed is not None:
            body, flags = compressed, flags | _COMPRESSED
    head = BitWriter()
    head.bits(kind | flags, 8)
    if extensions:
        if not isinstance(message, Draft) and any(extension.type == CHOICE for extension in extensions):
            raise ValueError(f"extension {CHOICE} is for drafts, not for {kind.name}")
        write_extensions(head, extensions)
    content = head.finish() + body
    return content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")


def _write_body(out: BitWriter, message: Message, profile: Profile) -> None:
    if isinstance(message, Draft):
        if isinstance(message.evidence, ListEvidence):
            write_draft(out, message, message.evidence, profile)
        elif isinstance(message.evidence, CodedEvidence):
            profile.check_token(max(message.tree.tokens, default=0))
            write_coded_draft(out, message, message.evidence, profile)
        else:
            profile.check_token(max(message.tree.tokens, default=0))
            write_id_draft(out, message, profile)
    elif isinstance(message, Verdict):
        out.varint(message.round)
        out.varint(message.node + 1)
        profile.check_token(message.token)
        out.bits(message.token, id_bits(profile.vocab_size))
        out.bits(message.end, 1)
    elif isinstance(message, Prompt):
        out.raw(message.transcript)
        out.varint(message.keep)
        out.varint(len(message.tokens))
        profile.check_token(max(message.tokens, default=0))
        out.tokens(np.array(message.tokens, dtype=np.int64), id_bits(profile.vocab_size))
    elif isinstance(message, Proposals):
        write_proposals(out, message, profile)
    elif isinstance(message, More):
        write_more(out, message)
    elif isinstance(message, AskList):
        write_ask(out, message)
    elif isinstance(message, ListReply):
        write_reply(out, message, profile)
    elif isinstance(message, Hello):
        out.raw(write_hello(message))
    elif isinstance(message, Welcome):
        out.raw(write_welcome(message))
    elif isinstance(message, ErrorMessage):
        out.raw(write_error(message))


def decode(data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None) -> Message:
    """The message that ``data``, one whole frame, stands for.

    Raises DecodeError, and nothing else, for bytes that ``encode`` with this profile would not have written; under
    ``entropy="zstd"`` other compressors' frames of the same content are read, too.  A compressed frame needs zstandard
    (MissingPackage).  TypeError for arguments of other types.
    """
    octets = _check_reading(data, profile, limits)
    message = kernel_decode(octets, profile, limits) if backend == "native" else None
    return _decode(octets, profile, limits) if message is None else message


def decode_reference(
    data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None
) -> Message:
    """Do what ``decode`` does without the kernel: this defines which bytes are messages."""
    return _decode(_check_reading(data, profile, limits), profile, limits)


def _check_reading(data: Any, profile: Any, limits: Any) -> bytes | memoryview:
    check_profile(profile)
    if limits is not None and not isinstance(limits, DecodeLimits):
        raise TypeError(f"limits must be DecodeLimits or None, got {limits!r}")
    return checks.octets("a frame", data)


def _decode(data: bytes | memoryview, profile: Profile, limits: DecodeLimits | None) -> Message:
    limits = limits or DecodeLimits()
    view = memoryview(data)
    if len(view) > limits.max_frame_bytes:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED, f"a frame of {len(view)} bytes where {limits.max_frame_bytes} are allowed"
        )
    if len(view) < 1 + CRC_BYTES:
        raise DecodeError(ErrorCode.TRUNCATED, f"a frame has at least {1 + CRC_BYTES} bytes, got {len(view)}")
    content, checksum = view[:-CRC_BYTES], view[-CRC_BYTES:]
    if zlib.crc32(content) != int.from_bytes(checksum, "little"):
        raise DecodeError(ErrorCode.BAD_CHECKSUM, "the frame was damaged on its way")
    compressed = bool(content[0] & _COMPRESSED)
    if compressed and (profile.entropy != "zstd" or content[0] & KIND_MASK not in COMPRESSIBLE):
        raise DecodeError(ErrorCode.RESERVED_BITS, "bit 7 of the kind byte must be 0 in this frame or session")
    try:
        kind = Kind(content[0] & KIND_MASK)
    except ValueError:
        raise DecodeError(ErrorCode.UNKNOWN_KIND, f"frame kind 0x{content[0] & KIND_MASK:02x}") from None
    reader = BitReader(content[1:])
    extensions = (
        read_extensions(reader, limits, choice=kind in DRAFT_KINDS.values()) if content[0] & _HAS_EXTENSIONS else ()
    )
    if not compressed:
        message = _read_body(kind, reader, profile, limits, extensions)
        reader.finish()
        return message
    data = reader.raw(reader.left // 8)
    wide = open_compressed(data, limits.max_frame_bytes)
    message = _read_body(kind, wide, profile, limits, extensions)
    wide.finish()
    check_shorter(data, wide.packed_bytes)
    return message


def _read_body(
    kind: Kind, data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]
) -> Message:
    if kind is Kind.DRAFT_LIST:
        return read_draft(data, profile, limits, extensions)
    if kind in (Kind.DRAFT_MATCH, Kind.DRAFT_COUPLED):
        evidence = MatchEvidence() if kind is Kind.DRAFT_MATCH else CoupledEvidence()
        return read_id_draft(data, evidence, profile, limits, extensions)
    if kind in (Kind.DRAFT_SCALAR, Kind.DRAFT_LAZY):
        coded = ScalarEvidence if kind is Kind.DRAFT_SCALAR else LazyEvidence
        return read_coded_draft(data, coded, profile, limits, extensions)
    if kind is Kind.VERDICT:
        round_, node = data.varint(), data.varint() - 1
        token = _token(data.bits(id_bits(profile.vocab_size)), profile)
        return Verdict(round=round_, node=node, token=token, end=bool(data.bits(1)), extensions=extensions)
    if kind is Kind.PROMPT:
        return _read_prompt(data, profile, limits, extensions)
    if kind is Kind.VERDICT_PROPOSALS:
        return read_proposals(data, profile, extensions)
    if kind is Kind.MORE:
        return read_more(data, extensions)
    if kind is Kind.ASK_LIST:
        return read_ask(data, extensions)
    if kind is Kind.LIST:
        return read_reply(data, profile, limits, extensions)
    if kind is Kind.BYE:
        return Bye(extensions=extensions)
    readers: dict[Kind, Any] = {Kind.HELLO: read_hello, Kind.WELCOME: read_welcome, Kind.ERROR: read_error}
    message: Message = readers[kind](data.raw(data.left // 8), limits, extensions)
    return message


def _read_prompt(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Prompt:
    transcript, keep, count = data.raw(8), data.varint(), data.varint()
    if count > limits.max_prompt_tokens:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED, f"a prompt of {count} tokens where {limits.max_prompt_tokens} are allowed"
        )
    tokens = data.tokens(count, id_bits(profile.vocab_size))
    if count:
        _token(int(tokens.max()), profile)
    return Prompt(tokens=tuple(tokens.tolist()), keep=keep, transcript=transcript, extensions=extensions)


def _token(token: int, profile: Profile) -> int:
    if token >= profile.vocab_size:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"token {token} in a vocabulary of {profile.vocab_size}")
    return token
