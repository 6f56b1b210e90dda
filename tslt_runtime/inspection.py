"""What frames say and what each part of them costs in bits: one frame, or a capture's with the profile of each link.

Everything comes from the reference decoder (``tslt_wire.frames.codec.decode_metered``): nothing here knows how a body
is written.  Bytes are as hostile as on a link; ``LIMITS`` bounds what one frame may cost.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tslt_wire as tw
from tslt_runtime.capture import Record
from tslt_wire.coding.metering import Meter, Part
from tslt_wire.frames.codec import HANDSHAKE_PROFILE, KIND_MASK, decode_metered
from tslt_wire.frames.kinds import BY_KIND, FrameKind, Kind, Role
from tslt_wire.lists.prior import PLAIN_PRIORS, plain_prior

LIMITS = tw.DecodeLimits(
    max_frame_bytes=1 << 24,
    max_nodes=1 << 16,
    max_leaves=1 << 16,
    max_depth=(1 << 16) - 1,
    max_prompt_tokens=1 << 21,
    max_control_bytes=1 << 16,
    max_extensions=1 << 10,
)
"""What is read here: at least what ends agree on in practice, whatever a capture says that these did."""
MOST_LINKS = 1024
"""Links of which something is remembered; one that was silent for longest is forgotten first."""
LIST_PARTS = ("size", "ids", "codes", "tail")
"""Parts of a list; each list begins with its size."""
ONCE = frozenset({Kind.HELLO, Kind.WELCOME, Kind.PROMPT, Kind.ERROR, Kind.BYE})
"""Kinds that belong to no round: not counted in bytes a token."""
NOT_DECODED = "not decoded"
NO_FRAME = frozenset({"truncated", "bad_checksum", "limit_exceeded"})
"""Errors, before any part was read, of bytes that are no frame."""
_LIST_KINDS = frozenset({Kind.DRAFT_LIST, Kind.LIST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a frame could not be read."""

    message: str
    """What a decoder says, or what is missing here; it may quote the frame."""
    code: str | None = None
    """Name of the error (spec section 9); None if it is not the frame's fault."""
    part: str = ""
    """The part in which it was found."""
    bit: float = 0.0
    """Bits of the frame before that part; under the range coder about so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One frame, looked into."""

    kind: str
    """Name of the frame kind, or its number if it has none."""
    size: int
    """Bytes."""
    message: tw.Message | None
    """None if it could not be read."""
    parts: tuple[Part, ...]
    """In the order of the wire.  Those of a message have together ``8 * size`` bits, exactly; else what was read."""
    inside: tuple[Part, ...]
    """Of a compressed body, the parts of what was compressed."""
    fault: Fault | None

    @property
    def is_frame(self) -> bool:
        """Whether the bytes are a frame from outside: its checksum is right; False also for more than is read here."""
        return self.fault is None or bool(self.parts) or self.fault.code not in NO_FRAME


def inspect_frame(frame: bytes, profile: tw.Profile | None, *, needs: str = "a profile") -> Inspected:
    """Look into ``frame``.  ``profile``: the session's; None if it is not known, and then ``needs`` says what is.

    Raises nothing for what the bytes are: an ``Inspected`` with a ``fault`` says what is wrong with them.
    """
    row = _row_of(frame)
    kind = row.name if row else f"kind 0x{frame[0] & KIND_MASK:02x}" if frame else "no frame"
    meter, message, fault = Meter(), None, None
    try:
        message = decode_metered(frame, profile or HANDSHAKE_PROFILE, meter, limits=LIMITS)
    except tw.DecodeError as error:
        code = error.code.name.lower()
        fault = Fault(message=str(error).removeprefix(f"{code}: "), code=code, part=meter.name, bit=meter.start)
    except tw.MissingPackage as error:
        fault = Fault(message=str(error))
    parts, inside = meter.parts, meter.inside.parts if meter.inside else ()
    found = Inspected(kind=kind, size=len(frame), message=message, parts=parts, inside=inside, fault=fault)
    if row is None or not row.needs_profile or profile is not None or not found.is_frame:
        return found
    fault = Fault(message=f"reading it needs {needs}")
    return Inspected(kind=kind, size=len(frame), message=None, parts=(), inside=(), fault=fault)


def _row_of(frame: bytes) -> FrameKind | None:
    return BY_KIND.get(frame[0] & KIND_MASK) if frame else None


def lists_of(parts: Sequence[Part]) -> list[int | None]:
    """Which list of its frame each part belongs to, counted from 0; None for what belongs to none."""
    found: list[int | None] = []
    count = 0
    for part in parts:
        count += part.name == "size"
        found.append(count - 1 if count and part.name in LIST_PARTS else None)
    return found


# ------------------------------------------------------------------------------------------------------------ captures


@dataclass(slots=True)
class _LinkState:
    """What frames so far say about how the next ones of a link are read."""

    welcome: tuple[int, str, str] | None = None
    """Vocabulary size, entropy coder and prior."""
    round: int = -1
    """Round of the last draft."""
    counted: int = -1
    """The last round whose tokens are counted."""
    depths: NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    """Depth of each of its nodes."""


class Inspector:
    """Looks into the frames of a capture, in their order, and adds up what they cost."""

    def __init__(self, profile: tw.Profile | None = None, tables: Sequence[tw.Prior] = ()) -> None:
        """``profile``: of links whose WELCOME is not in the capture; ``tables``: trained priors that may be named."""
        self._profile = profile
        self._tables = {(table.vocab_size, table.name): table for table in tables}
        self._links: OrderedDict[int, _LinkState] = OrderedDict()
        self.summary = Summary()

    def look(self, record: Record) -> Inspected:
        """Look into the next frame."""
        state = self._links.setdefault(record.link, _LinkState())
        self._links.move_to_end(record.link)
        if len(self._links) > MOST_LINKS:
            self._links.popitem(last=False)
        profile, needs = self._profile_of(state, _row_of(record.frame))
        found = inspect_frame(record.frame, profile, needs=needs)
        self.summary.add(record, found)
        self.summary.tokens += _follow(state, found.message)
        return found

    def _profile_of(self, state: _LinkState, row: FrameKind | None) -> tuple[tw.Profile | None, str]:
        """The profile of a link for a frame of that kind, or None and what is missing."""
        if state.welcome is None:
            return self._profile, "the WELCOME of its link, which is not in the capture, or the profile (--vocab-size)"
        vocab_size, entropy, name = state.welcome
        prior = plain_prior(name, vocab_size) if name in PLAIN_PRIORS else self._tables.get((vocab_size, name))
        if row and row.kind in _LIST_KINDS and prior is None and name != "none":
            return None, f"the prior {name} that WELCOME names: --table FILE"
        try:
            return tw.Profile(vocab_size=vocab_size, entropy=entropy, prior=prior), ""
        except ValueError:
            return None, f"the entropy coder {entropy} that WELCOME names, which this version has not"


def _follow(state: _LinkState, message: tw.Message | None) -> int:
    """Take note of a message; returns the tokens that its text grows by.

    A proposal that the device has yet to take counts; an answer that is sent again does not count again.
    """
    match message:
        case tw.Hello():
            state.welcome, state.round, state.counted = None, -1, -1
        case tw.Welcome():
            state.welcome = (message.vocab_size, message.entropy, message.prior)
        case tw.Draft():
            if message.round > state.counted:
                state.round, state.depths = message.round, np.array(message.tree.depths, np.uint16)
        case tw.Verdict() | tw.Proposals():
            if state.counted < message.round == state.round and message.node < len(state.depths):
                state.counted = message.round
                return 1 + (int(state.depths[message.node]) if message.node >= 0 else 0)
        case _:
            pass
    return 0


@dataclass(slots=True)
class Summary:
    """Sums over the frames of a capture."""

    tokens: int = 0
    """Tokens that the texts grew by."""
    frames: int = 0
    faults: int = 0
    """Frames that could not be read."""
    seconds: float = 0.0
    """Time of the last frame."""
    links: set[int] = field(default_factory=set)
    frames_by_kind: Counter[str] = field(default_factory=Counter)
    bytes_by_kind: Counter[str] = field(default_factory=Counter)
    frames_by_sender: Counter[Role] = field(default_factory=Counter)
    bytes_by_sender: Counter[Role] = field(default_factory=Counter)
    round_bytes: Counter[Role] = field(default_factory=Counter)
    """By sender, what is not handshake, prompt, error or goodbye."""
    bits_by_part: dict[str, float] = field(default_factory=dict)
    """Bits of frames that could not be read are under ``not decoded``; all together are those of all bytes."""
    round_bits_by_part: dict[str, float] = field(default_factory=dict)
    """The same of what is in ``round_bytes``."""

    def add(self, record: Record, found: Inspected) -> None:
        """Count a frame."""
        self.frames += 1
        self.faults += found.fault is not None
        self.seconds = record.time_s
        self.links.add(record.link)
        self.frames_by_kind[found.kind] += 1
        self.bytes_by_kind[found.kind] += found.size
        self.frames_by_sender[record.sender] += 1
        self.bytes_by_sender[record.sender] += found.size
        row = _row_of(record.frame)
        sums = [self.bits_by_part]
        if row is not None and row.kind not in ONCE:
            self.round_bytes[record.sender] += found.size
            sums.append(self.round_bits_by_part)
        for part in found.parts if found.fault is None else (Part(NOT_DECODED, 8 * found.size),):
            for bits in sums:
                bits[part.name] = bits.get(part.name, 0) + part.bits

    def bytes_a_token(self, sender: Role) -> float | None:
        """Bytes of rounds that ``sender`` sent over the tokens; None if there are no tokens.

        None as well if frames of rounds could not be read: their tokens are not known.
        """
        unread = NOT_DECODED in self.round_bits_by_part
        return self.round_bytes[sender] / self.tokens if self.tokens and not unread else None


# -------------------------------------------------------------------------------------------------------------- fields


def fields_of(message: tw.Message) -> dict[str, Any]:
    """All fields of a message, by the specification's names, as values that JSON has; bytes are hexadecimal.

    A list has ``ids``, ``codes``, ``weights`` (what the codes stand for) and ``tail``; those of a draft also the
    ``parent`` after which their tokens come, -1 for the prefix.
    """
    match message:
        case tw.Draft():
            found = _draft_fields(message)
        case tw.ListReply():
            found = {"round": message.round, "precision": message.q.precision.value, "list": _list_fields(message.q)}
        case tw.ErrorMessage():
            found = {"code": message.code, "name": message.name, "message": message.message}
        case _:
            found = {item.name: _plain(getattr(message, item.name)) for item in fields(message)}
            found.pop("extensions", None)
    if message.extensions:
        found["extensions"] = _plain(message.extensions)
    return found


def _draft_fields(draft: tw.Draft) -> dict[str, Any]:
    found: dict[str, Any] = {
        "round": draft.round,
        "prefix_length": draft.prefix_length,
        "prefix_hash": draft.prefix_hash,
        "evidence": draft.evidence.name,
        "parents": list(draft.tree.parents),
        "tokens": list(draft.tree.tokens),
    }
    if isinstance(draft.evidence, tw.ListEvidence):
        found["precision"] = draft.precision.value if draft.precision else None
        found["with_replacement"] = draft.evidence.with_replacement
        found["lists"] = [{"parent": parent, **_list_fields(q)} for parent, q in draft.lists.items()]
    elif isinstance(draft.evidence, (tw.ScalarEvidence, tw.LazyEvidence)):
        found["codes"] = list(draft.evidence.codes)
    return found


def _list_fields(q: tw.SparseDistribution) -> dict[str, Any]:
    return {"ids": q.ids.tolist(), "codes": q.codes.tolist(), "weights": q.weights.tolist(), "tail": q.tail}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, tw.SamplingRequest):
        return _plain({**value.named(), **value.extra})
    if isinstance(value, tw.Sampling):
        return _plain(value.in_force())
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value
