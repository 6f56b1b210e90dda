"""What the generators share: a bit packer of its own, cases, groups, and JSON forms of messages.

Spec section 3.2.  Invalid cases are packed with ``Bits``, which knows nothing of ``tslt_wire``; the error each must
give is written down by hand and checked against the decoder.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_wire.frames.kinds import kind_of
from tslt_wire.lists.prior import plain_prior
from tslt_wire.messages.evidence import CodedEvidence

Json = dict[str, Any]
DRAFT_KINDS = {"list": 0x10, "match": 0x11, "coupled": 0x12, "scalar": 0x13, "lazy": 0x14}
"""Kind byte of a draft by its evidence."""
RUNS_FROM = 200
"""Lists with more entries have their ids, codes and weights as runs."""


class Bits:
    """Packs fields from the lowest bit up."""

    def __init__(self) -> None:
        self._value, self._size = 0, 0

    def put(self, value: int, width: int) -> Bits:
        """Append ``value`` in ``width`` bits."""
        if value >> width:
            raise ValueError(f"{value} does not fit {width} bits")
        self._value |= value << self._size
        self._size += width
        return self

    def each(self, values: list[int], width: int) -> Bits:
        """Append each of ``values`` in ``width`` bits."""
        for value in values:
            self.put(value, width)
        return self

    def varint(self, value: int, groups: int = 0) -> Bits:
        """Append a varint, with at least ``groups`` groups."""
        while value > 127 or groups > 1:
            self.put(value & 127 | 128, 8)
            value, groups = value >> 7, groups - 1
        return self.put(value, 8)

    def raw(self, data: bytes) -> Bits:
        """Append whole bytes."""
        return self.each(list(data), 8)

    def done(self, padding: int = 0) -> bytes:
        """All fields; the padding bits hold ``padding``."""
        size = -(-self._size // 8)
        return (self._value | padding << self._size).to_bytes(size, "little")


def sealed(content: bytes) -> bytes:
    """``content`` with its checksum: a frame."""
    return content + zlib.crc32(content).to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class Case:
    """One test vector."""

    id: str
    comment: str
    data: bytes
    value: Json | None
    error: str | None
    flags: tuple[str, ...]

    def to_json(self) -> Json:
        """The vector as it is written."""
        out: Json = {"id": self.id, "comment": self.comment, "flags": list(self.flags), "hex": self.data.hex()}
        if self.error is None:
            return {**out, "result": "valid", "value": self.value}
        return {**out, "result": "invalid", "error": self.error}


@dataclass
class Group:
    """Cases that share a profile and limits."""

    profile: tw.Profile
    decode: Callable[..., Any]
    limits: dict[str, int] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Append ``case`` after checking that the decoder agrees with it."""
        try:
            self.decode(case.data, self.profile, limits=tw.DecodeLimits(**self.limits))
            found = None
        except tw.DecodeError as error:
            found = error.code.name.lower()
        if found != case.error:
            raise RuntimeError(f"{case.id} must give {case.error}, the decoder gives {found}")
        self.cases.append(case)

    def accept(self, id_: str, comment: str, message: tw.Message, *flags: str) -> None:
        """Append a valid frame, after checking that it comes back."""
        data = tw.encode(message, self.profile)
        if tw.decode(data, self.profile) != message:
            raise RuntimeError(f"{id_} does not come back")
        self.add(Case(id_, comment, data, message_value(message), None, flags))

    def refuse(self, id_: str, comment: str, data: bytes, error: str, *flags: str) -> None:
        """Append an invalid case."""
        self.add(Case(id_, comment, data, None, error, flags))

    def to_json(self) -> Json:
        """The group as it is written."""
        tests = [case.to_json() for case in self.cases]
        return {"profile": profile_value(self.profile), "limits": self.limits, "tests": tests}


class Refusals:
    """Groups of invalid frames by vocabulary size and limits."""

    def __init__(self) -> None:
        self.groups: dict[tuple[int, str], Group] = {}

    def __call__(
        self, error: str, name: str, bits: Bits, note: str, *flags: str, size: int = 10, padding: int = 0, **limits: int
    ) -> None:
        """Add a frame without its checksum, with the error that it must give."""
        group = self.groups.setdefault(
            (size, str(limits)), Group(tw.Profile(vocab_size=size), tw.decode, limits=dict(limits))
        )
        group.refuse(f"frame/{size}/{name}", note, sealed(bits.done(padding)), error, *flags)

    def to_json(self) -> list[Json]:
        """The groups as they are written."""
        return [group.to_json() for group in self.groups.values()]


def extended(kind: int, *items: tuple[int, bytes]) -> Bits:
    """The head of a frame with these extensions."""
    bits = Bits().put(kind | 0x40, 8).varint(len(items))
    for type_, data in items:
        bits.varint(type_).varint(len(data)).raw(data)
    return bits


def empty_draft(evidence: str) -> bytes:
    """The body of a draft of no nodes."""
    body = Bits().varint(7).varint(5).put(0xBEEF, 16)
    if evidence == "list":
        body.put(0, 8)  # its format
    return body.varint(0).done()


def profile_value(profile: tw.Profile) -> Json:
    """JSON form of a profile."""
    return {
        "vocab_size": profile.vocab_size,
        "precision": str(profile.precision),
        "entropy": profile.entropy,
        "prior": profile.prior.name if profile.prior else "none",
    }


def profile_from(value: Json, tables: dict[str, str] | None = None) -> tw.Profile:
    """The profile of a JSON form; ``tables``: those of the vector file.  ValueError for a prior that it cannot have."""
    name, vocab_size = value["prior"], value["vocab_size"]
    table = (tables or {}).get(name)
    prior = plain_prior(name, vocab_size) if table is None else tw.table_from_bytes(bytes.fromhex(table))
    if table is not None and prior is not None and prior.name != name:
        raise ValueError(f"this is the table {prior.name}, not {name}")
    return tw.Profile(vocab_size=vocab_size, precision=value["precision"], entropy=value["entropy"], prior=prior)


def make_list(
    vocab_size: int, precision: str, ids: Any, codes: Any, tail: int = 0, prior: tw.Prior | None = None
) -> tw.SparseDistribution:
    """A list from plain integers."""
    arrays = np.array(ids, dtype=np.int32), np.array(codes, dtype=np.uint32)
    return tw.SparseDistribution(vocab_size, tw.Precision(precision), *arrays, tail, prior if tail else None)


def runs(values: list[int]) -> list[list[int]]:
    """Pairs of a value and how often it is repeated."""
    found: list[list[int]] = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1][1] += 1
        else:
            found.append([value, 1])
    return found


def _id_runs(ids: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for id_ in ids:
        if runs and id_ == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([id_, 1])
    return runs


def list_value(q: tw.SparseDistribution) -> Json:
    """JSON form of a list."""
    out: Json = {"ids": q.ids.tolist()} if len(q) <= RUNS_FROM else {"id_runs": _id_runs(q.ids.tolist())}
    if len(q) == q.vocab_size:
        out = {"ids": "all"}
    if q.tail:
        out["tail"] = q.tail
    for name, values in (("code", q.codes.tolist()), ("weight", q.weights.tolist())):
        if len(q) > RUNS_FROM:
            out[f"{name}_runs"] = runs(values)
        else:
            out[f"{name}s"] = values
    return out


def control_value(value: Any) -> Any:
    """JSON form of a control value; what JSON cannot tell apart is tagged."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"$binary": value.hex()}
    if isinstance(value, float):
        return {"$number": repr(value)}
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else {"$integer": str(value)}
    if isinstance(value, (list, tuple)):
        return [control_value(item) for item in value]
    return {key: control_value(item) for key, item in value.items()}


def sampling_value(value: tw.Sampling | tw.SamplingRequest) -> Json:
    """JSON form of sampling settings: those that are on the wire."""
    if isinstance(value, tw.Sampling):
        settings, extra = value.in_force(), {}
    else:
        settings, extra = value.named(), {key: control_value(item) for key, item in value.extra.items()}
    shown = {name: list(item) if isinstance(item, tuple) else item for name, item in settings.items()}
    if "logit_bias" in shown:
        shown["logit_bias"] = [list(pair) for pair in shown["logit_bias"]]
    return {**shown, **extra}


MAY = ("ordinary", "token_map", "begins")
"""Fields of HELLO and WELCOME that may be missing: then they are not in the JSON form, either."""


def message_value(message: tw.Message) -> Json:
    """JSON form of a message: its kind, then its fields under their names in the specification."""
    out: Json = {"kind": kind_of(message).name.lower()}
    if isinstance(message, tw.Draft) and isinstance(message.evidence, tw.ListEvidence):
        out |= {
            "round": message.round,
            "prefix_length": message.prefix_length,
            "prefix_hash": message.prefix_hash,
            "precision": str(message.precision) if message.precision else None,
            "without_replacement": not message.evidence.replacement,
            "parents": list(message.tree.parents),
            "tokens": list(message.tree.tokens),
            "lists": [{"parent": parent, **list_value(q)} for parent, q in message.evidence.lists.items()],
        }
    elif isinstance(message, tw.Draft):
        out |= {
            "round": message.round,
            "prefix_length": message.prefix_length,
            "prefix_hash": message.prefix_hash,
            "parents": list(message.tree.parents),
            "tokens": list(message.tree.tokens),
        }
        if isinstance(message.evidence, CodedEvidence):
            out["codes"] = list(message.evidence.codes)
    elif isinstance(message, (tw.Hello, tw.Welcome)):
        for name in message.__slots__:
            value = getattr(message, name)
            if name == "extra":
                out[name] = control_value(dict(value))
            elif name == "sampling":
                out[name] = sampling_value(value)
            elif name == "limits":
                out[name] = asdict(value)
            elif name in MAY and value in (b"", None):
                continue
            elif name != "extensions":
                out[name] = (
                    value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
                )
    elif isinstance(message, tw.Verdict):
        out |= {"round": message.round, "node": message.node, "token": message.token, "end": message.end}
    elif isinstance(message, tw.Proposals):
        out |= {"round": message.round, "node": message.node, "batch": message.batch}
        out["tokens"] = [proposal.token for proposal in message.proposals]
        out["codes"] = [proposal.code for proposal in message.proposals]
        out["ups"] = [int(proposal.up) for proposal in message.proposals]
    elif isinstance(message, tw.More):
        out |= {"round": message.round, "batch": message.batch}
    elif isinstance(message, tw.Whole):
        out["round"] = message.round
    elif isinstance(message, tw.AskList):
        out |= {"round": message.round, "node": message.node}
    elif isinstance(message, tw.ListReply):
        out |= {"round": message.round, "precision": str(message.q.precision), "list": list_value(message.q)}
    elif isinstance(message, tw.Prompt):
        out |= {
            "transcript": message.transcript.hex(),
            "epoch": message.epoch,
            "keep": message.keep,
            "tokens": list(message.tokens),
        }
    elif isinstance(message, tw.Resume):
        known = message.rejection
        out |= {
            "transcript": message.transcript.hex(),
            "hash": message.prefix_crc,
            "epoch": message.epoch,
            "round": message.round,
            "prompt_length": message.prompt_length,
            "rejected": 0 if known is None else known.node + 2,
            "batch": 0 if known is None else known.batch,
            "keep": message.keep,
            "tokens": list(message.tokens),
            "ended": int(message.ended),
        }
    elif isinstance(message, tw.ErrorMessage):
        out |= {"code": message.code, "message": message.message}
    out["extensions"] = [{"type": item.type, "data": item.data.hex()} for item in message.extensions]
    return out
